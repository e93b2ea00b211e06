using AgentMetal.Runtime.Trust;
using CsCheck;
using Xunit;

namespace AgentMetal.Runtime.Tests.Trust;

public sealed class SecretBoxTests
{
    private static readonly byte[] s_key = [.. Enumerable.Range(0, 32).Select(i => (byte)i)];
    private static readonly byte[] s_otherKey = [.. Enumerable.Range(1, 32).Select(i => (byte)i)];

    [Fact]
    public void Open_WhatWasSealed_GivesItBack() => Gen.Byte.Array[0, 500].Sample(plain =>
        SecretBox.Open("redis/password", SecretBox.Seal("redis/password", plain, s_key, Fleet.Random), s_key).Value.AsSpan().SequenceEqual(plain), iter: 200);

    [Fact]
    public void Seal_Twice_GivesOtherBytes() =>
        Assert.NotEqual(SecretBox.Seal("n", [1, 2, 3], s_key, Fleet.Random), SecretBox.Seal("n", [1, 2, 3], s_key, Fleet.Random));

    [Fact]
    public void Open_AnyBitFlipped_IsRefused()
    {
        var box = SecretBox.Seal("n", "hunter2"u8, s_key, Fleet.Random);
        for (var bit = 0; bit < box.Length * 8; bit++)
        {
            box[bit / 8] ^= (byte)(1 << (bit % 8));
            Assert.False(SecretBox.Open("n", box, s_key).IsTrusted, $"bit {bit}");
            box[bit / 8] ^= (byte)(1 << (bit % 8));
        }
        Assert.True(SecretBox.Open("n", box, s_key).IsTrusted);
    }

    [Fact]
    public void Open_UnderAnotherName_IsTampered() =>
        Assert.Equal(TrustProblemCode.Tampered, SecretBox.Open("b", SecretBox.Seal("a", [1], s_key, Fleet.Random), s_key).Problem?.Code);

    [Fact]
    public void Open_ValueOfOneBoxWithTheHeaderOfAnother_IsTampered()
    {
        var one = SecretBox.Seal("n", [1, 2, 3], s_key, Fleet.Random);
        var two = SecretBox.Seal("n", [4, 5, 6], s_key, Fleet.Random);
        one.AsSpan(0, 69).CopyTo(two);
        Assert.Equal(TrustProblemCode.Tampered, SecretBox.Open("n", two, s_key).Problem?.Code);
    }

    [Fact]
    public void Open_WithAnotherKey_IsWrongKey() =>
        Assert.Equal(TrustProblemCode.WrongKey, SecretBox.Open("n", SecretBox.Seal("n", [1], s_key, Fleet.Random), s_otherKey).Problem?.Code);

    [Fact]
    public void Open_CutShortOrOtherFormat_IsMalformed()
    {
        var box = SecretBox.Seal("n", [], s_key, Fleet.Random);
        for (var length = 0; length < box.Length; length++)
            Assert.Equal(TrustProblemCode.Malformed, SecretBox.Open("n", box.AsSpan(0, length), s_key).Problem?.Code);
        box[0] = 2;
        Assert.Equal(TrustProblemCode.Malformed, SecretBox.Open("n", box, s_key).Problem?.Code);
    }

    [Fact]
    public void Rewrap_ToANewKey_OpensOnlyWithIt()
    {
        var fresh = SecretBox.Rewrap("n", SecretBox.Seal("n", [1, 2], s_key, Fleet.Random), s_key, s_otherKey, Fleet.Random).Value;
        Assert.Equal([1, 2], SecretBox.Open("n", fresh, s_otherKey).Value);
        Assert.Equal(TrustProblemCode.WrongKey, SecretBox.Open("n", fresh, s_key).Problem?.Code);
    }

    [Fact]
    public void Seal_LongestValue_FitsAStoreValue()
    {
        Assert.Equal(64 * 1024, SecretBox.Seal("n", new byte[SecretBox.MaxPlaintext], s_key, Fleet.Random).Length);
        Assert.Throws<ArgumentException>(() => SecretBox.Seal("n", new byte[SecretBox.MaxPlaintext + 1], s_key, Fleet.Random));
    }

    [Theory]
    [InlineData(0, 5, 10, 10)]
    [InlineData(20, 5, 10, 20)]
    [InlineData(7, 30, 10, 30)]
    [InlineData(7, -1, 10, 10)]
    public void TrustedTime_OfThreeClocks_IsTheLatest(int wall, int persisted, int build, int expected)
    {
        var zero = DateTimeOffset.UnixEpoch;
        Assert.Equal(zero.AddSeconds(expected), TrustedTime.Now(zero.AddSeconds(wall), persisted < 0 ? null : zero.AddSeconds(persisted), zero.AddSeconds(build)));
    }
}
