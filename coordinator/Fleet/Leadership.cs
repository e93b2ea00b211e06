using AgentMetal.Runtime.Store;

namespace AgentMetal.Coordinator.Fleet;

/// <summary>
/// The CoordinatorLease: taken before the first write, renewed at a third of its life, shown in every write. Losing it ends the process: a coordinator
/// that is not the leader must not go on deciding.
/// </summary>
internal sealed partial class Leadership(IStore store, string holder, TimeProvider clock, ILogger<Leadership> log)
{
    private static readonly TimeSpan Life = TimeSpan.FromSeconds(15);

    private volatile LeaderProof? _proof;

    /// <summary>Shown in writes.</summary>
    /// <exception cref="NotLeaderException">Not the leader.</exception>
    public LeaderProof Proof => _proof ?? throw new NotLeaderException("this coordinator does not lead");

    /// <summary>Null when it leads now; else who does, for people.</summary>
    public async Task<string?> AcquireAsync(CancellationToken stop)
    {
        switch (await store.AcquireLeaseAsync(StoreKeys.Lease, holder, Life, stop))
        {
            case LeaseResult.Granted granted:
                _proof = granted.Proof;
                return null;
            case LeaseResult.HeldBy other:
                return $"coordinator {other.Holder} leads until {other.Until:u}; stop it, or start this one after that";
            case LeaseResult.Refused refused:
                throw new InvalidOperationException($"the store refused the lease: {refused.Field}: {refused.Message}");
            case var other:
                throw new InvalidOperationException($"unexpected answer to a lease: {other}");
        }
    }

    /// <summary>Renews until stopped, then lets go.</summary>
    /// <exception cref="NotLeaderException">The lease was lost.</exception>
    public async Task KeepAsync(CancellationToken stop)
    {
        try
        {
            while (true)
            {
                await Task.Delay(Life / 3, clock, stop);
                try
                {
                    switch (await store.RenewLeaseAsync(Proof, Life, stop))
                    {
                        case LeaseResult.Granted granted:
                            _proof = granted.Proof;
                            break;
                        case LeaseResult.Lost lost when lost.Holder is null && await AcquireAsync(stop) is null:
                            // It ran out while the store was away or this process slept, and nobody took it: the new token fences what was under way.
                            break;
                        case LeaseResult.Lost lost:
                            throw new NotLeaderException($"coordinator {lost.Holder} leads now");
                        case var other:
                            throw new InvalidOperationException($"unexpected answer to a renewal: {other}");
                    }
                }
                catch (StoreAwayException e) { LogAway(log, e.Reason); }
            }
        }
        catch (OperationCanceledException) when (stop.IsCancellationRequested)
        {
            var proof = _proof;
            _proof = null;
            if (proof is not null) await store.ReleaseLeaseAsync(proof, CancellationToken.None);
        }
    }

    /// <summary>What to throw when a write was fenced.</summary>
    public NotLeaderException Fenced(StoreResult.Fenced fenced) =>
        new(fenced.Holder is null ? "the CoordinatorLease ran out before the write; it is renewed, try again" : $"coordinator {fenced.Holder} leads now");

    [LoggerMessage(EventId = 2011, Level = LogLevel.Error, Message = "The CoordinatorLease could not be renewed, the store is away: {Why}")]
    private static partial void LogAway(ILogger log, string why);
}

/// <summary>A write or decision that only the leader may make.</summary>
internal sealed class NotLeaderException(string message) : Exception(message);
