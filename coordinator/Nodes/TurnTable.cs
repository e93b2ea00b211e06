using AgentMetal.Coordinator.Fleet;
using AgentMetal.Proto.V1;
using AgentMetal.Runtime.Store;
using Google.Protobuf;

namespace AgentMetal.Coordinator.Nodes;

/// <summary>
/// One holder at a time for each key ("redis/uid/disruption"), for at most as long as it asked. A grant is stored before it is given: after a restart of
/// the coordinator every turn that was out counts as held for its whole time again, whatever the clock did meanwhile.
/// </summary>
internal sealed class TurnTable(IStore store, Leadership leadership, TimeProvider clock) : IDisposable
{
    public static readonly TimeSpan LongestHold = TimeSpan.FromMinutes(30);

    /// <summary>
    /// How long the turns of a daemon that ended without giving them back stay its host's: time for the daemon that follows to go on with the step it
    /// finds in its journal, which asks for its turn again. Without an end a daemon that was killed would keep its peers from every change for half an hour.
    /// </summary>
    public static readonly TimeSpan Resumption = TimeSpan.FromSeconds(30);

    private const int MaxKey = 200;
    private const int MaxTurns = 10_000;

    private sealed record Held(string Node, DateTimeOffset Until, long Term);

    private readonly Dictionary<string, Held> _held = new(StringComparer.Ordinal);
    private readonly Dictionary<string, string> _boots = new(StringComparer.Ordinal);
    private readonly SemaphoreSlim _gate = new(1, 1);

    /// <summary>Reads what was out when the coordinator before ended.</summary>
    public async Task LoadAsync(CancellationToken stop)
    {
        foreach (var entry in (await store.ListAsync(StoreKeys.Turns, stop)).Entries)
        {
            var grant = TurnGrant.Parser.ParseFrom(entry.Value.Span);
            _held[entry.Key[StoreKeys.Turns.Length..]] = new(grant.Holder, clock.GetUtcNow() + Hold(grant.HoldMs), grant.Term);
        }
    }

    /// <summary>Grants or refuses, never waits for the holder.</summary>
    /// <param name="node">Uid of the asking node, from its certificate.</param>
    /// <param name="nameOf">A node's name from its uid, for people.</param>
    public async Task<TurnGrant> AskAsync(string node, TurnRequest request, Func<string, string> nameOf, CancellationToken stop)
    {
        var refusal = new TurnGrant { Id = request.Id, Granted = false };
        if (request.Key.Length is 0 or > MaxKey || StoreLimits.KeyError(StoreKeys.Turns + request.Key) is not null || request.HoldMs <= 0)
        {
            refusal.Holder = "nobody: the request is malformed";
            return refusal;
        }
        await _gate.WaitAsync(stop);
        try
        {
            var now = clock.GetUtcNow();
            var held = _held.GetValueOrDefault(request.Key);
            if (held is not null && held.Until > now && held.Node != node)
            {
                refusal.Holder = nameOf(held.Node);
                refusal.HoldMs = (long)(held.Until - now).TotalMilliseconds;
                return refusal;
            }
            if (held is null && _held.Count >= MaxTurns)
            {
                refusal.Holder = "nobody: too many turns are out";
                return refusal;
            }
            var hold = Hold(request.HoldMs);
            var grant = new TurnGrant { Id = request.Id, Granted = true, HoldMs = (long)hold.TotalMilliseconds, Holder = node, Term = (held?.Term ?? 0) + 1 };
            // The store may have written although it says that it is away, so from here the turn counts as out even if the grant is not sent.
            _held[request.Key] = new(node, now + hold, grant.Term);
            var stored = grant.Clone();
            stored.Id = "";
            await CommitAsync(StoreWrite.Put(StoreKeys.Turns + request.Key, stored.ToByteArray()));
            return grant;
        }
        catch (Exception e) when (e is StoreAwayException or NotLeaderException)
        {
            (refusal.Holder, refusal.NobodyToAsk) = ("nobody: " + e.Message, true);
            return refusal;
        }
        finally { _gate.Release(); }
    }

    /// <summary>A node attached. Of a boot other than the one before, nothing is known to hold a turn any more.</summary>
    /// <param name="boot">Distinguishes two lives of the node's daemon.</param>
    public async Task AttachedAsync(string node, string boot, CancellationToken stop)
    {
        await _gate.WaitAsync(stop);
        try
        {
            var before = _boots.GetValueOrDefault(node);
            _boots[node] = boot;
            if (before is null || before == boot) return;
            var until = clock.GetUtcNow() + Resumption;
            // In memory only: a coordinator that starts anew counts what is stored for its whole time, as it does for everybody.
            foreach (var (key, held) in _held.Where(h => h.Value.Node == node && h.Value.Until > until).ToList()) _held[key] = held with { Until = until };
        }
        finally { _gate.Release(); }
    }

    /// <summary>The holder gives it back; anybody else's word counts for nothing.</summary>
    public async Task ReleaseAsync(string node, string key, CancellationToken stop)
    {
        await _gate.WaitAsync(stop);
        try
        {
            if (_held.GetValueOrDefault(key) is not { } held || held.Node != node) return;
            await CommitAsync(StoreWrite.Delete(StoreKeys.Turns + key));
            _held.Remove(key);
        }
        catch (Exception e) when (e is StoreAwayException or NotLeaderException)
        {
            // It ends by itself when its time is over.
        }
        finally { _gate.Release(); }
    }

    public void Dispose() => _gate.Dispose();

    private async Task CommitAsync(StoreWrite write)
    {
        switch (await store.TxnAsync(new() { Writes = [write], Leader = leadership.Proof }))
        {
            case StoreResult.Committed:
                return;
            case StoreResult.Fenced fenced:
                throw leadership.Fenced(fenced);
            case var other:
                throw new InvalidOperationException($"the store refused a turn: {other}");
        }
    }

    private static TimeSpan Hold(long ms) => TimeSpan.FromMilliseconds(Math.Clamp(ms, 1, (long)LongestHold.TotalMilliseconds));
}
