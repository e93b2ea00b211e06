using System.Threading.Channels;
using AgentMetal.Cli.CommandLine;
using AgentMetal.Cli.Rendering;
using AgentMetal.Runtime.Consoles;

namespace AgentMetal.Cli.SerialConsole;

/// <summary>How a person wants the console.</summary>
/// <param name="Lines">Lines of its log that come first.</param>
/// <param name="Safe">Control sequences are taken out also on a terminal.</param>
/// <param name="Quiet">Without a terminal: after the end of the input it ends when the machine has said nothing for so long.</param>
internal sealed record ConsoleWishes(int Lines, bool Safe, TimeSpan Quiet);

/// <summary>One session at a terminal, or in a pipe: typed bytes to the machine, what it says to standard output, until somebody ends it.</summary>
internal sealed class ConsoleRun(Screen screen, TerminalPort port, IConsoleWire wire, ConsoleWishes wishes)
{
    /// <summary>Ctrl-], as telnet and virsh have it.</summary>
    internal const byte Leave = 0x1d;

    /// <summary>A machine that never falls silent is listened to for so many times the quiet that was asked for.</summary>
    internal const int MaxQuiets = 10;

    private const int Chunk = 4096;

    /// <summary>What a guest may have set in the terminal is taken back: a soft reset, colours, the cursor, reports of the mouse and of pasting.</summary>
    private const string Restore = "\e[!p\e[0m\e[?25h\e[?1000l\e[?1002l\e[?1003l\e[?1006l\e[?2004l";

    private static readonly TimeSpan Opening = TimeSpan.FromSeconds(20);
    private static readonly TimeSpan Farewell = TimeSpan.FromSeconds(1);

    private readonly SafeOutput? _safe = wishes.Safe || !port.OutIsTerminal ? new SafeOutput() : null;
    private long _said = screen.Clock.GetTimestamp();

    internal async Task<ExitCode> RunAsync(CancellationToken stop)
    {
        await wire.SendAsync(ConsoleFrame.Begin(wishes.Lines), stop);
        var first = await OpenedAsync(stop);
        if (first?.Kind != ConsoleFrameKind.Opened) return Tell(first?.Ending);
        if (port.InIsTerminal) screen.Note($"Connected to {wire.Title}. Ctrl-] leaves.");
        ConsoleEnding? ending;
        try
        {
            using (port.InIsTerminal ? port.Raw() : null) ending = await CarryAsync(stop);
        }
        finally
        {
            if (port.OutIsTerminal) await port.Out.WriteAsync(System.Text.Encoding.ASCII.GetBytes((_safe is null ? Restore : "") + "\r\n"), CancellationToken.None);
        }
        return Tell(ending);
    }

    private async Task<ConsoleFrame?> OpenedAsync(CancellationToken stop)
    {
        using var deadline = new CancellationTokenSource(Opening, screen.Clock);
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(stop, deadline.Token);
        try { return await wire.ReceiveAsync(limit.Token); }
        catch (OperationCanceledException) when (!stop.IsCancellationRequested)
        {
            throw new CommandFailedException(new(ExitCode.TimedOut, $"the console of {wire.Title} did not open within {Opening.TotalSeconds:0} s", "try again; on the host: agentmetal local status"));
        }
    }

    private async Task<ConsoleEnding?> CarryAsync(CancellationToken stop)
    {
        // Not linked: a session that is stopped from here still says so to the host.
        using var ending = new CancellationTokenSource();
        var (typed, said) = (TypeAsync(ending.Token), ShowAsync(ending.Token));
        var first = await Task.WhenAny(typed, said, Task.Delay(Timeout.InfiniteTimeSpan, stop));
        if (first != said)
        {
            await LeaveAsync();
            // The host goes once it has read that; to break off now could keep it from it.
            await Task.WhenAny(said, Task.Delay(Farewell, CancellationToken.None));
        }
        await ending.CancelAsync();
        await Task.WhenAny(Task.WhenAll(typed, said), Task.Delay(Farewell, CancellationToken.None));
        stop.ThrowIfCancellationRequested();
        return await (first == said ? said : typed);
    }

    private async Task LeaveAsync()
    {
        using var limit = new CancellationTokenSource(Farewell);
        try { await wire.SendAsync(ConsoleFrame.End(new(ConsoleEnd.Left, "", "")), limit.Token); }
        catch (Exception e) when (e is IOException or OperationCanceledException or ObjectDisposedException)
        {
            // Then the host finds out.
        }
    }

    private async Task<ConsoleEnding?> TypeAsync(CancellationToken stop)
    {
        var chunks = Channel.CreateBounded<byte[]>(4);
        new Thread(() => ReadInput(chunks.Writer, stop)) { IsBackground = true, Name = "standard-input" }.Start();
        await foreach (var chunk in chunks.Reader.ReadAllAsync(stop))
        {
            var end = port.InIsTerminal ? Array.IndexOf(chunk, Leave) : -1;
            if (end != 0) await TypeAsync(end < 0 ? chunk : chunk.AsMemory(0, end), stop);
            if (end >= 0) return new(ConsoleEnd.Left, "", "");
        }
        if (!port.InIsTerminal) await QuietAsync(stop);
        return new(ConsoleEnd.Left, "", "");
    }

    private async Task TypeAsync(ReadOnlyMemory<byte> bytes, CancellationToken stop)
    {
        try { await wire.SendAsync(ConsoleFrame.Data(bytes), stop); }
        catch (IOException) { await Task.Delay(Timeout.InfiniteTimeSpan, stop); } // The session is over, and whoever reads it says why.
    }

    // A thread of its own: a read of a terminal cannot be called off, and must not keep the process.
    private void ReadInput(ChannelWriter<byte[]> into, CancellationToken stop)
    {
        Exception? why = null;
        try
        {
            var buffer = new byte[Chunk];
            while (port.In.Read(buffer, 0, buffer.Length) is var read and > 0) into.WriteAsync(buffer[..read], stop).AsTask().GetAwaiter().GetResult();
        }
        catch (Exception e) when (e is IOException or OperationCanceledException or ChannelClosedException) { why = e; }
        into.TryComplete(why);
    }

    private async Task QuietAsync(CancellationToken stop)
    {
        var clock = screen.Clock;
        var since = clock.GetTimestamp();
        Volatile.Write(ref _said, since);
        while (true)
        {
            var quiet = clock.GetElapsedTime(Volatile.Read(ref _said));
            if (quiet >= wishes.Quiet || clock.GetElapsedTime(since) >= wishes.Quiet * MaxQuiets) return;
            await Task.Delay(wishes.Quiet - quiet, clock, stop);
        }
    }

    private async Task<ConsoleEnding?> ShowAsync(CancellationToken stop)
    {
        while (await wire.ReceiveAsync(stop) is { } frame)
        {
            if (frame.Kind == ConsoleFrameKind.End) return frame.Ending;
            if (frame.Kind != ConsoleFrameKind.Data) continue;
            await port.Out.WriteAsync(_safe is null ? frame.Payload : _safe.Clean(frame.Payload.Span), stop);
            await port.Out.FlushAsync(stop);
            Volatile.Write(ref _said, screen.Clock.GetTimestamp());
        }
        return null;
    }

    private ExitCode Tell(ConsoleEnding? ending)
    {
        if (ending is null)
            return new Failure(ExitCode.Unreachable, $"the session with {wire.Title} was cut: what came last may be missing", "open it again; the machine is not touched by it").Write(screen);
        switch (ending.Why)
        {
            case ConsoleEnd.Left:
                if (port.InIsTerminal) screen.Note($"Left the console of {wire.Title}.");
                return ExitCode.Ok;
            case ConsoleEnd.Guest:
                screen.Note(ending.Message);
                return ExitCode.Ok;
            case var why:
                return new Failure(why switch { ConsoleEnd.Idle => ExitCode.TimedOut, ConsoleEnd.Refused => ExitCode.Refused, _ => ExitCode.Failed }, ending.Message, ending.Next).Write(screen);
        }
    }
}
