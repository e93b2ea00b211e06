using AgentMetal.Runtime.Execution;
using AgentMetal.Runtime.Planning;

namespace AgentMetal.NodeAgent.Pipeline;

/// <summary>Durable answers to the engine's effects for one assignment; every call is one transaction.</summary>
internal interface IPassStore
{
    /// <summary>Journal, audit, attempts and the consumption of an approval together, fsync'ed. False = the approval is not there or used.</summary>
    /// <exception cref="IOException">Nothing was written.</exception>
    ValueTask<bool> CommitAsync(Commit commit, CancellationToken stop);

    /// <summary>Approvals that name the step and are not used yet.</summary>
    ValueTask FindApprovalAsync(FindApproval find, CancellationToken stop);

    /// <summary>What was shown to people before and can still be signed.</summary>
    ValueTask RecallAsync(Recall recall, CancellationToken stop);

    /// <summary>Nonces of steps that wait for a signature; minted ones are journalled before they are returned.</summary>
    ValueTask PreviewAsync(Preview preview, CancellationToken stop);
}

/// <summary>Locks shared with other hosts, granted by the coordinator.</summary>
internal interface ITurns
{
    /// <summary>Null = granted; else who has it or why it cannot be asked for.</summary>
    /// <param name="signed">A person signed this plan for this member: where nobody can be asked, it goes without.</param>
    ValueTask<string?> TakeAsync(string key, TimeSpan hold, bool signed, CancellationToken stop);

    void Release(string key);
}

/// <summary>Carries out the engine's effects one after another. Dropping it anywhere is a crash the journal knows.</summary>
internal sealed class EffectDriver<TState>(IPassStore store, IStateObserver<TState> observer, ITurns turns, Action<Tell> tell,
    Func<TimeSpan, CancellationToken, Task> pause)
{
    private readonly List<string> _held = [];

    /// <summary>Set by tests to end the process at a journal boundary; called before and after each commit.</summary>
    public Func<string, Commit, ValueTask>? Boundary { get; init; }

    /// <summary>Told what a step is doing, each time that it is looked at; for people only.</summary>
    public Action<string>? Underway { get; init; }

    /// <summary>Told of a run that begins, once it is on the disk.</summary>
    public Action<RunRecord>? Began { get; init; }

    /// <summary>Whether a person at the host has paused the member.</summary>
    public Func<bool>? IsPaused { get; init; }

    public async Task RunAsync(IEnumerable<Effect> effects, CancellationToken stop)
    {
        try
        {
            foreach (var effect in effects)
            {
                // Between effects is the only place where a stop is obeyed; the journal holds what is under way.
                stop.ThrowIfCancellationRequested();
                await CarryOutAsync(effect, stop);
            }
        }
        finally { ReleaseAll(); }
    }

    private async Task CarryOutAsync(Effect effect, CancellationToken stop)
    {
        switch (effect)
        {
            case Observe<TState> observe:
                try { observe.State = await observer.ObserveAsync(stop); }
                catch (WorldException e) { observe.Away = e.Message; }
                break;
            // The next step does not begin; one that has begun is confirmed, or undone, and what is open in the journal goes on when it is resumed.
            case Commit commit when (commit.Open is not null || commit.Journal.Any(j => j.Entry == Entry.Intent)) && IsPaused?.Invoke() == true: throw new PausedException();
            case Commit commit:
                if (Boundary is not null) await Boundary("before", commit);
                commit.Consumed = await store.CommitAsync(commit, stop);
                if (Boundary is not null) await Boundary("after", commit);
                if (commit.Open is { } run) Began?.Invoke(run);
                break;
            case FindApproval find: await store.FindApprovalAsync(find, stop); break;
            case Recall recall: await store.RecallAsync(recall, stop); break;
            case Preview preview: await store.PreviewAsync(preview, stop); break;
            case TakeTurn turn:
                turn.Refusal = await turns.TakeAsync(turn.Key, turn.Hold, turn.Signed, stop) ?? "";
                turn.Granted = turn.Refusal.Length == 0;
                if (turn.Granted) _held.Add(turn.Key);
                break;
            case ReleaseTurns: ReleaseAll(); break;
            case Apply<TState> apply:
                Underway?.Invoke(apply.Call.Text);
                try { await apply.Call.ApplyAsync(new ToolContext(apply.StepKey, apply.Outputs, stop)); }
                catch (WorldException e) { apply.Refused = e.Message; }
                break;
            case Pause wait:
                if (wait.Underway.Length > 0) Underway?.Invoke(wait.Underway);
                await pause(wait.Span, stop);
                break;
            case Tell told: tell(told); break;
            default: throw new InvalidOperationException($"unknown effect {effect.GetType().Name}");
        }
    }

    private void ReleaseAll()
    {
        foreach (var key in _held) turns.Release(key);
        _held.Clear();
    }
}
