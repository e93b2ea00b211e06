using System.IO.Pipelines;
using System.Text;
using System.Threading.Channels;
using AgentMetal.Cli.CommandLine;
using AgentMetal.Cli.SerialConsole;
using AgentMetal.Cli.Tests.Support;
using AgentMetal.Runtime.Consoles;
using Xunit;

namespace AgentMetal.Cli.Tests.SerialConsole;

public sealed class ConsoleRunTests : IDisposable
{
    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(20);

    private readonly Paper _paper = new(clock: TimeProvider.System);
    private readonly FakeWire _wire = new();
    private readonly Pipe _keyboard = new();
    private readonly MemoryStream _shown = new();
    private int _raw;

    private static CancellationToken Ct => TestContext.Current.CancellationToken;

    public void Dispose() => _shown.Dispose();

    private string Shown => Encoding.UTF8.GetString(_shown.ToArray());

    [Fact]
    public async Task Terminal_CtrlBracket_LeavesAndPutsTheTerminalBack()
    {
        var running = RunAsync(terminal: true);
        Assert.Equal(7, (await _wire.SentAsync()).Lines);
        _wire.Answer(ConsoleFrame.Opened);
        _wire.Say("\u001b[31m/ # ");
        await TypeAsync("ls\r\u001dnever");
        Assert.Equal("ls\r", await _wire.TypedAsync());
        Assert.Equal(ConsoleEnd.Left, (await _wire.SentAsync()).Ending.Why);
        Assert.Equal(ExitCode.Ok, await running.WaitAsync(s_patience, Ct));
        Assert.Equal("Connected to instance/hello on edge-1. Ctrl-] leaves.\nLeft the console of instance/hello on edge-1.\n", _paper.Error);
        // Raw as it is said, and at the end what a guest may have set is taken back.
        Assert.EndsWith("\u001b[?25h\u001b[?1000l\u001b[?1002l\u001b[?1003l\u001b[?1006l\u001b[?2004l\r\n", Shown, StringComparison.Ordinal);
        Assert.Equal(0, _raw);
    }

    [Fact]
    public async Task Pipe_EndOfInput_EndsOnceTheMachineIsSilent()
    {
        var running = RunAsync(terminal: false);
        await _wire.SentAsync();
        _wire.Answer(ConsoleFrame.Opened);
        await TypeAsync("ls\n");
        Assert.Equal("ls\n", await _wire.TypedAsync());
        await _keyboard.Writer.CompleteAsync();
        _wire.Say("\u001b]0;title\u0007bin  \u001b[1;34mdev\u001b[0m\r\n");
        Assert.Equal(ExitCode.Ok, await running.WaitAsync(s_patience, Ct));
        Assert.Equal("bin  dev\r\n", Shown);
        Assert.Equal("", _paper.Error);
        Assert.Equal(ConsoleEnd.Left, (await _wire.SentAsync()).Ending.Why);
    }

    [Fact]
    public async Task Pipe_CtrlBracket_IsAByteLikeAnyOther()
    {
        var running = RunAsync(terminal: false);
        await _wire.SentAsync();
        _wire.Answer(ConsoleFrame.Opened);
        await TypeAsync("a\u001db");
        Assert.Equal("a\u001db", await _wire.TypedAsync());
        _wire.Answer(ConsoleFrame.End(new(ConsoleEnd.Guest, "it stopped", "")));
        Assert.Equal(ExitCode.Ok, await running.WaitAsync(s_patience, Ct));
    }

    [Fact]
    public async Task Terminal_Safe_ShowsNoControlSequences()
    {
        var running = RunUntilAsync(terminal: true, Ct, safe: true);
        await _wire.SentAsync();
        _wire.Answer(ConsoleFrame.Opened);
        _wire.Say("\u001b]0;evil\u0007bin\u001b[2J");
        _wire.Answer(ConsoleFrame.End(new(ConsoleEnd.Guest, "it stopped", "")));
        await running.WaitAsync(s_patience, Ct);
        Assert.Equal("bin\r\n", Shown);
    }

    [Theory]
    [InlineData(ConsoleEnd.Busy, 1)]
    [InlineData(ConsoleEnd.Failed, 1)]
    [InlineData(ConsoleEnd.Refused, 7)]
    public async Task Refused_SaysWhyAndWhatNextInPlainText(ConsoleEnd why, int code)
    {
        var running = RunAsync(terminal: true);
        await _wire.SentAsync();
        _wire.Answer(ConsoleFrame.End(new(why, "open already\u001b[2J", "with --force")));
        Assert.Equal((ExitCode)code, await running.WaitAsync(s_patience, Ct));
        Assert.Equal("error: open already\\u{1b}[2J\n  = next: with --force\n", _paper.Error);
        Assert.Equal(0, _raw);
    }

    [Theory]
    [InlineData(ConsoleEnd.Taken, 1, "bob took it")]
    [InlineData(ConsoleEnd.Idle, 6, "nothing was typed")]
    [InlineData(ConsoleEnd.Guest, 0, "it stopped")]
    public async Task Ended_ByTheHost_SaysWhyAndPutsTheTerminalBack(ConsoleEnd why, int code, string message)
    {
        var running = RunAsync(terminal: true);
        await _wire.SentAsync();
        _wire.Answer(ConsoleFrame.Opened);
        _wire.Answer(ConsoleFrame.End(new(why, message, "")));
        Assert.Equal((ExitCode)code, await running.WaitAsync(s_patience, Ct));
        Assert.Contains(message, _paper.Error, StringComparison.Ordinal);
        Assert.Equal(0, _raw);
    }

    [Fact]
    public async Task Cut_WithoutAnEnd_IsNeverTakenForOne()
    {
        var running = RunAsync(terminal: true);
        await _wire.SentAsync();
        _wire.Answer(ConsoleFrame.Opened);
        _wire.Say("half a li");
        _wire.Cut();
        Assert.Equal(ExitCode.Unreachable, await running.WaitAsync(s_patience, Ct));
        Assert.Contains("was cut: what came last may be missing", _paper.Error, StringComparison.Ordinal);
        Assert.Equal(0, _raw);
    }

    [Fact]
    public async Task Stopped_BySignal_PutsTheTerminalBackAndTellsTheHost()
    {
        using var stop = new CancellationTokenSource();
        var running = RunUntilAsync(terminal: true, stop.Token);
        await _wire.SentAsync();
        _wire.Answer(ConsoleFrame.Opened);
        _wire.Say("x");
        while (Shown.Length == 0) await Task.Delay(5, Ct);
        await stop.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => running.WaitAsync(s_patience, Ct));
        Assert.Equal(ConsoleEnd.Left, (await _wire.SentAsync()).Ending.Why);
        Assert.Equal(0, _raw);
    }

    private Task<ExitCode> RunAsync(bool terminal) => RunUntilAsync(terminal, Ct);

    private Task<ExitCode> RunUntilAsync(bool terminal, CancellationToken stop, bool safe = false)
    {
        var port = new TerminalPort
        {
            In = _keyboard.Reader.AsStream(),
            Out = _shown,
            InIsTerminal = terminal,
            OutIsTerminal = terminal,
            Raw = () =>
            {
                _raw++;
                return new Undo(() => _raw--);
            },
        };
        return new ConsoleRun(_paper.Screen, port, _wire, new(7, safe, TimeSpan.FromMilliseconds(300))).RunAsync(stop);
    }

    private async Task TypeAsync(string text) => await _keyboard.Writer.WriteAsync(Encoding.UTF8.GetBytes(text), Ct);

    private sealed class Undo(Action how) : IDisposable
    {
        public void Dispose() => how();
    }

    private sealed class FakeWire : IConsoleWire
    {
        private readonly Channel<ConsoleFrame?> _coming = Channel.CreateUnbounded<ConsoleFrame?>();
        private readonly Channel<ConsoleFrame> _sent = Channel.CreateUnbounded<ConsoleFrame>();

        public string Title => "instance/hello on edge-1";

        public void Answer(ConsoleFrame frame) => _coming.Writer.TryWrite(frame);

        public void Say(string text) => Answer(ConsoleFrame.Data(Encoding.UTF8.GetBytes(text)));

        public void Cut() => _coming.Writer.TryWrite(null);

        public async Task<ConsoleFrame> SentAsync() => await _sent.Reader.ReadAsync(Ct).AsTask().WaitAsync(s_patience, Ct);

        public async Task<string> TypedAsync() => Encoding.UTF8.GetString((await SentAsync()).Payload.Span);

        public async ValueTask<ConsoleFrame?> ReceiveAsync(CancellationToken stop) => await _coming.Reader.ReadAsync(stop);

        public ValueTask SendAsync(ConsoleFrame frame, CancellationToken stop)
        {
            _sent.Writer.TryWrite(frame with { Payload = frame.Payload.ToArray() });
            return default;
        }
    }
}
