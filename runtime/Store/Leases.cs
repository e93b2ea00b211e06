namespace AgentMetal.Runtime.Store;

/// <summary>
/// Shows that its bearer was given the CoordinatorLease. The token only ever grows, and the store compares it in every leader write: a paused process
/// that wakes up after its lease passed on cannot write.
/// </summary>
public sealed record LeaderProof
{
    public required string Lease { get; init; }

    public required string Holder { get; init; }

    /// <summary>The fencing token: higher for every grant of this lease, for the life of the store.</summary>
    public required long Token { get; init; }

    /// <summary>When the store lets go of the lease, by the store's clock. The bearer renews well before, at a third of the time to live.</summary>
    public required DateTimeOffset Until { get; init; }
}

/// <summary>The answer to asking for a lease or its renewal.</summary>
public abstract record LeaseResult
{
    private LeaseResult() { }

    public sealed record Granted(LeaderProof Proof) : LeaseResult;

    /// <summary>Another holds it; ask again after <paramref name="Until"/>.</summary>
    public sealed record HeldBy(string Holder, long Token, DateTimeOffset Until) : LeaseResult;

    /// <summary>The lease to renew expired or passed on. Its bearer stops leading and asks anew.</summary>
    public sealed record Lost(long CurrentToken, string? Holder) : LeaseResult;

    public sealed record Refused(string Field, string Message) : LeaseResult;
}
