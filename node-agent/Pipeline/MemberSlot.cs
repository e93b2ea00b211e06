using System.Collections.Immutable;
using AgentMetal.NodeAgent.Pipeline.Stories;
using AgentMetal.Runtime.Execution;
using AgentMetal.Runtime.Planning;

namespace AgentMetal.NodeAgent.Pipeline;

/// <summary>Something that happened to a member, for people.</summary>
internal sealed record MemberEvent(DateTimeOffset At, string Reason, string Message, bool Warning)
{
    /// <summary>How often; more than once where a flood is told in one line.</summary>
    public int Count { get; init; } = 1;
}

/// <summary>A run under way that persons signed for.</summary>
/// <param name="Since">When it began, or when its first signed step did.</param>
/// <param name="Text">For people: what was signed.</param>
/// <param name="StepHashes">Of the steps that were signed.</param>
internal sealed record SignedRun(DateTimeOffset Since, string Text, ImmutableArray<string> StepHashes)
{
    /// <summary>Null when nothing of the run had to be signed.</summary>
    public static SignedRun? Of(RunRecord run)
    {
        ImmutableArray<Step> signed = [.. run.Steps.Where(s => s.Risk.Level == Runtime.Risk.RiskLevel.Dangerous)];
        return signed.IsEmpty ? null : new(run.Started, string.Join("; ", signed.Select(s => s.Text)), [.. signed.Select(s => s.Hash)]);
    }
}

/// <summary>What is known of a member after its last pass; immutable, replaced as a whole.</summary>
internal sealed record MemberView
{
    public required MemberInput Input { get; init; }
    public required string Phase { get; init; }
    public string Summary { get; init; } = "";
    public string Blocker { get; init; } = "";
    public DateTimeOffset Since { get; init; }
    public DateTimeOffset? RetryAt { get; init; }
    public ImmutableArray<Difference> Differences { get; init; } = [];

    /// <summary>What somebody changed by hand, which is left alone.</summary>
    public ImmutableArray<Difference> Drift { get; init; } = [];

    public ImmutableArray<Step> Held { get; init; } = [];

    /// <summary>A person at the host has paused it; null = nobody has.</summary>
    public MemberPause? Paused { get; init; }

    /// <summary>Of a member whose deletion waits for a signature: how it stands as what it was declared to be, which it is kept as meanwhile. Null = it is not.</summary>
    public ReconcileReport? Kept { get; init; }

    /// <summary>Of a member that goes: what was begun to be taken away for good; empty = nothing.</summary>
    public string Destroyed { get; init; } = "";

    /// <summary>The signed run that is under way; null = none.</summary>
    public SignedRun? Running { get; init; }
    public ReconcileReport? Report { get; init; }
    public bool Gone { get; init; }
    public MemberMove Move { get; init; } = MemberMove.None;
    public ImmutableArray<SpecError> Errors { get; init; } = [];

    /// <summary>For people: what the last pass read, what the last look at its numbers read over it, and what a step that runs is doing.</summary>
    public ImmutableSortedDictionary<string, string> Seen { get; init; } = MemberDetails.None;
    public ImmutableSortedDictionary<string, string> Numbers { get; init; } = MemberDetails.None;
    public string Underway { get; init; } = "";

    /// <summary>Whether people can use it now; null = it cannot be told.</summary>
    public MemberServing? Serving { get; init; }

    /// <summary>What its past says of it.</summary>
    public StoryView Story { get; init; } = StoryView.None;

    /// <summary>All of that.</summary>
    public ImmutableSortedDictionary<string, string> Details
    {
        get
        {
            var all = Seen.SetItems(Numbers);
            if (Underway.Length > 0) all = all.SetItem(MemberDetails.Progress, Underway);
            return Story.LastEnded is { } ended ? all.SetItem(MemberDetails.LastEnded, ended) : all;
        }
    }

    /// <summary>The newest first, at most 20.</summary>
    public ImmutableArray<MemberEvent> Events { get; init; } = [];

    public bool IsConverged => Phase == nameof(ReconcilePhase.Converged);

    /// <summary>The same for people; times of retry do not count, so that a waiting member is not reported again and again.</summary>
    public bool SaysTheSameAs(MemberView other) =>
        Phase == other.Phase && Underway == other.Underway && Summary == other.Summary && Blocker == other.Blocker && Gone == other.Gone && Running?.Since == other.Running?.Since && Kept?.Phase == other.Kept?.Phase && Kept?.Summary == other.Kept?.Summary && Kept?.Blocker == other.Kept?.Blocker && Destroyed == other.Destroyed && Paused == other.Paused && Report?.Standing == other.Report?.Standing && Move == other.Move && Story == other.Story && Serving == other.Serving && Input.Generation == other.Input.Generation
        && Differences.SequenceEqual(other.Differences) && Drift.SequenceEqual(other.Drift) && Held.Select(s => s.Hash).SequenceEqual(other.Held.Select(s => s.Hash));
}

/// <summary>A member's place in the controller; touched under the controller's lock.</summary>
internal sealed class MemberSlot(MemberInput input, IMemberRunner? runner, DateTimeOffset now)
{
    public const int MaxEvents = 20;

    public MemberInput Input { get; set; } = input;
    public IMemberRunner? Runner { get; } = runner;
    public MemberView View { get; set; } = new() { Input = input, Phase = nameof(ReconcilePhase.Converging), Summary = "not looked at yet", Since = now };
    public MemberWatch? Watch { get; set; }
    public string? Fingerprint { get; set; }

    /// <summary>What a probe found that differs from the fingerprint, and the clock's timestamp of it; the pass that it causes begins from there.</summary>
    public (string? Fingerprint, long At) JustSeen { get; set; }

    /// <summary>When what a step is doing was told last, as the clock's timestamp, and the details that were.</summary>
    public long ToldUnderway { get; set; }
    public ImmutableSortedDictionary<string, string> Told { get; set; } = MemberDetails.None;

    /// <summary>Holds back what comes again and again.</summary>
    public EventMerge Floods { get; } = new();

    public bool Working { get; set; }
    public int Immediate { get; set; }

    /// <summary>Completed and replaced when something about this member changed; ends a step's wait early.</summary>
    public TaskCompletionSource Woken { get; set; } = new(TaskCreationOptions.RunContinuationsAsynchronously);
}
