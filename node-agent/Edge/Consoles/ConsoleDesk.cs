using AgentMetal.NodeAgent.Pipeline;
using AgentMetal.Runtime.Audit;
using AgentMetal.Runtime.Consoles;
using Microsoft.Extensions.Logging;

namespace AgentMetal.NodeAgent.Edge.Consoles;

/// <summary>
/// Opens consoles of members for people, however they come, and tells the audit who opened which one, by what key, and when it ended. What goes through
/// a console is written nowhere.
/// </summary>
/// <param name="consoles">By kind.</param>
/// <param name="audit">Resource key, kind and body of a record; when it throws, nothing is opened.</param>
/// <param name="clock">Deadlines.</param>
/// <param name="log">Never contents.</param>
internal sealed partial class ConsoleDesk(IReadOnlyList<IMemberConsole> consoles, Func<string, string, string, ValueTask> audit, TimeProvider clock, ILogger<ConsoleDesk> log)
{
    /// <summary>How long the other side may take to ask, once it is there.</summary>
    public static readonly TimeSpan OpeningDeadline = TimeSpan.FromSeconds(15);

    private static readonly TimeSpan AuditDeadline = TimeSpan.FromSeconds(5);

    private static readonly TimeSpan EndDeadline = TimeSpan.FromSeconds(3);

    private readonly Lock _lock = new();
    private readonly HashSet<Task> _serving = [];
    private readonly Dictionary<string, ConsoleSession> _open = new(StringComparer.Ordinal);

    /// <summary>Consoles that are open now.</summary>
    public int Open { get { lock (_lock) return _open.Count; } }

    /// <summary>One whole session, from what the other side asks first to the last frame.</summary>
    public async Task<ConsoleEnding> ServeAsync(MemberInput input, ConsoleCaller caller, IConsolePeer peer, CancellationToken stop)
    {
        var serving = OpenAndPumpAsync(input, caller, peer, stop);
        lock (_lock) _serving.Add(serving);
        try
        {
            var ending = await serving;
            LogEnded(log, input.ResourceKey, caller.By, ending.Why);
            return ending;
        }
        finally
        {
            lock (_lock) _serving.Remove(serving);
        }
    }

    /// <summary>Waits until the sessions that were told to stop are over and in the audit, which is there no longer after that.</summary>
    public async Task EndedAsync()
    {
        Task all;
        lock (_lock) all = Task.WhenAll(_serving);
        await all.WaitAsync(EndDeadline, clock).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
    }

    private async Task<ConsoleEnding> OpenAndPumpAsync(MemberInput input, ConsoleCaller caller, IConsolePeer peer, CancellationToken stop)
    {
        ConsoleFrame? begin;
        using (var deadline = new CancellationTokenSource(OpeningDeadline, clock))
        {
            using var opening = CancellationTokenSource.CreateLinkedTokenSource(stop, deadline.Token);
            try { begin = await peer.ReceiveAsync(opening.Token); }
            catch (OperationCanceledException) { begin = null; }
        }
        if (begin is not { Kind: ConsoleFrameKind.Begin }) return new(ConsoleEnd.Left, "nobody asked for the console", "");
        var (console, refusal) = await OpenAsync(input, caller, stop);
        if (console is null)
        {
            await ConsoleSession.TellAsync(peer, refusal!, clock);
            return refusal!;
        }
        await using var guest = console;
        var session = new ConsoleSession(guest, peer, caller, clock);
        lock (_lock) _open[input.Key] = session;
        ConsoleEnding ending = new(ConsoleEnd.Failed, "the session failed", "");
        try { return ending = await session.RunAsync(() => consoles.First(c => c.Kind == KindOf(input)).Recent(input, begin.Lines), stop); }
        finally
        {
            lock (_lock)
                if (_open.GetValueOrDefault(input.Key) == session) _open.Remove(input.Key);
            await CloseAsync(input, caller, ending);
        }
    }

    private async Task<(Stream? Console, ConsoleEnding? Refusal)> OpenAsync(MemberInput input, ConsoleCaller caller, CancellationToken stop)
    {
        if (consoles.FirstOrDefault(c => c.Kind == KindOf(input)) is not { } of)
            return (null, new(ConsoleEnd.Failed, $"a {KindOf(input)} has no console", "agentmetal describe " + KindOf(input).ToLowerInvariant() + " " + input.Name));
        // Said before it happens: the session that loses the console finds its end in the midst of this call.
        var before = caller.Force ? TellTaken(input, caller.By) : null;
        var (console, why) = await of.OpenAsync(input, caller.Force, stop);
        if (console is null)
        {
            if (before is not null) before.TakenBy = null;
            return (null, why!.Why == ConsoleEnd.Busy ? why with { Message = why.Message + ByWhom(input) } : why);
        }
        try
        {
            // Written before the first byte goes: what cannot be recorded is not opened.
            await audit(input.ResourceKey, "ConsoleOpened", Body(caller)).AsTask().WaitAsync(AuditDeadline, clock, stop);
            return (console, null);
        }
        catch (Exception e) when (e is not OutOfMemoryException)
        {
            await console.DisposeAsync();
            LogNotAudited(log, input.ResourceKey, e.Message);
            return (null, new(ConsoleEnd.Failed, $"the audit of this host cannot be written, so no console is opened: {e.Message}", "on the host: journalctl -u agentmetald"));
        }
    }

    private async Task CloseAsync(MemberInput input, ConsoleCaller caller, ConsoleEnding ending)
    {
        try { await audit(input.ResourceKey, "ConsoleClosed", Body(caller, ("why", ending.Why.ToString()), ("detail", ending.Message))).AsTask().WaitAsync(AuditDeadline, clock); }
        catch (Exception e) when (e is not OutOfMemoryException) { LogNotAudited(log, input.ResourceKey, e.Message); } // It is closed, whether that can be written or not.
    }

    private static string Body(ConsoleCaller caller, params ReadOnlySpan<(string, string)> more) =>
        AuditBody.Of([("by", caller.By), ("key", caller.KeyId), ("force", caller.Force ? "1" : "0"), .. more]);

    private ConsoleSession? TellTaken(MemberInput input, string by)
    {
        lock (_lock)
        {
            if (_open.GetValueOrDefault(input.Key) is not { } session) return null;
            session.TakenBy = by;
            return session;
        }
    }

    private string ByWhom(MemberInput input)
    {
        lock (_lock) return _open.TryGetValue(input.Key, out var session) ? $", by {session.By} since {session.Since:HH:mm:ss} UTC" : "";
    }

    private static string KindOf(MemberInput input) => input.ResourceKey.Split(' ')[0];

    [LoggerMessage(EventId = 1401, Level = LogLevel.Information, Message = "console of {Resource}, opened by {By}, ended: {Why}")]
    private static partial void LogEnded(ILogger log, string resource, string by, ConsoleEnd why);

    [LoggerMessage(EventId = 1402, Level = LogLevel.Error, Message = "console of {Resource}: the audit could not be written: {Why}")]
    private static partial void LogNotAudited(ILogger log, string resource, string why);
}
