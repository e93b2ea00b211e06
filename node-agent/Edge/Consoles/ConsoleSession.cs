using AgentMetal.Runtime.Consoles;

namespace AgentMetal.NodeAgent.Edge.Consoles;

/// <summary>Carries the bytes of one open console both ways, until one side ends, nothing goes for too long, or the right to it ends.</summary>
internal sealed class ConsoleSession(Stream guest, IConsolePeer peer, ConsoleCaller caller, TimeProvider clock)
{
    /// <summary>A session in which nothing was carried for so long ends.</summary>
    public static readonly TimeSpan Idle = TimeSpan.FromMinutes(30);

    private static readonly TimeSpan LookEvery = TimeSpan.FromMinutes(1);
    private static readonly TimeSpan Grace = TimeSpan.FromSeconds(3);

    private long _carried = clock.GetTimestamp();

    public string By => caller.By;

    public DateTimeOffset Since { get; } = clock.GetUtcNow();

    /// <summary>Who took the console from this session.</summary>
    public string? TakenBy { get; set; }

    /// <param name="recent">What the console has said before, sent first. Read once the console is open: a line may come twice, none is missing.</param>
    /// <param name="stop">Ends the session.</param>
    public async Task<ConsoleEnding> RunAsync(Func<ReadOnlyMemory<byte>> recent, CancellationToken stop)
    {
        using var ending = CancellationTokenSource.CreateLinkedTokenSource(stop);
        var (coming, going, looking) = (FromPersonAsync(ending.Token), ToPersonAsync(recent, ending.Token), LookAsync(ending.Token));
        var why = await OutcomeAsync(await Task.WhenAny(coming, going, looking), stop);
        if (why.Why != ConsoleEnd.Left)
        {
            await TellAsync(peer, why, clock);
            // The other side reads its last frame and goes by itself; to break off the connection now could lose that frame.
            await Task.WhenAny(coming, Task.Delay(Grace, clock, CancellationToken.None));
        }
        await ending.CancelAsync();
        Task all = Task.WhenAll(coming, going, looking);
        await all.WaitAsync(Grace, clock, CancellationToken.None).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        return why;
    }

    /// <summary>Says the last word, if the other side still listens.</summary>
    public static async ValueTask TellAsync(IConsolePeer peer, ConsoleEnding why, TimeProvider clock)
    {
        using var limit = new CancellationTokenSource(Grace, clock);
        try { await peer.SendAsync(ConsoleFrame.End(why), limit.Token); }
        catch (Exception e) when (e is IOException or OperationCanceledException or ObjectDisposedException or InvalidOperationException)
        {
            // Then it is not told.
        }
    }

    private async Task<ConsoleEnding> OutcomeAsync(Task<ConsoleEnding> first, CancellationToken stop)
    {
        try { return await first; }
        catch (OperationCanceledException) when (stop.IsCancellationRequested) { return new(ConsoleEnd.Failed, "agentmetald on the host stops", "open it again once it has started"); }
        catch (InvalidDataException e) { return new(ConsoleEnd.Refused, e.Message, "do not go on before you know who is between host and operator"); }
        catch (Exception e) when (e is IOException or ObjectDisposedException or InvalidOperationException or OperationCanceledException) { return new(ConsoleEnd.Failed, e.Message, "open it again"); }
    }

    private async Task<ConsoleEnding> ToPersonAsync(Func<ReadOnlyMemory<byte>> recent, CancellationToken stop)
    {
        await peer.SendAsync(ConsoleFrame.Opened, stop);
        for (var before = recent(); !before.IsEmpty; before = before[Math.Min(before.Length, ConsoleFrame.MaxData)..])
            await peer.SendAsync(ConsoleFrame.Data(before[..Math.Min(before.Length, ConsoleFrame.MaxData)]), stop);
        var buffer = new byte[ConsoleFrame.MaxData];
        while (true)
        {
            var read = await guest.ReadAsync(buffer, stop);
            if (read == 0)
            {
                return TakenBy is { } other
                    ? new(ConsoleEnd.Taken, $"{other} took the console by force", "agree with whoever did, or take it back with --force")
                    : new(ConsoleEnd.Guest, "the machine's end closed: it stopped, or another program of the host took its console", "");
            }
            await peer.SendAsync(ConsoleFrame.Data(buffer.AsMemory(0, read)), stop);
            Volatile.Write(ref _carried, clock.GetTimestamp());
        }
    }

    private async Task<ConsoleEnding> FromPersonAsync(CancellationToken stop)
    {
        while (await peer.ReceiveAsync(stop) is { } frame)
        {
            if (frame.Kind == ConsoleFrameKind.End) return new(ConsoleEnd.Left, "", "");
            if (frame.Kind != ConsoleFrameKind.Data) continue; // From a newer one: what is not understood is not typed.
            if (caller.WhyNot() is { } why) return new(ConsoleEnd.Refused, why, "");
            try { await guest.WriteAsync(frame.Payload, stop); }
            catch (IOException) { await Task.Delay(Timeout.InfiniteTimeSpan, clock, stop); } // The machine's end has closed, and whoever reads it says so.
            Volatile.Write(ref _carried, clock.GetTimestamp());
        }
        return new(ConsoleEnd.Left, "the connection was cut", "");
    }

    private async Task<ConsoleEnding> LookAsync(CancellationToken stop)
    {
        while (true)
        {
            var idle = clock.GetElapsedTime(Volatile.Read(ref _carried));
            if (idle >= Idle) return new(ConsoleEnd.Idle, $"nothing was typed or said for {Idle.TotalMinutes:0} minutes", "open it again");
            if (caller.WhyNot() is { } why) return new(ConsoleEnd.Refused, why, "");
            await Task.Delay(Idle - idle < LookEvery ? Idle - idle : LookEvery, clock, stop);
        }
    }
}
