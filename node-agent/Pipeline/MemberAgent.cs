using System.Collections.Immutable;
using AgentMetal.Runtime.Execution;
using AgentMetal.Runtime.Planning;

namespace AgentMetal.NodeAgent.Pipeline;

/// <summary>
/// The node half of an agent: it reads a goal from an assignment and provides the agent (with its writers), the observer (readers only) and
/// what to watch. Instances made for one input are used for one pass and hold no state between passes.
/// </summary>
internal abstract class MemberAgent<TGoal, TState>
    where TGoal : class
{
    /// <summary>"Redis".</summary>
    public abstract string Kind { get; }

    /// <summary>Parses and checks the spec; an absent member has a null goal and no errors.</summary>
    public abstract GoalResult<TGoal> ReadGoal(MemberInput input);

    /// <summary>The agent with tools that act on this member.</summary>
    public abstract Agent<TGoal, TState> AgentFor(MemberInput input);

    /// <summary>
    /// What people want to know of it beside whether it is as wanted: no facts, and nothing that plans or wakes anything. What costs more than the pass has read
    /// anyway comes from <see cref="IMemberDetails"/>.
    /// </summary>
    public virtual ImmutableSortedDictionary<string, string> DetailsOf(TGoal? goal, TState state) => MemberDetails.None;

    /// <summary>
    /// Settings, roles and files that only a step of ours changes: one that moved although none ran was changed by hand or by another program, and that is
    /// told. What cannot be seen now is left out.
    /// </summary>
    public virtual ImmutableSortedDictionary<string, string> WatchedOf(TGoal? goal, TState state) => MemberDetails.None;

    /// <summary>What people should know of what is declared before they have it made; said in a plan, each text once.</summary>
    public virtual ImmutableArray<string> PlanNotesOf(TGoal? goal, TState state) => [];

    /// <summary>Whether people can use it now, which is another question than whether all is as declared; null = it cannot be told.</summary>
    public virtual MemberServing? ServingOf(TGoal? goal, TState state) => null;

    /// <summary>What is told of one of <see cref="WatchedOf"/> that moved; null = nothing.</summary>
    public virtual string? MovedWords(MemberInput input, string key, string was, string now) => $"{key} is {now} (it was {was}): changed by hand or by another program";

    /// <summary>
    /// What something of ours decided outside every pass and left on the disk, oldest first: each is told once, also by a daemon that was away then.
    /// </summary>
    public virtual ImmutableArray<OutsideNote> NotesOf(MemberInput input, TGoal? goal, TState state) => [];

    /// <summary>Reads this member and what it can see of its peers.</summary>
    public abstract IStateObserver<TState> ObserverFor(MemberInput input);

    /// <summary>What to watch between two looks.</summary>
    public abstract MemberWatch WatchFor(MemberInput input);

    /// <summary>Whether nothing of the member is left on this host; then "absent" is acknowledged.</summary>
    public abstract bool IsGone(TState state);

    /// <summary>How it is stopped in order for a person at the host; null where nothing of the kind runs.</summary>
    public virtual MemberStop? StopOf(MemberInput input, TGoal? goal, TState state) => null;

    /// <summary>How far a member is that moves between hosts.</summary>
    public virtual MemberMove MoveOf(TState state) => MemberMove.None;
}
