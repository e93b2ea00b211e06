using System.Collections.Immutable;
using System.Globalization;

namespace AgentMetal.NodeAgent.Agents.Redis;

/// <summary>A connection that took one of the passwords we know, or the reason why none was taken.</summary>
/// <param name="Client">Null when denied.</param>
/// <param name="Password">The one that was taken; null when none is asked for.</param>
/// <param name="Loading">The server reads its data and answers little else.</param>
/// <param name="Replies">To what was asked along; null where it has to be asked anew.</param>
internal sealed record RedisSession(RespClient? Client, string? Password, bool Loading, ImmutableArray<RespReply>? Replies = null)
{
    /// <summary>Stands for a password of the server that nobody here knows; no password can be it.</summary>
    public const string Changed = "\u0001changed";

    /// <summary>Connects and authenticates; the deadline holds for each round trip.</summary>
    /// <param name="endpoint">Where the server listens.</param>
    /// <param name="passwords">What it may take, the most likely one first; null = none.</param>
    /// <param name="deadline">Of the connection, and of each answer.</param>
    /// <param name="ct">Ends it.</param>
    /// <param name="along">Commands that need no other password than the likely one, sent with it; twice the deadline for all of their replies.</param>
    /// <exception cref="RespException">Nobody answers.</exception>
    public static async ValueTask<RedisSession> OpenAsync(RespEndpoint endpoint, ImmutableArray<string?> passwords, TimeSpan deadline, CancellationToken ct, ImmutableArray<RespCommand> along = default)
    {
        if (along.IsDefault) along = [];
        var client = await RespClient.ConnectAsync(endpoint, deadline, ct).ConfigureAwait(false);
        try
        {
            // The password that is most likely the right one goes along with the first question, and the next questions with it: a host asks each of its
            // members every ten seconds. PING alone has the short deadline, because who hangs is told by it.
            var likely = passwords.FirstOrDefault(p => p is not null);
            ImmutableArray<RespCommand> greeting = likely is null ? [RespCommand.Of("PING")] : [RespCommand.Secret("AUTH", likely), RespCommand.Of("PING")];
            var replies = await client.CallAsync([.. greeting, .. along], greeting.Length, deadline, ct).ConfigureAwait(false);
            var answers = await client.ReceiveAsync(along, deadline * 2, ct).ConfigureAwait(false);
            var ping = replies[^1];
            if (likely is not null && !replies[0].IsError) return new(client, likely, ping.Code == "LOADING", ping.IsError ? null : answers);
            // MISCONF is an answer too: a server whose disk is full refuses writes and PING, and tells everything else.
            if (!ping.IsError || ping.Code == "MISCONF") return new(client, null, false, ping.IsError ? null : answers);
            if (ping.Code == "LOADING") return new(client, null, true);
            if (ping.Code != "NOAUTH") throw new RespException(RespFailure.Malformed, "PING is refused: " + ping.Code);
            foreach (var password in passwords.OfType<string>().Where(p => p != likely).Distinct(StringComparer.Ordinal))
            {
                var auth = await client.CallAsync(RespCommand.Secret("AUTH", password), deadline, ct).ConfigureAwait(false);
                if (auth.IsError) continue;
                ping = await client.CallAsync(RespCommand.Of("PING"), deadline, ct).ConfigureAwait(false);
                return new(client, password, ping.Code == "LOADING");
            }
            // Somebody changed the password of the server; the agent's own user is not the one that everybody changes.
            foreach (var password in passwords.OfType<string>().Distinct(StringComparer.Ordinal))
            {
                if ((await client.CallAsync(RespCommand.Secret("AUTH", RedisAuth.User, password), deadline, ct).ConfigureAwait(false)).IsError) continue;
                ping = await client.CallAsync(RespCommand.Of("PING"), deadline, ct).ConfigureAwait(false);
                return new(client, Changed, ping.Code == "LOADING");
            }
            client.Dispose();
            return new(null, null, false);
        }
        catch
        {
            client.Dispose();
            throw;
        }
    }
}

/// <summary>
/// The parts of INFO that the agent reads (redis.io, "INFO"). Fields are looked up in the text: a probe asks for a dozen of some two hundred, and a table of all of them
/// cost more than all else that an idle host does.
/// </summary>
internal sealed class RedisInfo(ImmutableArray<string> sections)
{

    public static readonly ImmutableArray<RespCommand> Commands =
        [RespCommand.Of("INFO", "replication"), RespCommand.Of("INFO", "persistence"), RespCommand.Of("INFO", "keyspace"), RespCommand.Of("INFO", "memory"), RespCommand.Of("INFO", "errorstats")];

    /// <summary>A field, or empty.</summary>
    public string this[string field]
    {
        get
        {
            foreach (var text in sections)
                for (var at = 0; (at = text.IndexOf(field, at, StringComparison.Ordinal)) >= 0; at += field.Length)
                    if (Begins(text, at) && at + field.Length < text.Length && text[at + field.Length] == ':') return text[(at + field.Length + 1)..End(text, at)];
            return "";
        }
    }

    public string Role => this["role"] switch
    {
        "master" => RedisRole.Primary,
        "slave" => RedisRole.Follows(this["master_host"] + ":" + this["master_port"]),
        _ => "unknown",
    };

    public string Link => this["role"] != "slave" ? AgentMetal.Runtime.Planning.FactValue.Absent
        : this["master_link_status"] == "up" ? Redis.Link.Up
        : this["master_sync_in_progress"] == "1" ? Redis.Link.Syncing : Redis.Link.Down;

    public string Keys => Fields("db").Any() ? Stored.Some : Stored.None;

    /// <summary>host:port of the replicas that are attached and have had their copy.</summary>
    public IEnumerable<string> Online => Fields("slave").Where(f => f.Name.Length > 5 && char.IsAsciiDigit(f.Name[5]) && f.Value.Contains(",state=online,", StringComparison.Ordinal))
        .Select(f => f.Value.Split(',')).Select(parts => $"{Part(parts, "ip=")}:{Part(parts, "port=")}").Order(StringComparer.Ordinal);

    /// <summary>Of a replica: seconds without a word of its primary, which pings every ten; 0 while that is usual.</summary>
    public long Silent => Link == Redis.Link.Up && Number("master_last_io_seconds_ago") is >= 20 and var seconds ? seconds : 0;

    /// <summary>
    /// used_memory that counts against maxmemory, where writes are refused for it (evict.c, getMaxmemoryState); null = they are taken. A server that has refused some
    /// and is still as full refuses the next: what that client's buffers took is free again by the time that anybody looks.
    /// </summary>
    public (long Used, long Max)? MemoryFull => Role == RedisRole.Primary && this["maxmemory_policy"] == "noeviction" && Number("maxmemory") is > 0 and var max
        && Number("used_memory") is { } used && used - (Number("mem_not_counted_for_evict") ?? 0) is var counted
        && (counted >= max || (HasRefusedForMemory && counted >= max - Math.Max(max / 50, MemorySlack))) ? (counted, max) : null;

    /// <summary>What a client's buffers may take.</summary>
    private const long MemorySlack = 256 * 1024;

    /// <summary>Since it started (INFO errorstats, Redis 6.2).</summary>
    private bool HasRefusedForMemory => Fields("errorstat_OOM").Any();

    /// <summary>Keys of all databases, and how many of them expire ("db0:keys=2,expires=1,avg_ttl=0").</summary>
    public (long Keys, long Expires) KeyCounts
    {
        get
        {
            var (keys, expires) = (0L, 0L);
            foreach (var (_, value) in Fields("db"))
            {
                foreach (var pair in value.Split(','))
                    if (pair.Split('=') is [var what, var text] && long.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var number))
                    {
                        if (what == "keys") keys += number;
                        else if (what == "expires") expires += number;
                    }
            }
            return (keys, expires);
        }
    }

    /// <summary>CLIENT PAUSE with WRITE came with FAILOVER (Redis 6.2), whose state is told since.</summary>
    public bool HoldsWrites => this["master_failover_state"].Length > 0;

    public bool Rewriting => this["aof_rewrite_in_progress"] == "1" || RewriteWaits;

    /// <summary>It begins when another child of the server has ended.</summary>
    public bool RewriteWaits => this["aof_rewrite_scheduled"] == "1";

    public long Offset => Number(this["role"] == "slave" ? "slave_repl_offset" : "master_repl_offset") ?? 0;

    /// <summary>What moves while it loads, syncs or rewrites.</summary>
    public long? Progress => this["loading"] == "1" ? Number("loading_loaded_bytes")
        : this["master_sync_in_progress"] == "1" ? Number("master_sync_read_bytes") ?? -Number("master_sync_left_bytes")
        : Rewriting ? Number("current_save_keys_processed") : null;

    public static RedisInfo Of(IEnumerable<RespReply> replies) => new([.. replies.Where(r => !r.IsError).Select(r => r.Text)]);

    /// <summary>The fields whose names begin so, a line each ("name:value").</summary>
    private IEnumerable<(string Name, string Value)> Fields(string begins)
    {
        foreach (var text in sections)
        {
            for (var at = 0; (at = text.IndexOf(begins, at, StringComparison.Ordinal)) >= 0; at += begins.Length)
            {
                if (!Begins(text, at)) continue;
                var end = End(text, at);
                if (text.IndexOf(':', at, end - at) is var colon and >= 0) yield return (text[at..colon], text[(colon + 1)..end]);
            }
        }
    }

    private static bool Begins(string text, int at) => at == 0 || text[at - 1] == '\n';

    private static int End(string text, int at) => text.IndexOf('\r', at) is var end and >= 0 ? end : text.Length;

    private static string Part(string[] parts, string name) => parts.FirstOrDefault(p => p.StartsWith(name, StringComparison.Ordinal)) is { } part ? part[name.Length..] : "";

    public long? Number(string field) => long.TryParse(this[field], NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out var number) ? number : null;
}
