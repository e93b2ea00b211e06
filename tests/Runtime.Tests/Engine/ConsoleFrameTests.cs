using AgentMetal.Runtime.Consoles;
using CsCheck;
using Xunit;

namespace AgentMetal.Runtime.Tests.Engine;

public sealed class ConsoleFrameTests
{
    [Fact]
    public void Frames_Encoded_AreTheSameDecoded()
    {
        Assert.Equal(20, ConsoleFrame.Decode(ConsoleFrame.Begin(20).Encode())!.Lines);
        var ending = new ConsoleEnding(ConsoleEnd.Busy, "open already", "with --force");
        Assert.Equal(ending, ConsoleFrame.Decode(ConsoleFrame.End(ending).Encode())!.Ending);
        Assert.Equal("ab"u8.ToArray(), ConsoleFrame.Decode(ConsoleFrame.Data("ab"u8.ToArray()).Encode())!.Payload.ToArray());
        Assert.Equal(ConsoleFrameKind.Opened, ConsoleFrame.Decode(ConsoleFrame.Opened.Encode())!.Kind);
    }

    [Fact]
    public async Task Frames_OverASocket_AreTheSameAndACutOneIsNone()
    {
        var stop = TestContext.Current.CancellationToken;
        using var socket = new MemoryStream();
        await ConsoleFrame.Data(new byte[ConsoleFrame.MaxData]).WriteAsync(socket, stop);
        await ConsoleFrame.Begin(7).WriteAsync(socket, stop);
        socket.Position = 0;
        Assert.Equal(ConsoleFrame.MaxData, (await ConsoleFrame.ReadAsync(socket, stop))!.Payload.Length);
        Assert.Equal(7, (await ConsoleFrame.ReadAsync(socket, stop))!.Lines);
        Assert.Null(await ConsoleFrame.ReadAsync(socket, stop));
        using var cut = new MemoryStream();
        await ConsoleFrame.Begin(7).WriteAsync(cut, stop);
        for (var length = 0; length < cut.Length; length++)
        {
            using var part = new MemoryStream(cut.ToArray()[..length]);
            Assert.Null(await ConsoleFrame.ReadAsync(part, stop));
        }
    }

    [Fact]
    public void End_WordsOverSeveralLines_CannotPassForWhatToDoNext() =>
        Assert.Equal(new(ConsoleEnd.Failed, "a rm -rf /", "next"), ConsoleFrame.Decode(ConsoleFrame.End(new(ConsoleEnd.Failed, "a\nrm -rf /", "next")).Encode())!.Ending);

    [Fact]
    public void Decode_AnyBytes_IsAFrameOrNothing() => Gen.Byte.Array[0, 100].Sample(bytes =>
    {
        var frame = ConsoleFrame.Decode(bytes);
        _ = (frame?.Lines, frame?.Ending);
        return frame is null == (bytes.Length == 0 || bytes[0] is < 1 or > 4);
    });

    [Theory]
    [InlineData(-1, 0)]
    [InlineData(int.MaxValue, ConsoleFrame.MaxLines)]
    public void Begin_LinesOutOfBounds_AreBounded(int asked, int expected) => Assert.Equal(expected, ConsoleFrame.Begin(asked).Lines);
}
