using System.Collections.Immutable;
using System.Text.Json.Serialization;

namespace AgentMetal.NodeAgent.Pipeline.Stories;

/// <summary>A unit as it was when it was looked at last; kept on disk, so that what happened while the daemon was away is told too, and nothing twice.</summary>
internal sealed record UnitMark
{
    public required string Boot { get; init; }
    public required string Invocation { get; init; }
    public required string Active { get; init; }
    public required string Result { get; init; }
    public required string Load { get; init; }
    public required string File { get; init; }

    /// <summary>How often systemd has started it again. Not required: zero is not written.</summary>
    public uint Restarts { get; init; }
    public ImmutableArray<string> DropIns { get; init; } = [];

    /// <summary>When the last main process of which was told ended, Unix microseconds as systemd has them; 0 = none.</summary>
    public long LastEndUs { get; init; }

    /// <summary>Kills for memory, of its group and of the whole host.</summary>
    public long GroupKills { get; init; }
    public long? HostKills { get; init; }

    /// <summary>It is being stopped for longer than a stop takes, and that was told.</summary>
    public bool Stopping { get; init; }

    /// <summary>When this was seen, Unix milliseconds.</summary>
    public long AtMs { get; init; }

    [JsonIgnore] public bool Ran => Active is "active" or "reloading" or "deactivating";
}

/// <summary>Why a unit's process ended.</summary>
internal enum EndCause
{
    /// <summary>The kernel needed memory, or the unit's limit was reached.</summary>
    KilledByKernel,

    /// <summary>A stop took longer than the unit allows, and systemd used SIGKILL.</summary>
    StopTimedOut,

    /// <summary>A signal, or an exit status that is a failure.</summary>
    Died,

    /// <summary>In order: somebody asked systemd to stop it.</summary>
    Stopped,

    /// <summary>It ended while nobody looked.</summary>
    Unknown,
}

/// <summary>Something that happened to a unit, or to a setting, and that was none of our steps.</summary>
/// <param name="At">When.</param>
/// <param name="Reason">CamelCase code of the event.</param>
/// <param name="Text">For people.</param>
/// <param name="Cause">Of an end; null where nothing ended.</param>
/// <param name="Count">How often.</param>
internal sealed record Happening(DateTimeOffset At, string Reason, string Text, EndCause? Cause = null, int Count = 1)
{
    public bool Warning { get; init; } = true;
}

/// <summary>One end that is remembered.</summary>
internal sealed record EndNote(long AtMs, string Cause, string Text, int Count = 1);

/// <summary>All that is kept of one member's past.</summary>
internal sealed record StoryRecord
{
    public const int MostEnds = 32;

    public ImmutableSortedDictionary<string, UnitMark> Units { get; init; } = ImmutableSortedDictionary.Create<string, UnitMark>(StringComparer.Ordinal);

    /// <summary>Settings and roles as they were seen last; null = we have changed something since.</summary>
    public ImmutableSortedDictionary<string, string>? Watched { get; init; }

    /// <summary>What its log told last of a start.</summary>
    public string Said { get; init; } = "";

    /// <summary>The last decision outside a pass that was told; null = none was.</summary>
    public string? Noted { get; init; }

    /// <summary>Oldest first.</summary>
    public ImmutableArray<EndNote> Ends { get; init; } = [];

    public static readonly StoryRecord None = new();
}

[JsonSourceGenerationOptions(DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingDefault)]
[JsonSerializable(typeof(StoryRecord))]
internal sealed partial class StoryJson : JsonSerializerContext;
