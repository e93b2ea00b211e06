using System.Collections.Immutable;
using AgentMetal.Runtime.Trust;
using AgentMetal.Runtime.Audit;
using AgentMetal.Runtime.Planning;

namespace AgentMetal.Runtime.Execution;

/// <summary>
/// What the engine asks of the world. The engine is a sequence of effects: a driver (the daemon, the simulation, a test) carries each one
/// out, sets its result and asks for the next. Dropping the sequence anywhere is a crash; the journal is what survives it.
/// </summary>
public abstract class Effect;

/// <summary>Read the world. The driver sets <see cref="State"/>, or <see cref="Away"/> when nothing at all could be read.</summary>
public sealed class Observe<TState> : Effect
{
    /// <summary>What was read.</summary>
    public TState State { get; set; } = default!;

    /// <summary>Why nothing could be read; the run stops and is resumed later.</summary>
    public string? Away { get; set; }
}

/// <summary>Take a lock shared with other hosts; a refusal is not a failure.</summary>
public sealed class TakeTurn(string key, TimeSpan hold) : Effect
{
    /// <summary>The lock's name.</summary>
    public string Key => key;

    /// <summary>For how long at most.</summary>
    public TimeSpan Hold => hold;

    /// <summary>
    /// Set when a person signed this very plan for this member: where nobody can be asked for the lock, that does not stop it. A lock that somebody else is known to hold still does.
    /// </summary>
    public bool Signed { get; init; }

    /// <summary>Set by the driver.</summary>
    public bool Granted { get; set; }

    /// <summary>Who holds it, or why it cannot be asked for; for people.</summary>
    public string Refusal { get; set; } = "";
}

/// <summary>Give every lock back that this run took.</summary>
public sealed class ReleaseTurns : Effect;

/// <summary>
/// Write durably (fsync) before going on: journal, audit and the consumption of an approval in one transaction. The driver never ignores a
/// failure here: it drops the sequence, and the run is resumed from what the journal holds.
/// </summary>
public sealed class Commit : Effect
{
    /// <summary>Opens a run: its steps are stored with it.</summary>
    public RunRecord? Open { get; init; }

    /// <summary>The run that the journal entries belong to.</summary>
    public string RunId { get; init; } = "";

    /// <summary>Appended to the journal of the run.</summary>
    public ImmutableArray<JournalEntry> Journal { get; init; } = [];

    /// <summary>Appended to the hash chain.</summary>
    public ImmutableArray<AuditEntry> Audit { get; init; } = [];

    /// <summary>Step hash of the approval that this transaction uses up.</summary>
    public string? Consume { get; init; }

    /// <summary>
    /// How many decisions of the step were judged: a denial that came meanwhile makes it one more, and then nothing is written.
    /// </summary>
    public int ConsumeOf { get; init; }

    /// <summary>
    /// The hash without nonce of the step whose approval is used up: its nonce is forgotten with it, so that the same step, asked for again after
    /// an undo, is a new question and not one whose answer is spent.
    /// </summary>
    public string? ConsumedContent { get; init; }

    /// <summary>What the step that is intended here takes away for good, in words: from here on it cannot be said that nothing was lost. Null = nothing.</summary>
    public string? Destroys { get; init; }

    /// <summary>The run that ends here.</summary>
    public string? Close { get; init; }

    /// <summary>Remedies that ended; kept as input of later planning.</summary>
    public ImmutableArray<Attempt> Attempts { get; init; } = [];

    /// <summary>Set by the driver: false when the approval was already used, is not there, or another decision has come since; nothing was written then.</summary>
    public bool Consumed { get; set; } = true;
}

/// <summary>Look up what was signed for a step hash.</summary>
public sealed class FindApproval(string stepHash) : Effect
{
    /// <summary>The step hash.</summary>
    public string StepHash => stepHash;

    /// <summary>Unconsumed approvals whose hashes contain it; set by the driver, not yet verified.</summary>
    public ImmutableArray<SignedApproval> Found { get; set; } = [];
}

/// <summary>What was shown to people before and can still be signed.</summary>
public sealed class Recall : Effect
{
    /// <summary>The latest first. Set by the driver.</summary>
    public ImmutableArray<ShownCall> Shown { get; set; } = [];
}

/// <summary>Mint or look up the nonces of steps that wait for a signature; journalled before they are shown.</summary>
public sealed class Preview(ImmutableArray<Step> steps) : Effect
{
    /// <summary>The steps, without a nonce.</summary>
    public ImmutableArray<Step> Steps => steps;

    /// <summary>Keys of steps that are asked anew although nothing moved, because a denial of them ran out: they get another nonce, so that nothing signed before is for them.</summary>
    public ImmutableHashSet<string> Anew { get; init; } = [];

    /// <summary>By key of a step: why what people had signed for it is void, as long as it waits for another signature. Set by the driver.</summary>
    public ImmutableDictionary<string, string> Void { get; set; } = ImmutableDictionary<string, string>.Empty;

    /// <summary>One nonce a step: the one already minted while the step's content is unchanged, else a new one. Set by the driver.</summary>
    public ImmutableArray<string> Nonces { get; set; } = [];

    /// <summary>Steps of the same call that were shown before with other facts: what moved. Set by the driver.</summary>
    public ImmutableArray<string> Voided { get; set; } = [];
}

/// <summary>Make a change: the only effect that touches the world.</summary>
public sealed class Apply<TState>(Proposal<TState> call, string stepKey, IReadOnlyDictionary<string, string> outputs) : Effect
{
    /// <summary>The call.</summary>
    public Proposal<TState> Call => call;

    /// <summary>Its idempotency key.</summary>
    public string StepKey => stepKey;

    /// <summary>Values bound by earlier steps.</summary>
    public IReadOnlyDictionary<string, string> Outputs => outputs;

    /// <summary>What the world said, if it refused; set by the driver.</summary>
    public string? Refused { get; set; }
}

/// <summary>Wait; the driver may end the wait early when something relevant changed.</summary>
public sealed class Pause(TimeSpan span) : Effect
{
    /// <summary>For how long at most.</summary>
    public TimeSpan Span => span;

    /// <summary>What is waited for, for people, while a step is under way: "fetching image debian 42% (120 of 286 MiB)"; empty = no step.</summary>
    public string Underway { get; init; } = "";
}

/// <summary>Tell people: an event.</summary>
public sealed class Tell(string reason, string message, bool warning = false) : Effect
{
    /// <summary>CamelCase code.</summary>
    public string Reason => reason;

    /// <summary>For people; never holds a secret.</summary>
    public string Message => message;

    /// <summary>Whether somebody should look.</summary>
    public bool Warning => warning;
}

/// <summary>Reads the world for one resource; readers only.</summary>
public interface IStateObserver<TState>
{
    /// <summary>What is there. A part that cannot be read is unseen in the state, never absent.</summary>
    /// <exception cref="WorldException">Nothing at all could be read.</exception>
    ValueTask<TState> ObserveAsync(CancellationToken stop);
}
