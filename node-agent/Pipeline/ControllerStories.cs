using AgentMetal.NodeAgent.Pipeline.Stories;
using AgentMetal.Runtime.Execution;

namespace AgentMetal.NodeAgent.Pipeline;

internal sealed partial class Controller
{
    /// <summary>Tells what happens outside our steps; null = nobody does.</summary>
    public MemberStories? Stories
    {
        get;
        init
        {
            field = value;
            if (value is not null) value.Told = (input, happened) => Happen(input, new(happened.At, happened.Reason, happened.Text, happened.Warning) { Count = happened.Count });
        }
    }

    /// <summary>Tells the lines of floods whose time has come; called now and then.</summary>
    public void TellFloods()
    {
        List<(MemberInput Input, MemberEvent Event)> due = [];
        lock (_lock)
            foreach (var slot in _slots.Values)
                foreach (var line in slot.Floods.Due(_clock.GetUtcNow()))
                {
                    Show(slot, line);
                    due.Add((slot.Input, line));
                }
        foreach (var (input, line) in due) Happened?.Invoke(input, line);
    }

    /// <summary>What a member's past says of it changes as time goes by: one that stayed up is steady again.</summary>
    public void TellStories()
    {
        if (Stories is not { } stories) return;
        List<MemberView> news = [];
        lock (_lock)
            foreach (var (key, slot) in _slots)
                if (stories.View(key) is var story && story != slot.View.Story) news.Add(slot.View = slot.View with { Story = story });
        foreach (var view in news) Changed?.Invoke(view);
    }

    private async Task CompareAsync(IMemberRunner runner, MemberSlot slot, MemberInput input, PassResult result, bool resumed)
    {
        if (Stories is not { } stories) return;
        var changed = resumed || result.Report.Executed is not null;
        await stories.CompareAsync(input, slot.Watch?.MemoryAdvice ?? "", result.Watched, changed, (key, was, now) => runner.MovedWords(input, key, was, now), _stopping.Token);
        await stories.NoteAsync(input, result.Notes, _stopping.Token);
    }

    private void Tell(MemberInput input, Tell told) => Happen(input, new(_clock.GetUtcNow(), told.Reason, told.Message, told.Warning));

    private void Happen(MemberInput input, MemberEvent happened)
    {
        LogEvent(_log, input.ResourceKey, input.Ordinal, happened.Reason, happened.Message);
        lock (_lock)
        {
            if (_slots.TryGetValue(input.Key, out var slot))
            {
                if (slot.Floods.Take(happened) is null) return;
                Show(slot, happened);
            }
        }
        Happened?.Invoke(input, happened);
    }

    private static void Show(MemberSlot slot, MemberEvent happened) => slot.View = slot.View with { Events = [happened, .. slot.View.Events.Take(MemberSlot.MaxEvents - 1)] };
}
