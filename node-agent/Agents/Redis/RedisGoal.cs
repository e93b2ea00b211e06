using System.Collections.Immutable;
using System.Globalization;

namespace AgentMetal.NodeAgent.Agents.Redis;

/// <summary>Where a member can be reached; its name in role facts is "host:port".</summary>
internal sealed record RedisPeer(int Ordinal, string Host, int Port)
{
    /// <summary>Operators have signed that its host is gone; this host verified it. No goal is another for it.</summary>
    public bool Struck { get; init; }

    public string Address => Host + ":" + Port.ToString(CultureInfo.InvariantCulture);
}

/// <summary>What is wanted of one member, rendered: the secret itself is not in it, only its keyed digest.</summary>
internal sealed record RedisGoal
{
    public required int Ordinal { get; init; }
    public required int PrimaryOrdinal { get; init; }

    /// <summary>Every member, this one included, by ordinal.</summary>
    public required ImmutableArray<RedisPeer> Members { get; init; }

    /// <summary>All managed settings as CONFIG GET shows them.</summary>
    public required ImmutableSortedDictionary<string, string> Settings { get; init; }

    public required string ConfigText { get; init; }
    public required string UnitText { get; init; }

    /// <summary>Keyed digest, or <see cref="RedisAuth.Off"/>.</summary>
    public required string AuthDigest { get; init; }

    /// <summary>MemoryMax of its unit, bytes; 0 = none.</summary>
    public long MemoryLimit { get; init; }

    /// <summary>An existing unit to manage as it is; empty = none.</summary>
    public string Adopt { get; init; } = "";

    public bool Persistent => RedisSettings.Persists(Settings);

    public bool IsPrimary => Ordinal == PrimaryOrdinal;

    public bool Alone => Members.Length == 1;

    /// <summary>
    /// A member that comes back empty must never come back as primary by itself: neither systemd's Restart= nor a boot may start it. The
    /// role can move at any moment, so this holds for every member of such a resource, and the daemon starts them with a role it has checked.
    /// </summary>
    public bool StartsItself => Persistent || Alone;

    public RedisPeer Self => Members.First(m => m.Ordinal == Ordinal);

    public RedisPeer Wanted => Members.First(m => m.Ordinal == PrimaryOrdinal);

    public IEnumerable<RedisPeer> Others => Members.Where(m => m.Ordinal != Ordinal);

    public RedisPeer? MemberAt(string address) => Members.FirstOrDefault(m => m.Address == address);
}

/// <summary>The settings that the agent manages, by their names in redis.conf.</summary>
internal static class RedisSettings
{
    /// <summary>CONFIG SET takes effect at once.</summary>
    public static readonly ImmutableArray<string> Live =
        ["appendfsync", "appendonly", "bind", "maxclients", "maxmemory", "maxmemory-policy", "protected-mode", "replica-announce-ip", "save", "timeout"];

    /// <summary>
    /// Read at start only. The port could be set live since 7.0, but the listening socket that peers and clients use would go away as in a
    /// restart, without systemd knowing.
    /// </summary>
    public static readonly ImmutableArray<string> Restart = ["databases", "port"];

    /// <summary>
    /// What is set on a server that was taken over. Who may connect and what it keeps on disk stay as its own files say: a setting that only
    /// the running server knows would be gone, and with it perhaps data, when its own unit restarts it.
    /// </summary>
    public static readonly ImmutableArray<string> Adopted = ["appendfsync", "maxclients", "maxmemory", "maxmemory-policy", "timeout"];

    public static readonly ImmutableArray<string> All = [.. Live, .. Restart];

    public static readonly ImmutableSortedDictionary<string, string> None = ImmutableSortedDictionary.Create<string, string>(StringComparer.Ordinal);

    /// <summary>Whether a server with these settings finds its data again after a restart.</summary>
    public static bool Persists(ImmutableSortedDictionary<string, string> settings) =>
        settings.GetValueOrDefault("appendonly") == "yes" || settings.GetValueOrDefault("save", "") != "";
}
