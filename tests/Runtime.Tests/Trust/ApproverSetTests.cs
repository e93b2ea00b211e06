using System.Text;
using AgentMetal.Runtime.Trust;
using Xunit;

namespace AgentMetal.Runtime.Tests.Trust;

public sealed class ApproverSetTests : IDisposable
{
    private readonly Fleet _fleet = new();

    public void Dispose() => _fleet.Dispose();

    [Fact]
    public void Verify_SetSignedByRoot_GivesItBack()
    {
        var set = Set(3, "alice", "bob");
        var read = ApproverSet.Verify(_fleet.Root.Sign(set), _fleet.Pinned.Certificate, Fleet.Now, 3).Value;
        Assert.Equal((3, 1, 2), (read.Version, read.Threshold, read.Keys.Count));
        Assert.Equal("bob", read.Find(set.Keys[1].KeyId)?.Name);
    }

    [Fact]
    public void Sign_KeysInAnyOrder_SignsTheSameSet()
    {
        var set = Set(1, "alice", "bob", "carol");
        static string Inner(byte[] wire) => Encoding.UTF8.GetString(wire).Split(",\"signature\"")[0];
        Assert.Equal(Inner(_fleet.Root.Sign(set)), Inner(_fleet.Root.Sign(set with { Keys = [.. set.Keys.Reverse()] })));
    }

    [Fact]
    public void Verify_LowerVersionThanAccepted_IsRefused() =>
        Assert.Equal(TrustProblemCode.VersionTooLow, ApproverSet.Verify(_fleet.Root.Sign(Set(2, "alice")), _fleet.Pinned.Certificate, Fleet.Now, 3).Problem?.Code);

    [Fact]
    public void Verify_SignedByAnotherRoot_IsRefused()
    {
        using var other = new Fleet();
        Assert.Equal(TrustProblemCode.BadSignature, ApproverSet.Verify(other.Root.Sign(Set(9, "mallory")), _fleet.Pinned.Certificate, Fleet.Now, 0).Problem?.Code);
    }

    [Fact]
    public void Verify_SignedByTheIntermediate_IsRefused() =>
        Assert.Equal(TrustProblemCode.BadSignature, ApproverSet.Verify(Set(9, "mallory").SignWith(_fleet.IntermediateKey), _fleet.Pinned.Certificate, Fleet.Now, 0).Problem?.Code);

    [Fact]
    public void Verify_AfterItsEnd_IsExpired()
    {
        var bytes = _fleet.Root.Sign(Set(1, "alice"));
        Assert.True(ApproverSet.Verify(bytes, _fleet.Pinned.Certificate, Fleet.Now.AddDays(30).AddMilliseconds(-1), 0).IsTrusted);
        Assert.Equal(TrustProblemCode.Expired, ApproverSet.Verify(bytes, _fleet.Pinned.Certificate, Fleet.Now.AddDays(30), 0).Problem?.Code);
    }

    [Fact]
    public void Verify_AnyBitFlipped_IsRefused()
    {
        var bytes = _fleet.Root.Sign(Set(1, "alice"));
        for (var bit = 0; bit < bytes.Length * 8; bit++)
        {
            bytes[bit / 8] ^= (byte)(1 << (bit % 8));
            Assert.False(ApproverSet.Verify(bytes, _fleet.Pinned.Certificate, Fleet.Now, 0).IsTrusted, $"bit {bit}");
            bytes[bit / 8] ^= (byte)(1 << (bit % 8));
        }
        Assert.True(ApproverSet.Verify(bytes, _fleet.Pinned.Certificate, Fleet.Now, 0).IsTrusted);
    }

    [Theory]
    [InlineData("{\"set\":", "{ \"set\":")]
    [InlineData("\"threshold\":1", "\"extra\":1,\"threshold\":1")]
    [InlineData("\"threshold\":1", "\"threshold\":1,\"threshold\":1")]
    [InlineData("\"version\":1", "\"version\":1.0")]
    [InlineData("\"keyId\":\"", "\"keyId\":\"0")]
    public void Verify_AnotherSpelling_IsMalformed(string from, string to)
    {
        var bytes = Encoding.UTF8.GetBytes(Encoding.UTF8.GetString(_fleet.Root.Sign(Set(1, "alice"))).Replace(from, to, StringComparison.Ordinal));
        Assert.Equal(TrustProblemCode.Malformed, ApproverSet.Verify(bytes, _fleet.Pinned.Certificate, Fleet.Now, 0).Problem?.Code);
    }

    [Theory]
    [InlineData("")]
    [InlineData("[]")]
    [InlineData("{}")]
    [InlineData("null")]
    [InlineData("{\"set\":{\"keys\":[null],\"notAfter\":1,\"threshold\":1,\"version\":1},\"signature\":\"\"}")]
    [InlineData("{\"set\":{\"keys\":7,\"notAfter\":99999999999999999999,\"threshold\":1,\"version\":1},\"signature\":\"\"}")]
    [InlineData("[[[[[[[[[[[[[")]
    public void Verify_Garbage_IsMalformed(string text) =>
        Assert.Equal(TrustProblemCode.Malformed, ApproverSet.Verify(Encoding.UTF8.GetBytes(text), _fleet.Pinned.Certificate, Fleet.Now, 0).Problem?.Code);

    [Fact]
    public void Errors_ManyMistakes_AreAllNamed()
    {
        var alice = Key("alice");
        var errors = new ApproverSet { Version = 0, NotAfterUnixMs = -1, Threshold = 4, Keys = [alice, alice, new ApproverKey { Name = "B", Spki = [1] }] }.Errors();
        Assert.Equal(["version", "notAfter", "threshold", "keys[1].name", "keys[1].spki", "keys[2].name", "keys[2].spki"], errors.Select(e => e.Split(':')[0]));
        Assert.Throws<ArgumentException>(() => _fleet.Root.Sign(Set(1, "alice") with { Threshold = 2 }));
    }

    private static ApproverSet Set(long version, params string[] names) => new()
    {
        Version = version,
        NotAfterUnixMs = Fleet.Now.AddDays(30).ToUnixTimeMilliseconds(),
        Threshold = 1,
        Keys = [.. names.Select(Key)],
    };

    private static ApproverKey Key(string name)
    {
        using var key = P256.Generate();
        return new ApproverKey { Name = name, Spki = key.ExportSubjectPublicKeyInfo() };
    }
}
