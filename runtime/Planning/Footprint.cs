using System.Collections.Immutable;

namespace AgentMetal.Runtime.Planning;

/// <summary>
/// What a call depends on and what it changes, as fact keys. One declaration, seven uses: which steps share a wave, what an approval
/// binds, the executor's re-check, the comparison with the prediction, undo safety, undo dependents, and cross-host turns.
/// </summary>
/// <param name="Reads">Facts whose change would make this call wrong. Not everything looked at: what the decision rests on.</param>
/// <param name="Writes">Facts this call changes, also while it runs. At least one must differ afterwards, or it cannot be confirmed.</param>
public sealed record Footprint(ImmutableArray<string> Reads, ImmutableArray<string> Writes)
{
    /// <summary>Locks shared with other hosts, taken by the executor before the re-check ("redis/uid/disruption").</summary>
    public ImmutableArray<string> Turns { get; init; } = [];

    /// <summary>True only for calls whose purpose is to act without sight (fencing, restart of a mute service).</summary>
    public bool ActsBlind { get; init; }
}
