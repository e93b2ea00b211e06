using System.Collections.Immutable;
using AgentMetal.Runtime.Reasoning;
using AgentMetal.Runtime.Risk;

namespace AgentMetal.Runtime.Planning;

/// <summary>Whose plan it is: the parts of a step hash that are the same for all steps of a plan.</summary>
/// <param name="NodeUid">The host that executes; "coordinator" for fleet halves.</param>
/// <param name="ResourceUid">The resource.</param>
/// <param name="Generation">Of the resource.</param>
public sealed record PlanSubject(string NodeUid, string ResourceUid, long Generation);

/// <param name="Subject">Whose plan.</param>
/// <param name="GoalHash">Hash of everything that makes up the goal; enters the plan hash.</param>
/// <param name="Protected">Calls that lose data are refused.</param>
public sealed record PlanRequest(PlanSubject Subject, string GoalHash, bool Protected = false)
{
    /// <summary>More steps end the plan as Partial.</summary>
    public int MaxSteps { get; init; } = 20_000;

    /// <summary>More rounds end the plan as Partial.</summary>
    public int MaxRounds { get; init; } = 2_000;

    /// <summary>Choice points beyond this many take the rules' choice, and the plan says so.</summary>
    public int MaxQuestions { get; init; } = 8;

    /// <summary>Every call of the teardown of a whole resource that loses data is Dangerous, whatever else is known.</summary>
    public bool Teardown { get; init; }

    /// <summary>Calls that were shown to people and can still be signed: one that says as much as what is proposed now stands in its place.</summary>
    public ImmutableArray<ShownCall> Shown { get; init; } = [];
}

/// <summary>A call that was shown to people.</summary>
/// <param name="Tool">The tool's name.</param>
/// <param name="Args">Its arguments as they were shown.</param>
/// <param name="Difference">The key of the difference that it answers.</param>
public sealed record ShownCall(string Tool, string Args, string Difference);

/// <summary>A step is text: it travels, is signed, journalled and bound again on the host that runs it.</summary>
/// <param name="Index">Order within the plan, from 0.</param>
/// <param name="Wave">Steps of one wave commute.</param>
/// <param name="Tool">The tool's name.</param>
/// <param name="ToolVersion">The tool's version; another one voids the step.</param>
/// <param name="Args">Serialised arguments.</param>
/// <param name="Difference">The key of the difference it answers.</param>
/// <param name="Group">Undo and approval scope.</param>
/// <param name="Basis">Facts in Reads and Writes before: what the approval rests on, and all the executor re-checks.</param>
/// <param name="Expect">Facts in Writes after: what confirms it, and what an undo must still find.</param>
/// <param name="Risk">Level and reasons.</param>
/// <param name="Undo">The stored inverse.</param>
/// <param name="Turns">Cross-host locks.</param>
/// <param name="Nonce">Minted by the node at preview; empty until then.</param>
/// <param name="Hash">The step hash, hex.</param>
public sealed record Step(int Index, int Wave, string Tool, int ToolVersion, string Args, string Difference, string Group, ImmutableArray<Fact> Basis,
    ImmutableArray<Fact> Expect, Assessment Risk, Undo Undo, ImmutableArray<string> Turns, string Nonce, string Hash)
{
    /// <summary>Why the tool proposed it; not hashed.</summary>
    public string Why { get; init; } = "";

    /// <summary>Why what people were shown for the same difference before does not cover it; empty = nothing was shown. Not hashed.</summary>
    public string Outgrown { get; init; } = "";

    /// <summary>The call in words; not hashed.</summary>
    public string Text { get; init; } = "";

    /// <summary>The undo in words; not hashed.</summary>
    public string UndoText { get; init; } = "";

    /// <summary>Identity within a plan: tool(args).</summary>
    public string Key => Tool + Args;
}

/// <summary>How planning ended.</summary>
public enum Outcome
{
    /// <summary>No difference; silence.</summary>
    Converged,

    /// <summary>The steps reach the goal.</summary>
    Ready,

    /// <summary>The steps reach part of it; plan again after them.</summary>
    Partial,

    /// <summary>A choice point is open; plan again with the decision.</summary>
    NeedsChoice,

    /// <summary>Nothing to do now; it clears by itself.</summary>
    Waiting,

    /// <summary>Nothing to do, and it does not clear by itself.</summary>
    Stuck,

    /// <summary>The remedies are exhausted; a person is needed.</summary>
    Escalate,
}

/// <summary>A difference that no call answers now, and why.</summary>
/// <param name="Difference">Its key.</param>
/// <param name="Group">Its undo scope.</param>
/// <param name="Reasons">Why each tool does not.</param>
/// <param name="RetryAfter">When it clears by itself.</param>
/// <param name="Exhausted">Remedies were tried and failed.</param>
public sealed record BlockedDifference(string Difference, string Group, ImmutableArray<string> Reasons, TimeSpan? RetryAfter, bool Exhausted)
{
    /// <summary>Its tools only say that they wait for something: where another difference is refused or has failed, that one is the root.</summary>
    public bool OnlyWaits { get; init; }
}

/// <summary>Ordered calls with basis, expected facts, risk and undo.</summary>
public sealed record Plan<TGoal, TState>(Outcome Outcome, TGoal? Goal, TState Start, TState Final, ImmutableArray<Step> Steps, Question? Question,
    ImmutableArray<Decision> Decisions, ImmutableArray<BlockedDifference> Blocked, string Hash)
    where TGoal : class
{
    /// <summary>The differences at the start: the drift report.</summary>
    public ImmutableArray<Difference> Differences { get; init; } = [];

    /// <summary>Choice points that were beyond MaxQuestions and took the rules' choice; audited.</summary>
    public ImmutableArray<string> BeyondQuestions { get; init; } = [];
}
