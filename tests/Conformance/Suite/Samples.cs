using CsCheck;

namespace AgentMetal.Conformance;

/// <summary>What the author of an agent gives, for the suite to judge its catalog by.</summary>
internal abstract class Samples<TGoal, TState>
    where TGoal : class
{
    /// <summary>The closed set of difference kinds.</summary>
    public abstract IReadOnlyCollection<string> Kinds { get; }

    /// <summary>Every goal beside every state, unseen and half-made ones among them.</summary>
    public abstract Gen<Case<TGoal, TState>> Any { get; }

    /// <summary>Situations that chance meets too rarely. Each can be brought to its end by this agent alone: a crash is tried at every boundary of them.</summary>
    public abstract IReadOnlyList<Case<TGoal, TState>> Journeys { get; }

    /// <summary>What the world does by itself while nobody acts.</summary>
    public virtual TState Settle(TState state) => state;

    /// <summary>States between two of one case: the first with one group of what the observer reads taken from the second.</summary>
    public abstract IEnumerable<TState> Between(TState a, TState b);

    /// <summary>Texts that must never be shown.</summary>
    public virtual IReadOnlyCollection<string> Secrets => [];

    /// <summary>Whether the agent keeps data that could be lost.</summary>
    public virtual bool HoldsData => false;

    /// <summary>Whether a service manager or a chain of replicas moves its data without the agent.</summary>
    public virtual bool MovesByItself => false;

    /// <summary>Whether data that somebody held before, in memory or on disk, is held by nobody afterwards.</summary>
    public virtual bool Loses(TState before, TState after) => false;

    /// <summary>What a start by the service manager or a boot makes of this state, as far as it is let; it must lose nothing, whatever the state.</summary>
    public virtual IEnumerable<TState> Starts(TState state) => [];

    /// <summary>Whether the agent says of data what uses it, so that a step could take it away from that.</summary>
    public virtual bool UsesData => false;

    /// <summary>
    /// Whether data that was in use before is not in use afterwards, or found in another place, although nobody declared just that: what a person signs who is
    /// to lose the sight of data that stays where it is.
    /// </summary>
    public virtual bool TakesOutOfUse(TGoal? goal, TState before, TState after) => false;

    /// <summary>
    /// What happens from here without the agent: such a start, and copies along a chain of replicas. A step that is not signed must not lead to a loss this way
    /// that would not have come without it.
    /// </summary>
    public virtual IEnumerable<TState> ByItself(TState state) => Starts(state);

    /// <summary>Cases per rule.</summary>
    public virtual int Count => 600;

    /// <summary>Plans in a row within which a case must come to rest.</summary>
    public virtual int MaxPlans => 12;
}
