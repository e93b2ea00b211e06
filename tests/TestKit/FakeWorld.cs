using AgentMetal.Runtime.Planning;

namespace AgentMetal.TestKit;

/// <summary>What goes wrong with one effect.</summary>
public enum Fault
{
    /// <summary>Nothing.</summary>
    None,

    /// <summary>The world says no; nothing has changed.</summary>
    Refuse,

    /// <summary>The world breaks half way and says so.</summary>
    BreakHalfway,

    /// <summary>The process dies while the change is half made.</summary>
    DieHalfway,

    /// <summary>The process dies when the change is made and before it hears so.</summary>
    DieAfter,
}

/// <summary>The process ended here: whoever drives the effects lets go of everything that is not durable.</summary>
public sealed class DiedException() : Exception("the process died");

/// <summary>A world in memory that refuses, breaks half way, is slow or away, drifts, and counts what was done to it.</summary>
/// <param name="state">The state at the start.</param>
public sealed class FakeWorld<TState>(TState state)
{
    private (Func<TState, TState> After, string Key, int Looks)? _pending;

    /// <summary>What is really there.</summary>
    public TState State { get; set; } = state;

    /// <summary>Changes that were begun, those that failed included.</summary>
    public int Begun { get; private set; }

    /// <summary>The fault of the n-th change (from 1) with this step key.</summary>
    public Func<int, string, Fault> FaultAt { get; set; } = static (_, _) => Fault.None;

    /// <summary>Called after the n-th change: what somebody else does meanwhile.</summary>
    public Action<int>? Drift { get; set; }

    /// <summary>A change shows its worst state for this many looks before it is complete.</summary>
    public int SlowLooks { get; set; }

    /// <summary>Why nothing can be read now; null when it can.</summary>
    public string? Away { get; set; }

    /// <summary>How often each step's change was completed.</summary>
    public Dictionary<string, int> Completed { get; } = new(StringComparer.Ordinal);

    /// <summary>Makes one change, as a tool's Apply does.</summary>
    public ValueTask Make(ToolContext context, Func<TState, TState> during, Func<TState, TState> after)
    {
        ArgumentNullException.ThrowIfNull(context);
        var n = ++Begun;
        var fault = FaultAt(n, context.StepKey);
        if (fault == Fault.Refuse) throw new WorldException("refused");
        if (fault is Fault.BreakHalfway or Fault.DieHalfway || SlowLooks > 0) State = during(State);
        if (fault == Fault.BreakHalfway) throw new WorldException("broke");
        if (fault == Fault.DieHalfway) throw new DiedException();
        if (SlowLooks > 0) _pending = (after, context.StepKey, SlowLooks);
        else Complete(after, context.StepKey);
        if (fault == Fault.DieAfter) throw new DiedException();
        Drift?.Invoke(n);
        return ValueTask.CompletedTask;
    }

    /// <summary>What an observer sees.</summary>
    public TState Look()
    {
        if (_pending is not { } p) return State;
        _pending = p.Looks > 1 ? p with { Looks = p.Looks - 1 } : null;
        if (_pending is null) Complete(p.After, p.Key);
        return State;
    }

    private void Complete(Func<TState, TState> after, string key)
    {
        State = after(State);
        Completed[key] = Completed.GetValueOrDefault(key) + 1;
    }
}
