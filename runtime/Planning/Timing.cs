namespace AgentMetal.Runtime.Planning;

/// <summary>Bounds of one step.</summary>
/// <param name="Timeout">From intent to confirmation, all retries included.</param>
/// <param name="Stall">No change of progress for this long = failed.</param>
/// <param name="Poll">Between two looks while it runs.</param>
public sealed record Timing(TimeSpan Timeout, TimeSpan Stall, TimeSpan Poll)
{
    /// <summary>Two minutes, looked at every second.</summary>
    public static readonly Timing Default = new(TimeSpan.FromMinutes(2), TimeSpan.FromMinutes(2), TimeSpan.FromSeconds(1));
}

/// <summary>How far a call is, seen from outside.</summary>
public enum Phase
{
    /// <summary>Nothing of it is visible; Apply is called.</summary>
    NotStarted,

    /// <summary>Under way; only looked at.</summary>
    Running,

    /// <summary>Complete; the expected facts decide.</summary>
    Done,

    /// <summary>It will not complete. Seen before this try was made, it is the failure of an earlier one and ends nothing.</summary>
    Failed,
}

/// <param name="Phase">How far.</param>
/// <param name="Progress">Monotonic while Running, in the tool's own unit (bytes, slots, percent); null = unknown.</param>
/// <param name="Detail">For people.</param>
public sealed record Status(Phase Phase, long? Progress = null, string? Detail = null);
