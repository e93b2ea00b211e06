using AgentMetal.Runtime.Trust;
using CsCheck;
using Xunit;

namespace AgentMetal.Runtime.Tests.Trust;

public sealed class JoinTokenTests
{
    private static readonly string s_pin = new('a', 64);

    [Fact]
    public void Parse_WhatCreateRevealed_IsTheSameToken()
    {
        var token = JoinToken.Create(s_pin, Fleet.Random);
        var parsed = JoinToken.Parse($"  {token.Reveal()}\n").Value;
        Assert.Equal(token.Id, parsed.Id);
        Assert.Equal(token.Secret, parsed.Secret);
        Assert.Equal(token.SecretHash, parsed.SecretHash);
        Assert.Equal(s_pin, parsed.RootSha256);
    }

    [Fact]
    public void Create_WithGivenRandomness_IsRepeatable()
    {
        static void Fill(Span<byte> buffer) => buffer.Fill(7);
        Assert.Equal("am1.0707070707070707.BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc." + s_pin, JoinToken.Create(s_pin, Fill).Reveal());
    }

    [Fact]
    public void ToString_HasNoSecret()
    {
        var token = JoinToken.Create(s_pin, Fleet.Random);
        Assert.DoesNotContain(token.Secret, $"{token}", StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("", "begin")]
    [InlineData("am2.x", "begin")]
    [InlineData("am1.0707070707070707.BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc", "3 parts instead of 4")]
    [InlineData("am1.07.BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc.aa", "2nd part")]
    [InlineData("am1.0707070707070707.BwcHBwc.aa", "3rd part")]
    [InlineData("am1.0707070707070707.BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwd.aa", "3rd part")]
    [InlineData("am1.0707070707070707.BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc.aa", "4th part")]
    public void Parse_BadToken_NamesThePart(string text, string says)
    {
        var problem = JoinToken.Parse(text).Problem;
        Assert.Contains(says, problem?.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Parse_AnyText_NeverThrows() => Gen.String.Sample(text => JoinToken.Parse("am1." + text).IsTrusted == false, iter: 2000);

    [Fact]
    public void Matches_OnlyTheSecretOfThisId()
    {
        var token = JoinToken.Create(s_pin, Fleet.Random);
        var other = JoinToken.Create(s_pin, Fleet.Random);
        Assert.True(JoinToken.Matches(token.SecretHash, token.Id, token.Secret));
        Assert.False(JoinToken.Matches(token.SecretHash, token.Id, other.Secret));
        Assert.False(JoinToken.Matches(token.SecretHash, other.Id, token.Secret));
        Assert.False(JoinToken.Matches("", token.Id, token.Secret));
    }
}
