namespace AgentMetal.NodeAgent.Host;

/// <summary>
/// What a reader saw, or why it could not look. Unseen is not absent: a thing that is known not to exist is a seen
/// value that says so (<see cref="Systemd.UnitState.IsAbsent"/>, <see cref="Files.FileKind.Absent"/>).
/// </summary>
/// <typeparam name="T">The fact that was read.</typeparam>
internal readonly record struct Observed<T>
    where T : class
{
    private readonly T? _value;

    private Observed(T? value, string? whyUnseen)
    {
        _value = value;
        WhyUnseen = whyUnseen;
    }

    /// <summary>True when the world was looked at and answered.</summary>
    public bool IsSeen => _value is not null;

    /// <summary>Why the world could not be looked at, as a sentence without secrets; null when it was seen.</summary>
    public string? WhyUnseen { get; }

    /// <summary>The fact. Reading it when nothing was seen is a bug of the caller.</summary>
    public T Value => _value ?? throw new InvalidOperationException($"Nothing was seen: {WhyUnseen ?? "no observation was made"}");

    /// <summary>A fact that was read.</summary>
    public static Observed<T> Seen(T value) => new(value ?? throw new ArgumentNullException(nameof(value)), null);

    /// <summary>The world did not answer; <paramref name="why"/> says why.</summary>
    public static Observed<T> Unseen(string why) => new(null, why);

    /// <summary>The fact, or null when nothing was seen.</summary>
    public T? ValueOrNull => _value;
}
