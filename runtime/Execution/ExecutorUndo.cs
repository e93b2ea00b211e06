using System.Collections.Immutable;
using AgentMetal.Runtime.Audit;
using AgentMetal.Runtime.Planning;

namespace AgentMetal.Runtime.Execution;

public sealed partial class Executor<TGoal, TState>
{
    private const int MaxUndoLooks = 60;

    /// <summary>
    /// Backwards through the failed step's group and whatever was built on it (a later step whose basis holds a fact that group changed),
    /// looking before every undo: already as before = nothing to do; as the step left it = undo; anything else = somebody moved it, and we
    /// stop and say so. An undo obeys the invariants as any step does. It asks for no turn of its own (those of the step that failed are still held):
    /// it ends a disturbance, and must not wait for a coordinator that is away.
    /// </summary>
    private IEnumerable<Effect> UndoFrom(TGoal? goal, Execution execution, Step failed, string why)
    {
        foreach (var step in ToUndo(execution.Run.Steps, failed))
        {
            var entry = execution.LastOf(step.Hash, Entry.Done, Entry.Intent);
            if (entry is null || entry.Detail == "already so" || execution.LastOf(step.Hash, Entry.Undone) is not null) continue;
            foreach (var e in UndoStep(goal, execution, step, entry)) yield return e;
            if (execution.Result is not { } stopped) continue;
            if (stopped.Ended == Ended.Away) yield break;
            execution.Result = new(Ended.UndoStopped, step, why + "; undo stopped: " + stopped.Detail);
            yield return new Tell("UndoStopped", execution.Result.Detail, warning: true);
            yield break;
        }
        execution.Result = new(Ended.Undone, failed, why);
    }

    private IEnumerable<Effect> UndoStep(TGoal? goal, Execution execution, Step step, JournalEntry entry)
    {
        var look = new Observe<TState>();
        yield return look;
        if (look.Away is { } away) { execution.Result = new(Ended.Away, step, away); yield break; }
        var writes = step.Expect.Select(f => f.Key).ToHashSet(StringComparer.Ordinal);
        ImmutableArray<Fact> before = [.. entry.Before.Where(f => writes.Contains(f.Key))];
        if (Matches(execution, look.State, before) is null) { yield return Record(execution, Entry.Undone, step, look.State, entry, "as before"); yield break; }
        // A crash inside an undo leaves neither before nor after; that one is ours to finish.
        var undoing = execution.LastOf(step.Hash, Entry.UndoIntent) is not null;
        if (entry.Entry == Entry.Done && !undoing && Matches(execution, look.State, entry.After) is { } moved)
        {
            yield return Stop("moved since: " + moved);
            yield break;
        }
        if (entry.Undo is not { Kind: UndoKind.Call, Call: { } undo })
        {
            if (entry.Undo?.Kind != UndoKind.Keep) yield return Stop("irreversible: " + entry.Undo?.Why);
            yield break;
        }
        var call = _tools[undo.Tool].Bind(undo.Args);
        if (_planner.Broken(goal, look.State, call, call.Touches(look.State), Strength.Never) is { } broken) { yield return Stop(broken); yield break; }
        if (!undoing) yield return Record(execution, Entry.UndoIntent, step, look.State, entry, undo.Tool);
        yield return new Tell("Undoing", call.Text, warning: true);
        var apply = new Apply<TState>(call, "undo:" + step.Key, execution.Outputs);
        yield return apply;
        if (apply.Refused is { } refused) { yield return Stop(refused); yield break; }
        string? differs = null;
        for (var i = 0; i < MaxUndoLooks; i++)
        {
            look = new();
            yield return look;
            if (look.Away is { } gone) { execution.Result = new(Ended.Away, step, gone); yield break; }
            differs = Matches(execution, look.State, before);
            if (differs is null) break;
            yield return new Pause(call.Timing.Poll);
        }
        if (differs is not null) { yield return Stop("undo did not restore " + differs); yield break; }
        yield return Record(execution, Entry.Undone, step, look.State, entry, undo.Tool);

        Commit Stop(string reason)
        {
            var commit = Record(execution, Entry.UndoStopped, step, look.State, entry, reason);
            execution.Result = new(Ended.UndoStopped, step, reason);
            return commit;
        }
    }

    private static List<Step> ToUndo(ImmutableArray<Step> steps, Step failed)
    {
        List<Step> undo = [];
        var changed = new HashSet<string>(StringComparer.Ordinal);
        foreach (var step in steps.TakeWhile(s => s.Index <= failed.Index))
        {
            if (step.Group != failed.Group && !step.Basis.Any(f => changed.Contains(f.Key))) continue;
            undo.Add(step);
            changed.UnionWith(step.Expect.Except(step.Basis).Select(f => f.Key));
        }
        undo.Reverse();
        return undo;
    }
}

/// <summary>One run in memory: what its journal holds, and how it ended.</summary>
public sealed class Execution
{
    private readonly List<JournalEntry> _entries = [];
    private readonly Dictionary<string, string> _outputs = new(StringComparer.Ordinal);

    /// <summary>From the run and the journal entries that exist.</summary>
    public Execution(RunRecord run, ImmutableArray<JournalEntry> entries)
    {
        Run = run;
        foreach (var e in entries) Add(e);
    }

    /// <summary>The run.</summary>
    public RunRecord Run { get; }

    /// <summary>Set when the sequence of effects ends.</summary>
    public ExecutionResult? Result { get; set; }

    /// <summary>Later tokens bound so far.</summary>
    public IReadOnlyDictionary<string, string> Outputs => _outputs;

    /// <summary>Confirmed steps, in order.</summary>
    public IEnumerable<Step> Completed => Run.Steps.Where(s => LastOf(s.Hash, Entry.Done) is { Detail: not "already so" });

    /// <summary>Mirrors what was committed.</summary>
    public void Add(JournalEntry entry)
    {
        _entries.Add(entry);
        foreach (var (token, value) in entry.Outputs) _outputs[token] = value;
    }

    internal JournalEntry? LastOf(string hash, params ReadOnlySpan<Entry> kinds)
    {
        for (var i = _entries.Count - 1; i >= 0; i--)
            if (_entries[i].StepHash == hash && kinds.Contains(_entries[i].Entry)) return _entries[i];
        return null;
    }

    internal bool IsDone(string hash) => LastOf(hash, Entry.Done) is not null;
    internal bool IsFailed(string hash) => LastOf(hash, Entry.Failed) is not null;
    internal string FailureOf(string hash) => LastOf(hash, Entry.Failed)?.Detail ?? "";
    internal JournalEntry? OpenIntent(string hash) => LastOf(hash, Entry.Intent, Entry.Done) is { Entry: Entry.Intent } e ? e : null;
}
