using System.Collections.Immutable;
using System.Globalization;
using System.Security.Cryptography;
using System.Text;

namespace AgentMetal.NodeAgent.Agents.Redis;

/// <summary>
/// Text of the files of a member: the same input gives the same bytes. Everything that is put into one is either checked against a closed
/// alphabet before (names, addresses, enums, numbers) or quoted here (the password).
/// </summary>
internal static class RedisRender
{
    private const string RoleHeader = "# The role of this Redis, as it last was; managed by agentmetald. Changes by hand are put back.\n";

    /// <summary>redis.conf (the "redis.conf" of the 7.0 distribution documents every directive).</summary>
    public static string Config(string title, RedisLayout layout, ImmutableSortedDictionary<string, string> settings)
    {
        var text = new StringBuilder(1024)
            .Append("# ").Append(title).Append("; managed by agentmetald. Changes by hand are put back.\n")
            .Append("supervised systemd\n").Append("daemonize no\n").Append("logfile \"\"\n")
            .Append("unixsocket ").Append(layout.SocketPath).Append("\nunixsocketperm 700\n")
            .Append("dir ").Append(layout.DataDir).Append("\ndbfilename dump.rdb\n");
        foreach (var (key, value) in settings) text.Append(key).Append(' ').Append(value.Length == 0 ? "\"\"" : value).Append('\n');
        return text.Append("include ").Append(layout.Auth).Append("\ninclude ").Append(layout.Role).Append('\n').ToString();
    }

    /// <summary>The managed settings in a redis.conf; a later line wins, as in Redis.</summary>
    public static ImmutableSortedDictionary<string, string> Parse(string? config)
    {
        var settings = RedisSettings.None.ToBuilder();
        foreach (var line in (config ?? "").Split('\n'))
        {
            var trimmed = line.Trim();
            var space = trimmed.IndexOf(' ', StringComparison.Ordinal);
            if (space < 0 || trimmed[0] == '#') continue;
            var key = trimmed[..space].ToLowerInvariant();
            if (RedisSettings.All.Contains(key)) settings[key] = trimmed[space..].Trim() is var value && value == "\"\"" ? "" : value;
        }
        return settings.ToImmutable();
    }

    /// <summary>role.conf for "primary" or "follows:host:port".</summary>
    public static string Role(string role) => role == RedisRole.Primary ? RoleHeader
        : RedisRole.Target(role) is var (host, port) ? string.Create(CultureInfo.InvariantCulture, $"{RoleHeader}replicaof {host} {port}\n")
        : throw new ArgumentException("not a role: " + role, nameof(role));

    /// <summary>The role in a role.conf that we rendered; null when we did not.</summary>
    public static string? ParseRole(string text)
    {
        if (text == RoleHeader) return RedisRole.Primary;
        var words = text.StartsWith(RoleHeader, StringComparison.Ordinal) ? text[RoleHeader.Length..].TrimEnd('\n').Split(' ') : [];
        if (words is not ["replicaof", var host, var port]) return null;
        var role = RedisRole.Follows(host + ":" + port);
        return RedisRole.Target(role) is not null && Role(role) == text ? role : null;
    }

    /// <summary>The unit of a member (systemd.unit(5), systemd.service(5), systemd.exec(5)).</summary>
    public static string Unit(string title, RedisLayout layout, bool startsItself, long? memoryMaxBytes)
    {
        var memory = memoryMaxBytes is { } bytes ? string.Create(CultureInfo.InvariantCulture, $"MemoryMax={bytes}\n") : "";
        return $"""
            # {title}; managed by agentmetald. Changes by hand are put back.
            [Unit]
            Description={title}
            Documentation=man:redis-server(1)
            After=network.target
            StartLimitIntervalSec=60
            StartLimitBurst=5

            [Service]
            Type=notify
            # Nothing empty or older than what is known comes up as primary; it holds with agentmetald dead.
            ExecCondition=+{layout.GateProgram} redis-gate {layout.Notes}
            ExecStart=/usr/bin/redis-server {layout.Config}
            # What it holds is noted before anybody writes to it; a note that fails is made up for by agentmetald.
            ExecStartPost=+-{layout.GateProgram} redis-note {layout.Notes}
            # What it holds is noted before it is told to end: its files are measured by that.
            ExecStop=+-{layout.GateProgram} redis-stop {layout.Notes}
            # What it wrote last is brought to the disk however it ended, and that is noted; a host that goes down comes to none of it.
            ExecStopPost=+-{layout.GateProgram} redis-end {layout.Notes}
            User={RedisLayout.User}
            Group={RedisLayout.User}
            Restart={(startsItself ? "on-failure" : "no")}
            RestartSec=200ms
            TimeoutStartSec=infinity
            TimeoutStopSec=60
            RuntimeDirectory={layout.RuntimeDir}
            RuntimeDirectoryMode=0750
            UMask=0077
            LimitNOFILE=65535
            {memory}# Also where it is gone: the condition above is asked then too, and says so.
            ReadWritePaths=-{layout.DataDir}
            NoNewPrivileges=true
            ProtectSystem=strict
            ProtectHome=true
            PrivateTmp=true
            PrivateDevices=true
            ProtectClock=true
            ProtectControlGroups=true
            ProtectHostname=true
            ProtectKernelLogs=true
            ProtectKernelModules=true
            ProtectKernelTunables=true
            CapabilityBoundingSet=
            LockPersonality=true
            MemoryDenyWriteExecute=true
            RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX
            RestrictNamespaces=true
            RestrictRealtime=true
            RestrictSUIDSGID=true
            SystemCallArchitectures=native

            [Install]
            WantedBy=multi-user.target

            """;
    }

    /// <summary>How a text appears in facts: 16 hexadecimal digits of its SHA-256.</summary>
    public static string Digest(string text) => Digest(Encoding.UTF8.GetBytes(text));

    /// <summary>How a file appears in facts.</summary>
    public static string Digest(ReadOnlySpan<byte> content) => Convert.ToHexStringLower(SHA256.HashData(content))[..16];

    /// <summary>One word of a redis.conf line, in double quotes (sdssplitargs of the Redis source).</summary>
    public static string Quote(string word)
    {
        var text = new StringBuilder(word.Length + 2).Append('"');
        foreach (var c in word)
        {
            if (c is '"' or '\\') text.Append('\\');
            text.Append(c);
        }
        return text.Append('"').ToString();
    }

    /// <summary>The word in the quotes of <see cref="Quote"/>; null when it is not one.</summary>
    public static string? Unquote(string quoted)
    {
        if (quoted.Length < 2 || quoted[0] != '"' || quoted[^1] != '"') return null;
        var text = new StringBuilder(quoted.Length);
        for (var i = 1; i < quoted.Length - 1; i++)
        {
            if (quoted[i] == '\\' && ++i >= quoted.Length - 1) return null;
            text.Append(quoted[i]);
        }
        return text.ToString();
    }
}

/// <summary>Roles as they appear in facts and in arguments.</summary>
internal static class RedisRole
{
    public const string Primary = "primary";

    private const string Prefix = "follows:";

    public static string Follows(string address) => Prefix + address;

    /// <summary>"host:port" of whom it follows; null for a primary or an unknown role.</summary>
    public static string? Followed(string role) => role.StartsWith(Prefix, StringComparison.Ordinal) ? role[Prefix.Length..] : null;

    /// <summary>Host and port of whom it follows, if it is a role that a file may hold.</summary>
    public static (string Host, int Port)? Target(string role)
    {
        if (Followed(role) is not { } address) return null;
        var colon = address.LastIndexOf(':');
        return colon > 0 && IsHost(address[..colon]) && int.TryParse(address[(colon + 1)..], NumberStyles.None, CultureInfo.InvariantCulture, out var port)
            && port is >= 1 and <= 65535 ? (address[..colon], port) : null;
    }

    /// <summary>An IP address, or a name of letters, digits, dots and hyphens.</summary>
    public static bool IsHost(string host) => host.Length is >= 1 and <= 253 && (System.Net.IPAddress.TryParse(host, out _) && !host.Contains('%', StringComparison.Ordinal)
        || (host[0] != '-' && host.All(c => char.IsAsciiLetterOrDigit(c) || c is '.' or '-')));
}
