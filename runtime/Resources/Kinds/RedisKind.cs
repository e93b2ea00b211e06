using System.Collections.Immutable;
using System.Text.Json;

namespace AgentMetal.Runtime.Resources.Kinds;

/// <summary>What a person wants of a Redis, typed. Made only from a spec that its schema has accepted.</summary>
public sealed record RedisSpec
{
    /// <summary>Replicas beside the primary, 0..8.</summary>
    public required int Replicas { get; init; }

    /// <summary>The ordinal that should be primary.</summary>
    public required int Primary { get; init; }

    /// <summary>TCP port, 1024..65535.</summary>
    public required int Port { get; init; }

    /// <summary>Bytes; 0 = no limit.</summary>
    public required long MaxMemory { get; init; }

    /// <summary>Redis's own word.</summary>
    public required string MaxMemoryPolicy { get; init; }

    /// <summary>Append-only file on.</summary>
    public required bool AppendOnly { get; init; }

    /// <summary>always, everysec or no.</summary>
    public required string AppendFsync { get; init; }

    /// <summary>Snapshot after so many seconds and changes; empty = no snapshots.</summary>
    public required ImmutableArray<(int Seconds, int Changes)> Save { get; init; }

    /// <summary>Number of databases; needs a restart.</summary>
    public required int Databases { get; init; }

    /// <summary>Idle clients are closed after so many seconds; 0 = never.</summary>
    public required int Timeout { get; init; }

    /// <summary>Simultaneous clients.</summary>
    public required int MaxClients { get; init; }

    /// <summary>Clients and replicas need the generated password.</summary>
    public required bool Auth { get; init; }

    /// <summary>Labels a host must have.</summary>
    public required ImmutableSortedDictionary<string, string> PlacementLabels { get; init; }

    /// <summary>"host": at most one member a host; "none": anywhere the port is free, which beside another member of the same resource it never is.</summary>
    public required string Spread { get; init; }

    /// <summary>MemoryMax of the unit in bytes; 0 = no limit.</summary>
    public required long MemoryLimit { get; init; }

    /// <summary>A running unit to take over; empty = none.</summary>
    public required string AdoptUnit { get; init; }

    /// <summary>Whether its data survives a restart of the server.</summary>
    public bool Persistent => AppendOnly || !Save.IsEmpty;

    /// <summary>Redis's own notation: "3600 1 300 100"; empty text = none.</summary>
    public string SaveText => string.Join(' ', Save.Select(s => $"{s.Seconds} {s.Changes}"));

    /// <summary>Reads a spec that <see cref="RedisKind.Schema"/> accepted.</summary>
    /// <exception cref="JsonException">It did not.</exception>
    public static RedisSpec Parse(ReadOnlyMemory<byte> canonical)
    {
        try
        {
            using var document = JsonDocument.Parse(canonical);
            var s = document.RootElement;
            var (persistence, memory, placement) = (s.GetProperty("persistence"), s.GetProperty("memory"), s.GetProperty("placement"));
            return new()
            {
                Replicas = s.GetProperty("replicas").GetInt32(),
                Primary = s.GetProperty("primary").GetInt32(),
                Port = s.GetProperty("port").GetInt32(),
                MaxMemory = Quantity.Parse(memory.GetProperty("max").GetString()!)!.Value,
                MaxMemoryPolicy = memory.GetProperty("policy").GetString()!,
                AppendOnly = persistence.GetProperty("appendonly").GetBoolean(),
                AppendFsync = persistence.GetProperty("appendfsync").GetString()!,
                Save = [.. persistence.GetProperty("save").EnumerateArray().Select(e => (e.GetProperty("seconds").GetInt32(), e.GetProperty("changes").GetInt32()))],
                Databases = s.GetProperty("databases").GetInt32(),
                Timeout = s.GetProperty("timeout").GetInt32(),
                MaxClients = s.GetProperty("maxclients").GetInt32(),
                Auth = s.GetProperty("auth").GetProperty("enabled").GetBoolean(),
                PlacementLabels = placement.GetProperty("labels").EnumerateObject().ToImmutableSortedDictionary(p => p.Name, p => p.Value.GetString()!, StringComparer.Ordinal),
                Spread = placement.GetProperty("spread").GetString()!,
                MemoryLimit = Quantity.Parse(s.GetProperty("limits").GetProperty("memory").GetString()!)!.Value,
                AdoptUnit = s.GetProperty("adopt").GetProperty("unit").GetString()!,
            };
        }
        catch (Exception e) when (e is KeyNotFoundException or InvalidOperationException or FormatException)
        {
            throw new JsonException("not a spec that the schema of Redis accepted: " + e.Message, e);
        }
    }
}

/// <summary>The kind Redis.</summary>
public static class RedisKind
{
    /// <summary>Its name.</summary>
    public const string Name = "Redis";

    private static readonly ImmutableArray<string> Policies =
        ["noeviction", "allkeys-lru", "allkeys-lfu", "allkeys-random", "volatile-lru", "volatile-lfu", "volatile-random", "volatile-ttl"];

    private static readonly List<object?> DefaultSave =
    [
        Rule(3600, 1), Rule(300, 100), Rule(60, 10000),
    ];

    /// <summary>Fields, rules and documentation.</summary>
    public static KindSchema Schema { get; } = new()
    {
        Kind = Name,
        Aliases = ["redis", "redises"],
        Doc = "A Redis server, or a primary with replicas on several hosts, each member its own systemd unit with its own data.",
        Rules = Rules,
        Spec =
        [
            new("replicas", FieldType.Integer, "Replicas beside the primary.") { Default = 0L, Min = 0, Max = 8, Effect = "live" },
            new("primary", FieldType.Integer, "The ordinal (0..replicas) that should be primary. Changing it is a switchover: writes pause until the new one has caught up.") { Default = 0L, Min = 0, Max = 8, Effect = "role change" },
            new("port", FieldType.Integer, "TCP port of every member.") { Default = 6379L, Min = 1024, Max = 65535, Effect = "restart" },
            new("memory", FieldType.Group, "How much data it may hold.")
            {
                Fields =
                [
                    new("max", FieldType.Bytes, "Redis maxmemory; 0 = no limit.") { Default = "0", Min = 0, Effect = "live" },
                    new("policy", FieldType.Choice, "Redis maxmemory-policy: what goes when it is full.") { Default = "noeviction", Choices = Policies, Effect = "live" },
                ],
            },
            new("persistence", FieldType.Group, "What is on disk. With neither, a restart of the only member loses the data.")
            {
                Fields =
                [
                    new("appendonly", FieldType.Boolean, "Keep an append-only file.") { Default = true, Effect = "live" },
                    new("appendfsync", FieldType.Choice, "How often the append-only file is flushed.") { Default = "everysec", Choices = ["always", "everysec", "no"], Effect = "live" },
                    new("save", FieldType.List, "Snapshot after so many seconds if there were so many changes; [] = no snapshots.")
                    {
                        Default = DefaultSave, Max = 8, Effect = "live",
                        Fields =
                        [
                            new("seconds", FieldType.Integer, "Seconds.") { Required = true, Min = 1, Max = 31_536_000 },
                            new("changes", FieldType.Integer, "Changes.") { Required = true, Min = 1, Max = 1_000_000_000 },
                        ],
                    },
                ],
            },
            new("databases", FieldType.Integer, "Number of databases.") { Default = 16L, Min = 1, Max = 1024, Effect = "restart" },
            new("timeout", FieldType.Integer, "Seconds after which an idle client is closed; 0 = never.") { Default = 0L, Min = 0, Max = 86_400, Effect = "live" },
            new("maxclients", FieldType.Integer, "Simultaneous clients.") { Default = 10_000L, Min = 10, Max = 60_000, Effect = "live" },
            new("auth", FieldType.Group, "Who may connect.")
            {
                Fields = [new("enabled", FieldType.Boolean, "A generated password for clients and replicas; without it members listen on loopback only.") { Default = true, Immutable = true }],
            },
            new("placement", FieldType.Group, "Where members may run.")
            {
                Fields =
                [
                    new("labels", FieldType.TextMap, "Labels a host must have.") { Default = new SortedDictionary<string, object?>(StringComparer.Ordinal), Max = 16 },
                    new("spread", FieldType.Choice, "host: at most one member a host; none: anywhere the port is free. Members of one resource have one port, so here both come to the same.") { Default = "host", Choices = ["host", "none"] },
                ],
            },
            new("limits", FieldType.Group, "What systemd enforces on each member.")
            {
                Fields = [new("memory", FieldType.Bytes, "MemoryMax of the unit; 0 = no limit.") { Default = "0", Min = 0, Effect = "live" }],
            },
            new("adopt", FieldType.Group, "Take over a server that runs already, without restarting it.")
            {
                Fields = [new("unit", FieldType.Text, "Its systemd unit, redis-server.service; empty = none.") { Default = "", MaxLength = 128, Check = UnitError, Immutable = true }],
            },
        ],
    };

    private static SortedDictionary<string, object?> Rule(long seconds, long changes) => new(StringComparer.Ordinal) { ["changes"] = changes, ["seconds"] = seconds };

    private static string? UnitError(string unit) =>
        unit.Length == 0 || (unit.Length > ".service".Length && unit.EndsWith(".service", StringComparison.Ordinal) && unit.All(c => char.IsAsciiLetterOrDigit(c) || c is '-' or '_' or '.' or '@' or ':'))
            ? null : $"\"{unit}\" is not the name of a systemd service, such as redis-server.service";

    private static IEnumerable<FieldError> Rules(ReadOnlyMemory<byte> canonical)
    {
        var s = RedisSpec.Parse(canonical);
        if (s.Primary > s.Replicas) yield return new("spec.primary", $"{s.Primary} is not a member: with {s.Replicas} replicas the ordinals are 0..{s.Replicas}", "raise spec.replicas or lower spec.primary");
        if (s.MaxMemory is > 0 and < 1L << 20) yield return new("spec.memory.max", $"{Quantity.Format(s.MaxMemory)} is less than an empty server uses: every write would be refused", "at least 1Mi, or 0 for no limit");
        if (s.MemoryLimit > 0 && s.MaxMemory == 0) yield return new("spec.memory.max", "is not set although spec.limits.memory is: the unit would be killed when it is full", $"set it below {Quantity.Format(s.MemoryLimit)}");
        else if (s.MemoryLimit > 0 && s.MaxMemory >= s.MemoryLimit) yield return new("spec.memory.max", $"{Quantity.Format(s.MaxMemory)} is not below spec.limits.memory {Quantity.Format(s.MemoryLimit)}", "leave room for copies while saving, a quarter or more");
        if (s.MemoryLimit is > 0 and < 16L << 20) yield return new("spec.limits.memory", $"{Quantity.Format(s.MemoryLimit)} is less than a server needs", "at least 16Mi");
        if (s.Replicas > 0 && !s.Auth) yield return new("spec.auth.enabled", "must be true with replicas: members would listen on loopback only", "leave it out");
        if (s.AdoptUnit.Length > 0 && s.Replicas > 0) yield return new("spec.replicas", "must be 0 while spec.adopt.unit is set", "adopt first, then declare a new resource with replicas");
        if (s.AdoptUnit.Length > 0 && s.Auth) yield return new("spec.auth.enabled", "must be false while spec.adopt.unit is set: a server that is taken over keeps its own access rules", "set it to false");
    }
}
