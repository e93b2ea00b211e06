using System.Collections.Immutable;
using System.Globalization;
using AgentMetal.TestKit.Adversary;

namespace AgentMetal.LabTests.Adversary;

/// <summary>What is declared: a pair or a triple, and what it has on disk.</summary>
/// <param name="Replicas">1 or 2.</param>
/// <param name="Persistence">everysec, always, snapshots or memory.</param>
/// <param name="SmallDisk">Each member's directory is a small file system of its own, which can be filled; a power cut would take
/// it.</param>
internal sealed record RedisShape(int Replicas, string Persistence, bool SmallDisk = false)
{
    public static ImmutableArray<RedisShape> All { get; } =
        [new(1, "everysec"), new(1, "snapshots"), new(2, "everysec"), new(1, "memory"), new(1, "always"), new(2, "snapshots"),
            new(1, "everysec", SmallDisk: true), new(2, "memory")];

    public static string SpecOf(string persistence) => persistence switch
    {
        "everysec" => "{ appendonly: true, appendfsync: everysec }",
        "always" => "{ appendonly: true, appendfsync: always }",
        "snapshots" => "{ appendonly: false, save: [{ seconds: 5, changes: 100 }] }",
        "memory" => "{ appendonly: false, save: [] }",
        _ => throw new ArgumentOutOfRangeException(nameof(persistence), persistence, null),
    };
}

/// <summary>The faults of a Redis in the lab by name, as they are drawn.</summary>
internal static class RedisFaults
{
    /// <param name="shape">Whose.</param>
    /// <param name="hosts">Also those of whole hosts, which nobody else may be on.</param>
    public static IReadOnlyList<FaultKind> Of(RedisShape shape, bool hosts)
    {
        var members = shape.Replicas + 1;
        string Member(Random r) => r.Next(members).ToString(CultureInfo.InvariantCulture);
        string Host(Random r) => r.Next(3).ToString(CultureInfo.InvariantCulture);
        static string One(Random r, params string[] of) => of[r.Next(of.Length)];
        List<FaultKind> kinds =
        [
            new("replicaof", 6, r =>
                [Member(r), One(r, "member:" + Member(r), "member:" + Member(r), "empty", "foreign", "none", "nowhere")]),
            new("config", 4, r => [Member(r), One(r, "requirepass", "save", "appendonly-no", "appendonly-yes", "maxmemory", "masterauth")]),
            new("kill", 5, r => [Member(r), One(r, "KILL", "KILL", "TERM", "STOP")]),
            new("stop", 1, r => [Member(r)]),
            new("cont", 1, r => [Member(r)]),
            new("files", 4, r => [Member(r),
                One(r, "delete-dump", "delete-aof", "delete-all", "cut-aof", "overwrite-aof", "cut-dump", "old-copy")]),
            new("limit", 1, r => [Member(r)]),
            new("spec", 4, r => One(r, "primary", "replicas", "persistence", "databases", "memory") switch
            {
                "primary" => ["primary", Member(r)],
                "replicas" => ["replicas", r.Next(1, 3).ToString(CultureInfo.InvariantCulture)],
                "persistence" => ["persistence", One(r, "everysec", "always", "snapshots", "memory")],
                "databases" => ["databases", One(r, "16", "32")],
                _ => ["memory", One(r, "0", "32Mi", "64Mi")],
            }),
        ];
        if (shape.SmallDisk) kinds.AddRange([new("fill", 5, r => [Member(r)]), new("free", 3, r => [Member(r)])]);
        if (hosts)
        {
            kinds.AddRange(
            [
                new("power", 6, r => [Host(r), One(r, "off", "cycle", "cycle")]),
                new("power-all", 1, _ => ["cycle"]),
                new("cut", 3, r => [Host(r), Host(r)]),
                new("isolate", 3, r => [Host(r)]),
                new("heal-network", 2, _ => ["all"]),
                new("daemon", 5, r => [Host(r), One(r, "stop", "kill", "start")]),
                new("coordinator", 2, r => [One(r, "kill", "start")]),
            ]);
        }
        return kinds;
    }
}
