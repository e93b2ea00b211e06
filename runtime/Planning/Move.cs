namespace AgentMetal.Runtime.Planning;

/// <summary>What Propose yields: a call that may be made now, or why none may (with when to look again).</summary>
public sealed record Move<TArgs>(TArgs? Args, int Cost, string Why, bool EndsPlan = false, string? Blocked = null, TimeSpan? RetryAfter = null)
{
    /// <summary>
    /// The class of question this move is one answer to. A choice point is two viable moves for one difference with the same Ask;
    /// moves without Ask are ordered by cost. (Fencing three ways is a sequence, not a question; whom to promote is a question.)
    /// </summary>
    public string? Ask { get; init; }

    /// <summary>The cause this move remedies, from the fixed list of causes; a reading of it may reorder viable moves and nothing else.</summary>
    public string? Remedies { get; init; }
}

/// <summary>Makes moves.</summary>
public static class Move
{
    /// <param name="args">Absolute arguments: "until s3 has 4096 slots", never "move 1365 more".</param>
    /// <param name="cost">0..1000, lower first; only compared between proposals for the same difference, then for order.</param>
    /// <param name="why">For people.</param>
    public static Move<T> Do<T>(T args, int cost, string why) => new(args, cost, why);

    /// <summary>The world, not the model, decides what comes after: plan up to here, act, observe, plan again.</summary>
    public static Move<T> DoThenLook<T>(T args, int cost, string why) => new(args, cost, why, EndsPlan: true);

    /// <param name="why">What it waits for, for people.</param>
    /// <param name="retryAfter">Set when it clears by itself (a sync in progress): the plan is then Waiting, not Stuck.</param>
    public static Move<T> Wait<T>(string why, TimeSpan? retryAfter = null) => new(default, 0, why, Blocked: why, RetryAfter: retryAfter);
}
