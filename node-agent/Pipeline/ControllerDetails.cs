using System.Collections.Immutable;
using AgentMetal.Runtime.Execution;

namespace AgentMetal.NodeAgent.Pipeline;

internal sealed partial class Controller
{
    /// <summary>How often what a step is doing is told, at most; a member.</summary>
    private static readonly TimeSpan UnderwayEvery = TimeSpan.FromSeconds(1);

    /// <summary>Called outside the lock when only details of a member changed: nothing is planned for it.</summary>
    public Action<MemberView>? DetailsChanged { get; set; }

    /// <summary>Numbers of a member as they were just read; nobody is told before <see cref="TellDetails"/>.</summary>
    public void SetNumbers(string key, ImmutableSortedDictionary<string, string> numbers)
    {
        lock (_lock)
        {
            if (_slots.TryGetValue(key, out var slot)) slot.View = slot.View with { Numbers = numbers };
        }
    }

    /// <summary>Tells of each member whose details a person would call changed since they were told last.</summary>
    public void TellDetails()
    {
        List<MemberView> news = [];
        lock (_lock)
            foreach (var slot in _slots.Values)
            {
                if (!MemberDetails.Differ(slot.Told, slot.View.Details)) continue;
                slot.Told = slot.View.Details;
                news.Add(slot.View);
            }
        foreach (var view in news) DetailsChanged?.Invoke(view);
    }

    /// <summary>What the step that runs is doing: seen at once by who looks, and told now and then.</summary>
    private void Underway(string key, string doing)
    {
        MemberView view;
        lock (_lock)
        {
            if (!_slots.TryGetValue(key, out var slot) || slot.View.Underway == doing) return;
            // What was as declared before this step began no longer is: a step may take minutes.
            slot.View = view = slot.View with { Underway = doing, Phase = slot.View.IsConverged ? nameof(ReconcilePhase.Converging) : slot.View.Phase, Since = slot.View.IsConverged ? _clock.GetUtcNow() : slot.View.Since };
            if (slot.ToldUnderway != 0 && _clock.GetElapsedTime(slot.ToldUnderway) < UnderwayEvery) return;
            (slot.ToldUnderway, slot.Told) = (_clock.GetTimestamp(), view.Details);
        }
        DetailsChanged?.Invoke(view);
    }
}
