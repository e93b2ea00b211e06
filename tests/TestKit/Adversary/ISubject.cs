namespace AgentMetal.TestKit.Adversary;

/// <summary>How a sequence ended once everything was healed.</summary>
public enum Ending
{
    /// <summary>As declared.</summary>
    Converged,

    /// <summary>A step waits for a signature: nothing happens without one.</summary>
    Held,

    /// <summary>It says what a person can do and does nothing.</summary>
    Advised,

    /// <summary>Neither within its time.</summary>
    Restless,
}

/// <summary>Something with members that hold items, under writers, as an adversary sees it. One instance serves one sequence.</summary>
public interface ISubject
{
    /// <summary>The faults it offers, always in the same order.</summary>
    IReadOnlyList<FaultKind> Kinds { get; }

    /// <summary>Brings it up, with items in it and writers at work.</summary>
    Task BeginAsync(CancellationToken stop);

    /// <summary>What each reachable member holds now.</summary>
    Task<Look> LookAsync(CancellationToken stop);

    /// <summary>Does a fault and says what it may take by itself; null = it could not be done now, and nothing was.</summary>
    Task<Toll?> InjectAsync(Fault fault, CancellationToken stop);

    /// <summary>Takes back every fault of the world: power, network, frozen processes, limits, full disks, stopped daemons. What a hand
    /// did inside stays.</summary>
    Task HealAsync(CancellationToken stop);

    /// <summary>Waits until it is as declared or stands still.</summary>
    Task<Ending> SettleAsync(CancellationToken stop);

    /// <summary>Signs what waits; null = nothing did.</summary>
    Task<Signature?> SignAsync(CancellationToken stop);

    /// <summary>What was not said to people and should have been, one line each: what the declared persistence gives up, a loss that a
    /// fault made.</summary>
    /// <param name="givenUp">Items that faults took.</param>
    Task<IReadOnlyList<string>> UntoldAsync(int givenUp, CancellationToken stop);
}
