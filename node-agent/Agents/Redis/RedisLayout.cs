using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using AgentMetal.NodeAgent.Agents.Redis.Data;

namespace AgentMetal.NodeAgent.Agents.Redis;

/// <summary>The directories below which members live; other ones only in tests.</summary>
internal sealed record RedisRoots
{
    public string Units { get; init; } = "/etc/systemd/system";
    public string Etc { get; init; } = "/etc/agentmetal";
    public string Lib { get; init; } = "/var/lib/agentmetal";
    public string Run { get; init; } = "/run";

    /// <summary>The program that the unit asks before each start.</summary>
    public string Gate { get; init; } = "/usr/bin/agentmetald";
}

/// <summary>
/// Where everything of one member is. The id is what people read in `systemctl`; project and name may both hold hyphens, so where
/// "a-b" + "c" and "a" + "b-c" would meet, the hyphenated project gets a suffix that no name can hold.
/// </summary>
internal sealed record RedisLayout
{
    /// <summary>Names a package brings.</summary>
    public const string Package = "redis-server";
    public const string StockUnit = "redis-server.service";
    public const string User = "redis";

    private const string Ours = "agentmetal-";

    public required string Id { get; init; }
    public required string Unit { get; init; }
    public required string UnitPath { get; init; }
    public required string DropInDir { get; init; }

    /// <summary>The link that WantedBy= makes: there = enabled, whether or not the unit file is.</summary>
    public required string EnabledLink { get; init; }

    public required string ConfDir { get; init; }
    public required string ConfParent { get; init; }
    public required string DataDir { get; init; }
    public required string DataParent { get; init; }
    public required string BackupDir { get; init; }

    /// <summary>What this host knows of the member, beside neither its data nor its configuration: it outlives both.</summary>
    public required string Notes { get; init; }

    /// <summary>The program of the start gate.</summary>
    public required string GateProgram { get; init; }

    /// <summary>A signed start's word to the gate, for one start.</summary>
    public string GatePass => Notes + ".pass";

    /// <summary>What the gate decided last.</summary>
    public string GateRecord => Notes + ".gate";

    /// <summary>That its server ended, and what it had written is on the disk.</summary>
    public string End => RedisEnd.Beside(Notes);

    /// <summary>What its server said of itself when it was told to end.</summary>
    public string Stop => RedisStop.Beside(Notes);

    /// <summary>How often its server was started, beside neither its data nor its notes: what is put back of those knows of fewer.</summary>
    public string Starts => ConfDir + "/" + RedisStarts.File;

    /// <summary>Name below /run; short, because a socket's path has at most 107 bytes (unix(7)).</summary>
    public required string RuntimeDir { get; init; }

    /// <summary>The member's own door: it does not move with the port, and nobody else can answer on it.</summary>
    public required string SocketPath { get; init; }

    public string Config => ConfDir + "/redis.conf";
    public string Auth => ConfDir + "/auth.conf";
    public string AuthPrevious => ConfDir + "/auth.conf.previous";
    public string Role => ConfDir + "/role.conf";

    /// <summary>Whether a file overrides this very unit.</summary>
    public bool IsDropIn(string path) => path.Contains("/" + Unit + ".d/", StringComparison.Ordinal) && !path.Contains("/../", StringComparison.Ordinal);

    /// <summary>Whether a file overrides all units of ours with a name that begins so (systemd.unit(5), "foo-.service.d"); overrides of all services are the host's own.</summary>
    public bool IsPrefixDropIn(string path) => !path.Contains("/../", StringComparison.Ordinal) && path.Split('/') is [.., var dir, _] && dir.EndsWith("-.service.d", StringComparison.Ordinal)
        && dir[..^".service.d".Length] is { Length: > 0 } prefix && prefix.StartsWith(Ours, StringComparison.Ordinal) && Unit.StartsWith(prefix, StringComparison.Ordinal);

    /// <summary>The last backup before the data goes, a dump that the server itself wrote; of this resource, not of an earlier one of the same name.</summary>
    public string Backup(string resourceUid, long generation) => BackupPath(resourceUid, generation, ".rdb");

    /// <summary>The last backup of a server that does not run: its data directory as it lies on the disk.</summary>
    public string ColdBackup(string resourceUid, long generation) => BackupPath(resourceUid, generation, ".tar");

    /// <summary>A copy that is kept before a step replaces the data; one for each history, so that a later copy of the same replaces the earlier.</summary>
    /// <param name="resourceUid">Of the resource.</param>
    /// <param name="history">Replication id; empty = unknown.</param>
    /// <param name="extension">.rdb of a server, .tar of files.</param>
    public string CopyBefore(string resourceUid, string history, string extension) =>
        $"{BackupDir}/{Id}-{Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(resourceUid)))[..8]}-replaced-{(history.Length >= 8 ? history[..8] : "unknown")}{extension}";

    private string BackupPath(string resourceUid, long generation, string extension) => string.Create(CultureInfo.InvariantCulture,
        $"{BackupDir}/{Id}-{Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(resourceUid)))[..8]}-{generation}{extension}");

    /// <param name="project">RFC 1123 label, checked by the caller.</param>
    /// <param name="name">RFC 1123 label, checked by the caller.</param>
    /// <param name="ordinal">0..99.</param>
    /// <param name="roots">The directories below which members live.</param>
    public static RedisLayout Of(string project, string name, int ordinal, RedisRoots roots)
    {
        var digest = Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(project + "/" + name)));
        var number = ordinal.ToString(CultureInfo.InvariantCulture);
        var id = project.Contains('-', StringComparison.Ordinal) ? $"{project}-{name}_{digest[..8]}-{number}" : $"{project}-{name}-{number}";
        var unit = "agentmetal-redis-" + id + ".service";
        var runtime = "agentmetal-redis-" + digest[..16] + "-" + number;
        return new()
        {
            Id = id,
            Unit = unit,
            UnitPath = roots.Units + "/" + unit,
            EnabledLink = roots.Units + "/multi-user.target.wants/" + unit,
            DropInDir = roots.Units + "/" + unit + ".d",
            ConfParent = roots.Etc + "/redis",
            ConfDir = roots.Etc + "/redis/" + id,
            DataParent = roots.Lib + "/redis",
            DataDir = roots.Lib + "/redis/" + id,
            BackupDir = roots.Lib + "/backups",
            Notes = roots.Lib + "/notes/redis/" + id + ".json",
            GateProgram = roots.Gate,
            RuntimeDir = runtime,
            SocketPath = roots.Run + "/" + runtime + "/redis.sock",
        };
    }
}
