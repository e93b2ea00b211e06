using System.Collections.Concurrent;
using AgentMetal.Coordinator.Agents.Orchestrator;
using AgentMetal.Coordinator.Api;
using AgentMetal.Coordinator.Events;
using AgentMetal.Coordinator.Fleet;
using AgentMetal.Coordinator.Nodes;
using AgentMetal.Proto.V1;
using Grpc.Core;

namespace AgentMetal.Coordinator.Consoles;

/// <summary>One end of a session, as gRPC has it.</summary>
internal sealed record ConsoleSide(IAsyncStreamReader<ConsoleMessage> From, IAsyncStreamWriter<ConsoleMessage> To);

/// <summary>
/// Brings an operator and a host together and carries what they say to each other. It judges nothing and can read nothing: who may open a console is the
/// host's to say, and everything after that is sealed between the two. One message at a time is carried each way, so a side that takes nothing is not read from either.
/// </summary>
internal sealed class ConsoleBridge(FleetModel model, NodeRegistry registry, EventLog events, TimeProvider clock) : IDisposable
{
    /// <summary>Sessions of all operators at once.</summary>
    public const int MaxSessions = 64;

    /// <summary>Of these, with one host.</summary>
    public const int MaxPerNode = 8;

    /// <summary>From when an operator asks until the host has answered.</summary>
    public static readonly TimeSpan OpeningDeadline = TimeSpan.FromSeconds(15);

    private readonly ConcurrentDictionary<string, ConsoleRelay> _relays = new(StringComparer.Ordinal);
    private readonly Lock _lock = new();
    private readonly CancellationTokenSource _stopping = new();

    /// <summary>Sessions that there are now.</summary>
    public int Sessions => _relays.Count;

    /// <summary>The operator's call: from which resource to the end of the session.</summary>
    public async Task ServeOperatorAsync(Resource resource, string by, ConsoleSide side, CancellationToken cancel)
    {
        var key = Keys.Of(resource);
        if (model.Current.OfResource(resource.Metadata.Uid).Select(a => a.Value).OrderBy(a => a.Ordinal).FirstOrDefault() is not { } assignment)
            throw Refusals.Precondition($"{key} is on no host yet; see agentmetal describe {resource.Kind.ToLowerInvariant()} {resource.Metadata.Name}");
        var node = assignment.Key.Split('/')[0];
        var name = model.Current.NodeName(node);
        if (registry.Session(node) is not { } session)
            throw Refusals.Precondition($"{name}, where {key} is, is away: {registry.Live(node).Why}; on the host itself: agentmetal local console {resource.Kind.ToLowerInvariant()}/{resource.Metadata.Name}");
        var relay = Admit(node, name);
        var by12 = "";
        try
        {
            using var ended = CancellationTokenSource.CreateLinkedTokenSource(cancel, _stopping.Token);
            if (!session.Put(new ConsoleCall { Session = relay.Id, ResourceUid = resource.Metadata.Uid })) throw Refusals.Precondition($"{name} has too much to do already; try again");
            ConsoleSide host;
            try { host = await relay.Host.WaitAsync(OpeningDeadline, clock, ended.Token); }
            catch (TimeoutException) { throw NoAnswer(name, "it may be older than this coordinator: agentmetal nodes list"); }
            relay.Answered = opening =>
            {
                by12 = $"{by}, key {(opening.KeyId.Length == 64 && opening.KeyId.All(char.IsAsciiHexDigitLower) ? opening.KeyId[..12] : "unknown")}{(opening.Force ? ", by force" : "")}";
                events.Note(name, key, "ConsoleOpened", $"{name} let {by12} to its console");
            };
            if (!await relay.CarryAsync(side, host, WhyNot, ended.Token)) throw NoAnswer(name, "look there: agentmetal local status");
        }
        finally
        {
            _relays.TryRemove(relay.Id, out _);
            relay.End();
            if (by12.Length > 0) events.Note(name, key, "ConsoleClosed", $"the console is closed: {by12}");
        }

        string? WhyNot() => model.Current.Joined.GetValueOrDefault(node) is { RevokedUnixMs: null } ? null : $"{name} was revoked";
    }

    /// <summary>The call of a host that was asked to open a session; returns when that session is over. One that nobody waits for ends at once.</summary>
    public async Task ServeNodeAsync(string node, string session, ConsoleSide side, CancellationToken cancel)
    {
        if (!_relays.TryGetValue(session, out var relay) || relay.Node != node || !relay.Join(side)) return;
        await using var gone = cancel.Register(relay.HostLeft);
        await relay.Over;
    }

    /// <summary>Ends every session; none begins any more.</summary>
    public void End() => _stopping.Cancel();

    public void Dispose() => _stopping.Dispose();

    private ConsoleRelay Admit(string node, string name)
    {
        var relay = new ConsoleRelay(Guid.NewGuid().ToString("N"), node, clock);
        lock (_lock)
        {
            if (_relays.Count >= MaxSessions) throw Refusals.TooMany($"{MaxSessions} consoles are open through this coordinator already; leave one with Ctrl-]");
            if (_relays.Values.Count(r => r.Node == node) >= MaxPerNode) throw Refusals.TooMany($"{MaxPerNode} consoles of {name} are open already; leave one with Ctrl-], or use agentmetal local console on the host");
            _relays[relay.Id] = relay;
        }
        return relay;
    }

    private static RpcException NoAnswer(string name, string next) => Refusals.Precondition($"{name} did not answer within {OpeningDeadline.TotalSeconds:0} s; {next}");
}
