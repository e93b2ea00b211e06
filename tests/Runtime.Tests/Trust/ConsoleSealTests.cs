using System.Security.Cryptography;
using System.Text;
using AgentMetal.Runtime.Consoles;
using AgentMetal.Runtime.Trust;
using CsCheck;
using Xunit;

namespace AgentMetal.Runtime.Tests.Trust;

/// <summary>What a coordinator that carries a session's frames can do to it: nothing but cut it.</summary>
public sealed class ConsoleSealTests : IDisposable
{
    private readonly ECDsa _alice = P256.Generate();
    private readonly ECDsa _node = P256.Generate();
    private readonly ConsoleSessionKey _operatorKey = new();
    private readonly ConsoleSessionKey _hostKey = new();
    private readonly ConsoleSeal _operator;
    private readonly ConsoleSeal _host;
    private readonly ConsoleOpening _opening;
    private readonly ConsoleAnswer _answer;

    public ConsoleSealTests()
    {
        _opening = ConsoleOpening.Sign(_alice, new(new string('a', 32), "uid-1", new string('1', 64)), _operatorKey.Spki, force: false, Fleet.Now.AddSeconds(30));
        _answer = ConsoleAnswer.Sign(_node, _opening, _hostKey.Spki, "Instance default/hello");
        (_operator, _host) = (_operatorKey.ForOperator(_opening, _answer), _hostKey.ForHost(_opening, _answer));
    }

    public void Dispose()
    {
        _alice.Dispose();
        _node.Dispose();
        _operatorKey.Dispose();
        _hostKey.Dispose();
        _operator.Dispose();
        _host.Dispose();
    }

    [Fact]
    public void Frames_BothWays_OpenAsTheyWereSealedAndShowNothing()
    {
        for (var i = 0; i < 3; i++)
        {
            var text = $"password {i}";
            var there = _operator.Seal(Encoding.UTF8.GetBytes(text));
            Assert.DoesNotContain("password", Encoding.Latin1.GetString(there), StringComparison.Ordinal);
            Assert.Equal(text, Encoding.UTF8.GetString(_host.Open(there).Value));
            Assert.Equal(text, Encoding.UTF8.GetString(_operator.Open(_host.Seal(Encoding.UTF8.GetBytes(text))).Value));
        }
    }

    [Fact]
    public void Frames_InAnotherOrder_DoNotOpen()
    {
        var (_, second) = (_operator.Seal("a"u8), _operator.Seal("b"u8));
        Assert.Equal(TrustProblemCode.Tampered, _host.Open(second).Problem?.Code);
    }

    [Fact]
    public void Frame_SentAgain_DoesNotOpen()
    {
        var frame = _operator.Seal("a"u8);
        Assert.True(_host.Open(frame).IsTrusted);
        Assert.False(_host.Open(frame).IsTrusted);
    }

    [Fact]
    public void Frame_LeftOut_NothingOpensAnyMore()
    {
        _operator.Seal("lost"u8);
        Assert.False(_host.Open(_operator.Seal("b"u8)).IsTrusted);
        // Not even what would come next in order: a session that was touched is over.
        Assert.False(_host.Open(_operator.Seal("c"u8)).IsTrusted);
    }

    [Fact]
    public void Frame_SentBack_DoesNotOpen() => Assert.False(_operator.Open(_operator.Seal("echo"u8)).IsTrusted);

    [Fact]
    public void Frame_AnyBitChangedOrAnyByteCut_DoesNotOpen() =>
        Gen.Select(Gen.Byte.Array[0, 64], Gen.Int[0, 10_000], Gen.Int[0, 7]).Sample((bytes, at, bit) =>
        {
            using var from = _operatorKey.ForOperator(_opening, _answer);
            using var to = _hostKey.ForHost(_opening, _answer);
            var frame = from.Seal(bytes);
            if (bit == 0 && at % 2 == 0) return !to.Open(frame.AsSpan(0, at % frame.Length)).IsTrusted;
            frame[at % frame.Length] ^= (byte)(1 << bit);
            return !to.Open(frame).IsTrusted;
        });

    [Fact]
    public void Keys_OfAnotherSession_OpenNothing()
    {
        // The coordinator knows every public key and has a key of its own.
        using var own = new ConsoleSessionKey();
        using var asHost = own.ForHost(_opening, _answer);
        Assert.False(asHost.Open(_operator.Seal("secret"u8)).IsTrusted);
        // Who was told another answer has other keys, also with the same key pair.
        using var told = _hostKey.ForHost(_opening, _answer with { ResourceKey = "Instance default/other" });
        Assert.False(told.Open(_operator.Seal("secret"u8)).IsTrusted);
    }

    [Fact]
    public void Frame_Longest_IsWithinTheBoundOfTheWire()
    {
        var frame = ConsoleFrame.Data(new byte[ConsoleFrame.MaxData]).Encode();
        Assert.InRange(_operator.Seal(frame).Length, ConsoleFrame.MaxData, ConsoleFrame.MaxFrame);
        Assert.Equal(ConsoleFrame.MaxData, ConsoleFrame.Decode(frame)!.Payload.Length);
        Assert.Throws<ArgumentOutOfRangeException>(() => ConsoleFrame.Data(new byte[ConsoleFrame.MaxData + 1]));
        Assert.Null(ConsoleFrame.Decode(new byte[ConsoleFrame.MaxFrame]));
    }
}
