using AgentMetal.Runtime.Execution;
using AgentMetal.Runtime.Planning;

namespace AgentMetal.Simulation;

/// <summary>The driver of the engine's effects: each takes its time, and the daemon may die before and after each.</summary>
internal sealed partial class Node
{
    private sealed record Change(Apply<MemberState> Effect, string RunId, string StepHash);

    private readonly Dictionary<(string, string), int> _completed = [];
    private readonly Dictionary<string, long> _turns = new(StringComparer.Ordinal);
    private Change? _change;
    private RunRecord? _running;
    private string? _intent;
    private long _asked;

    /// <summary>Goes on to the next effect.</summary>
    private void Go()
    {
        if (!_pass!.MoveNext()) { LoseTurns(); End(); return; }
        var (effect, life) = (_pass.Current, _life);
        switch (effect)
        {
            case Tell tell:
                fleet.Trace.Say(name, tell.Reason + " " + tell.Message);
                Soon(TimeSpan.Zero, life, static () => { });
                break;
            case TakeTurn turn: Ask(turn, life); break;
            case ReleaseTurns:
                foreach (var (key, token) in _turns) fleet.Send(name, "release", () => fleet.Coordinator.Release(name, key, token));
                _turns.Clear();
                Soon(TimeSpan.Zero, life, static () => { });
                break;
            case Pause pause: Soon(pause.Span, life, static () => { }); break;
            case Apply<MemberState> apply: Soon(fleet.Dice.Ms(0, 5), life, () => Begin(apply), goOn: false); break;
            case Commit: Soon(fleet.Dice.Ms(1, fleet.Dice.Chance(20) ? 400 : 10), life, () => CarryOut(effect)); break;
            default: Soon(fleet.Dice.Ms(1, 10), life, () => CarryOut(effect)); break;
        }
    }

    private void Soon(TimeSpan span, int life, Action carryOut, bool goOn = true) => fleet.Time.After(span, () =>
    {
        if (life != _life || !Alive) return;
        if (fleet.BadDay && fleet.Dice.Below(1000) < 8) { Die(); return; }
        carryOut();
        if (fleet.BadDay && fleet.Dice.Below(1000) < 8) { Die(); return; }
        if (goOn && life == _life) Go();
    });

    private void CarryOut(Effect effect)
    {
        switch (effect)
        {
            case Observe<MemberState> look: look.State = fleet.View(name); break;
            case Recall recall: Memory.Recall(recall); break;
            case Preview preview: Memory.Show(Subject, preview); break;
            case FindApproval find: Memory.Find(find); break;
            case Commit commit: Write(commit); break;
            default: throw new InvalidOperationException("unknown effect " + effect.GetType().Name);
        }
    }

    private void Write(Commit commit)
    {
        commit.Consumed = Memory.Write(AttemptsKey, commit);
        if (!commit.Consumed) return;
        if (commit.Open is { } run) _running = run;
        foreach (var entry in commit.Journal)
        {
            if (entry.Entry == Entry.Intent) _intent = entry.StepHash;
            fleet.Trace.Say(name, $"journals {entry.Entry} {entry.StepHash} {entry.Detail}");
        }
    }

    private void Begin(Apply<MemberState> apply)
    {
        var change = new Change(apply, _running!.RunId, _intent!);
        var step = _running.Steps.First(s => s.Hash == _intent);
        fleet.Trace.Say(name, "begins " + apply.StepKey);
        var undo = apply.StepKey.StartsWith("undo:", StringComparison.Ordinal);
        if (!undo && step.Risk.Level >= Runtime.Risk.RiskLevel.Dangerous && !(fleet.Signed.Contains(step.Hash) && Memory.Consumed.Contains(step.Hash)))
            throw new ViolationException($"{name}: {apply.StepKey} is Dangerous and nobody signed it");
        if (fleet.BadDay && fleet.Dice.Chance(4))
        {
            fleet.Counts.Refusals++;
            apply.Refused = "the world refuses";
            Go();
            return;
        }
        _change = change;
        fleet.Servers[name] = apply.Call.During(fleet.View(name)).Own;
        var life = _life;
        fleet.Time.After(fleet.Dice.Ms(20, 1500), () =>
        {
            if (life != _life || !Alive) return;
            Complete(change);
            _change = null;
            Soon(TimeSpan.Zero, life, static () => { });
        });
    }

    private void Complete(Change change)
    {
        var call = change.Effect.Call;
        fleet.Servers[name] = call.Predict(fleet.View(name)).Own;
        fleet.Trace.Say(name, $"completes {change.Effect.StepKey}: {fleet.Servers[name]}");
        fleet.Counts.Applied++;
        if (call.Tool == "promote") fleet.Counts.Promotions++;
        if (call.Tool == "wipe") fleet.Counts.Wipes++;
        var (mark, undo) = ((change.RunId, change.StepHash), change.Effect.StepKey.StartsWith("undo:", StringComparison.Ordinal));
        if (undo) { _completed.Remove(mark); return; }
        // What somebody else undid meanwhile is done again by right; everything else happens once.
        _completed[mark] = _completed.GetValueOrDefault(mark) + 1;
        if (_completed[mark] > 1) throw new ViolationException($"{name}: {change.Effect.StepKey} was completed twice in run {change.RunId}");
    }

    private void Ask(TakeTurn turn, int life)
    {
        var ask = ++_asked;
        var open = true;
        fleet.Send(name, "ask", () => fleet.Coordinator.Turn(name, turn.Key, turn.Hold, (token, refusal) => Answer(token, refusal)));
        fleet.Time.After(TimeSpan.FromSeconds(3), () => Answer(0, "the coordinator does not answer"));

        void Answer(long token, string refusal)
        {
            if (!open || life != _life || !Alive || ask != _asked) return;
            open = false;
            (turn.Granted, turn.Refusal) = (refusal.Length == 0, refusal);
            if (turn.Granted) _turns[turn.Key] = token;
            else fleet.Counts.TurnsRefused++;
            fleet.Trace.Say(name, $"turn {turn.Key}: {(turn.Granted ? "granted" : refusal)}");
            Soon(TimeSpan.Zero, life, static () => { });
        }
    }

    private void LoseTurns() => _turns.Clear();

    internal bool Changing => _change is not null;
}
