using System.Collections.Immutable;
using AgentMetal.Runtime.Execution;
using AgentMetal.Runtime.Planning;
using AgentMetal.Runtime.Trust;

namespace AgentMetal.NodeAgent.Pipeline;

internal sealed partial class Controller
{
    private static readonly TimeSpan StopAfter = TimeSpan.FromSeconds(30);

    private ImmutableSortedDictionary<string, MemberPause> _pauses = ImmutableSortedDictionary<string, MemberPause>.Empty.WithComparers(StringComparer.Ordinal);
    private IMemberPauses? _kept;
    private MemberPause? _struckOff;

    /// <summary>Reads the pauses that outlived the daemon; before members are assigned.</summary>
    public async Task LoadPausesAsync(IMemberPauses kept, CancellationToken stop)
    {
        var pauses = await kept.PausesAsync(stop);
        lock (_lock) (_kept, _pauses) = (kept, pauses.WithComparers(StringComparer.Ordinal));
    }

    /// <summary>From here on nothing is done to the member; a step that is under way is finished first.</summary>
    public async Task PauseAsync(string key, MemberPause pause, CancellationToken stop)
    {
        if (_kept is not null) await _kept.SetPauseAsync(key, pause, stop);
        Show(key, pause);
        Note(key, new("Paused", pause.Text, warning: true));
        Wake(key);
    }

    /// <summary>False when it was not paused.</summary>
    public async Task<bool> ResumeAsync(string key, string by, CancellationToken stop)
    {
        lock (_lock)
            if (!_pauses.ContainsKey(key)) return false;
        if (_kept is not null) await _kept.SetPauseAsync(key, null, stop);
        Show(key, null);
        Note(key, new("Resumed", $"resumed on this host by {by}: it is kept as declared again"));
        Wake(key);
        return true;
    }

    /// <summary>This host was struck off: from here on nothing is done to any member, whoever asks.</summary>
    public void HoldAll(MemberPause struckOff)
    {
        lock (_lock)
        {
            _struckOff = struckOff;
            foreach (var slot in _slots.Values) slot.View = slot.View with { Paused = _pauses.GetValueOrDefault(slot.Input.Key) ?? struckOff };
        }
        foreach (var view in Members)
        {
            Note(view.Input.Key, new("HostStruckOff", struckOff.Text, warning: true));
            Changed?.Invoke(view);
        }
        Wake(null);
    }

    /// <summary>Why nothing is done on this host any more; null = it is a host of the fleet.</summary>
    public MemberPause? StruckOff { get { lock (_lock) return _struckOff; } }

    /// <summary>How this member would be stopped; null where nothing of its kind runs.</summary>
    public async Task<MemberStop?> StopOfAsync(string key, CancellationToken stop)
    {
        MemberSlot? slot;
        lock (_lock) slot = _slots.GetValueOrDefault(key);
        return slot?.Runner is { } runner ? await runner.StopOfAsync(slot.Input, stop) : null;
    }

    /// <summary>Stops a member that is paused, beside whoever asked: a guest has minutes to shut down. False = it does not stop.</summary>
    public async Task<bool> StopAsync(string key, MemberStop how, CancellationToken stop)
    {
        Progress("is being stopped");
        string outcome;
        var stopped = false;
        try
        {
            var began = _clock.GetTimestamp();
            while (IsWorking(key) && _clock.GetElapsedTime(began) < StopAfter) await Task.Delay(TimeSpan.FromMilliseconds(100), _clock, stop);
            await how.Apply(stop);
            stopped = true;
            var now = _clock.GetUtcNow();
            outcome = "was stopped at " + ApprovalRule.When(now.ToUnixTimeMilliseconds(), now);
        }
        catch (WorldException e) { outcome = "was not stopped: " + e.Message; }
        Progress(outcome);
        Note(key, new("StoppedAtHost", $"{how.Text}: it {outcome}", warning: true));
        Wake(key);
        return stopped;

        void Progress(string what)
        {
            MemberPause? pause;
            lock (_lock) pause = _pauses.GetValueOrDefault(key);
            if (pause is not null) Show(key, pause with { Progress = what });
        }
    }

    private bool IsWorking(string key)
    {
        lock (_lock) return _slots.TryGetValue(key, out var slot) && slot.Working;
    }

    private MemberPause? PauseOf(string key)
    {
        lock (_lock) return _pauses.GetValueOrDefault(key) ?? _struckOff;
    }

    private void Show(string key, MemberPause? pause)
    {
        MemberView? view = null;
        lock (_lock)
        {
            _pauses = pause is null ? _pauses.Remove(key) : _pauses.SetItem(key, pause);
            if (_slots.TryGetValue(key, out var slot)) slot.View = view = slot.View with { Paused = pause };
        }
        if (view is not null) Changed?.Invoke(view);
    }

    /// <summary>It is looked at and told of as ever; what differs stays as it is, and nobody is asked for a signature.</summary>
    private static PassResult Held(PassResult looked, MemberPause pause) => looked.Report.Phase is ReconcilePhase.Converged or ReconcilePhase.Unseen || !looked.Errors.IsEmpty
        ? looked with { Report = looked.Report with { Again = null } }
        : looked with { Report = looked.Report with { Phase = ReconcilePhase.Paused, Blocker = pause.Text, Held = [], Again = null, BackOff = false } };
}
