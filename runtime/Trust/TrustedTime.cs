namespace AgentMetal.Runtime.Trust;

/// <summary>
/// The time that certificates and approvals are judged by. A wall clock that fell back (dead battery, no network at boot) must not bring expired
/// approvals back to life, so time never goes below what was persisted last, nor below the date of the build.
/// </summary>
public static class TrustedTime
{
    /// <summary>No build of this code is older than this. Raised with each release.</summary>
    public static readonly DateTimeOffset BuildFloor = new(2026, 11, 1, 0, 0, 0, TimeSpan.Zero);

    /// <param name="wall">The system clock.</param>
    /// <param name="lastPersisted">The last trusted time that was written to disk; null when there was none.</param>
    public static DateTimeOffset Now(DateTimeOffset wall, DateTimeOffset? lastPersisted) => Now(wall, lastPersisted, BuildFloor);

    public static DateTimeOffset Now(DateTimeOffset wall, DateTimeOffset? lastPersisted, DateTimeOffset build)
    {
        var time = wall > build ? wall : build;
        return lastPersisted > time ? lastPersisted.Value : time;
    }
}
