using AgentMetal.Runtime.Execution;
using AgentMetal.Runtime.Planning;
using Microsoft.Extensions.Time.Testing;

namespace AgentMetal.TestKit;

/// <summary>Carries out the engine's effects against a fake world and a host's memory, and dies where it is told to.</summary>
public sealed class EffectPort<TState>(FakeWorld<TState> world, HostMemory memory, FakeTimeProvider clock, PlanSubject subject, string key)
{
    private int _count;

    /// <summary>Effects so far, in order.</summary>
    public List<Effect> Trace { get; } = [];

    /// <summary>Null = granted; else why not.</summary>
    public Func<string, string?> Turns { get; set; } = static _ => null;

    /// <summary>The effect (from 1, counted over all runs) at which the process dies; 0 = never.</summary>
    public int DieAt { get; set; }

    /// <summary>Whether that effect was still carried out.</summary>
    public bool DieAfterwards { get; set; }

    /// <summary>Called before each effect: what changes meanwhile.</summary>
    public Action<Effect>? Before { get; set; }

    /// <summary>Carries out all of them.</summary>
    /// <exception cref="DiedException">The process died.</exception>
    public void Run(IEnumerable<Effect> effects)
    {
        ArgumentNullException.ThrowIfNull(effects);
        foreach (var effect in effects)
        {
            var dies = ++_count == DieAt;
            if (dies && !DieAfterwards) throw new DiedException();
            Before?.Invoke(effect);
            Trace.Add(effect);
            CarryOut(effect);
            if (dies) throw new DiedException();
        }
    }

    private void CarryOut(Effect effect)
    {
        switch (effect)
        {
            case Observe<TState> look when world.Away is { } away: look.Away = away; break;
            case Observe<TState> look: look.State = world.Look(); break;
            case Commit commit: commit.Consumed = memory.Write(key, commit); break;
            case FindApproval find: memory.Find(find); break;
            case Recall recall: memory.Recall(recall); break;
            case Preview preview: memory.Show(subject, preview); break;
            case TakeTurn turn: (turn.Refusal, turn.Granted) = Turns(turn.Key) is { } no ? (no, false) : ("", true); break;
            case Apply<TState> apply: Apply(apply); break;
            case Pause pause: clock.Advance(pause.Span); break;
            case ReleaseTurns or Tell: break;
            default: throw new InvalidOperationException("unknown effect " + effect.GetType().Name);
        }
    }

    private static void Apply(Apply<TState> apply)
    {
        try
        {
            var made = apply.Call.ApplyAsync(new ToolContext(apply.StepKey, apply.Outputs, CancellationToken.None));
            if (!made.IsCompleted) throw new InvalidOperationException("a toy's change completes before it returns");
            made.GetAwaiter().GetResult();
        }
        catch (WorldException e) { apply.Refused = e.Message; }
    }
}
