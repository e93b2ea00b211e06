using System.Collections.Immutable;
using System.Net.NetworkInformation;
using AgentMetal.Runtime.Planning;

namespace AgentMetal.NodeAgent.Agents.Redis;

/// <summary>What the member's own server says.</summary>
/// <param name="Serving">How it answers.</param>
/// <param name="Info">While answering.</param>
/// <param name="Settings">While answering.</param>
/// <param name="Password">The one it takes; null when none is asked for. Never a fact.</param>
/// <param name="MasterAuth">The one it gives to its primary. Never a fact.</param>
internal sealed record OwnServer(string Serving, RedisInfo? Info, ImmutableSortedDictionary<string, string> Settings, string? Password, string MasterAuth)
{
    public bool Answers => Serving == Redis.Serving.Answering;

    /// <summary>Taken, or refused since a write of the append-only file or a scheduled snapshot failed (server.c, writeCommandsDeniedByDiskError).</summary>
    public string Writes => Info is { } info && ((info["aof_enabled"] == "1" && info["aof_last_write_status"] == "err")
        || (info["rdb_last_bgsave_status"] == "err" && Settings.GetValueOrDefault("save", "") != "")) ? Redis.Writes.Refused : Redis.Writes.Taken;

    /// <summary>Passwords are in it.</summary>
    public override string ToString() => Serving;
}

/// <summary>What a peer's server says.</summary>
internal sealed record PeerServer(int Ordinal, RedisPeerState State, RedisInfo? Info);

/// <summary>Asks servers, with deadlines that make "does not answer" an answer.</summary>
internal static class RedisProbe
{
    /// <summary>A replica further behind than this is not in sync, bytes of the replication stream.</summary>
    public const long LaggingBytes = 16 * 1024 * 1024;

    private const int Tries = 3;
    private static readonly ImmutableArray<RespCommand> s_questions =
        [.. RedisInfo.Commands, .. RedisSettings.All.Select(k => RespCommand.Of("CONFIG", "GET", k)), RespCommand.Secret("CONFIG", "GET", "masterauth")];
    private static readonly TimeSpan Answer = TimeSpan.FromMilliseconds(500);

    /// <summary>One that connects and answers no PING in 500 ms, three times in a row, is hung.</summary>
    public static async ValueTask<OwnServer> OwnAsync(RespEndpoint endpoint, ImmutableArray<string?> passwords, CancellationToken ct)
    {
        for (var i = 1; ; i++)
        {
            try
            {
                return await OnceAsync(endpoint, passwords, ct).ConfigureAwait(false);
            }
            catch (RespException e) when (e.Failure == RespFailure.Refused)
            {
                return Without(Serving.Refused);
            }
            catch (RespException e) when (e.Failure == RespFailure.Malformed)
            {
                return Without(FactValue.Unseen("the server's answer is not understood"));
            }
            catch (RespException) when (i >= Tries)
            {
                // A socket of this host that is there but takes no connection belongs to a server that accepts none any more.
                return Without(Serving.Hung);
            }
            catch (RespException)
            {
                // Once proves little: a fork of a large data set stalls a healthy server for as long.
            }
        }
    }

    private static async ValueTask<OwnServer> OnceAsync(RespEndpoint endpoint, ImmutableArray<string?> passwords, CancellationToken ct)
    {
        var session = await RedisSession.OpenAsync(endpoint, passwords, Answer, ct, s_questions).ConfigureAwait(false);
        if (session.Client is not { } client) return Without(Serving.Denied);
        using var _ = client;
        if (session.Loading)
        {
            var loading = RedisInfo.Of(await client.CallAsync(RedisInfo.Commands, Answer, ct).ConfigureAwait(false));
            return new(Serving.Loading, loading, RedisSettings.None, session.Password, "");
        }
        var replies = session.Replies ?? await client.CallAsync(s_questions, Answer * 2, ct).ConfigureAwait(false);
        if (replies[0].Code == "LOADING") return Without(Serving.Loading);
        if (replies.FirstOrDefault(r => r.IsError) is { } refusal) return Without(FactValue.Unseen("the server refuses INFO or CONFIG GET: " + refusal.Code));
        var settings = RedisSettings.None.ToBuilder();
        foreach (var reply in replies[RedisInfo.Commands.Length..^1])
            if (reply.Items is [var key, var value]) settings[key.Text] = value.Text;
        return new(Serving.Answering, RedisInfo.Of(replies[..RedisInfo.Commands.Length]), settings.ToImmutable(), session.Password,
            replies[^1].Items is [_, var masterAuth] ? masterAuth.Text : "");
    }

    /// <summary>Whether any process of this host listens on a TCP port; false where that cannot be read, and the start will tell.</summary>
    public static bool Listens(int port)
    {
        try { return IPGlobalProperties.GetIPGlobalProperties().GetActiveTcpListeners().Any(l => l.Port == port); }
        catch (NetworkInformationException) { return false; }
    }

    public static async ValueTask<PeerServer> PeerAsync(RedisPeer peer, ImmutableArray<string?> passwords, CancellationToken ct)
    {
        try
        {
            var session = await RedisSession.OpenAsync(new(peer.Host, peer.Port), passwords, Answer, ct, RedisInfo.Commands).ConfigureAwait(false);
            if (session.Client is not { } client) return Without(peer, Serving.Denied);
            using var _ = client;
            if (session.Loading) return Without(peer, Serving.Loading);
            var replies = session.Replies ?? await client.CallAsync(RedisInfo.Commands, Answer * 2, ct).ConfigureAwait(false);
            if (replies.FirstOrDefault(r => r.IsError) is { } refusal) return Without(peer, refusal.Code == "LOADING" ? Serving.Loading : FactValue.Unseen(refusal.Code));
            var info = RedisInfo.Of(replies);
            return new(peer.Ordinal, new(peer.Address, Serving.Answering, info.Role, info.Link, info.Keys), info);
        }
        catch (RespException e)
        {
            return Without(peer, e.Failure switch
            {
                RespFailure.Refused => Serving.Refused,
                RespFailure.Mute => Serving.Hung,
                RespFailure.Unreachable => FactValue.Unseen("unreachable"),
                _ => FactValue.Unseen("no answer that is understood"),
            });
        }
    }

    /// <summary>
    /// One round trip to the own server: role, link and every live setting. Two fingerprints that are equal mean that nothing that the probe
    /// can see has changed.
    /// </summary>
    public static async ValueTask<string> FingerprintAsync(RespEndpoint endpoint, ImmutableArray<string?> passwords, Func<string?, string> digest, CancellationToken ct, Func<OwnServer, ValueTask>? seen = null)
    {
        var own = await OwnAsync(endpoint, passwords, ct).ConfigureAwait(false);
        if (seen is not null) await seen(own).ConfigureAwait(false);
        if (own.Info is not { } info) return own.Serving;
        return string.Join('|', own.Serving, info.Role, info.Link, own.Writes, info.MemoryFull is null ? "" : "full", string.Join(' ', info.Online), info.Silent > 0 ? "silent" : "", info["master_failover_state"], digest(own.Password), digest(own.MasterAuth),
            string.Join(',', own.Settings.Select(s => s.Key + "=" + s.Value)));
    }

    private static OwnServer Without(string serving) => new(serving, null, RedisSettings.None, null, "");

    /// <summary>Nobody is asked.</summary>
    public static PeerServer Struck(RedisPeer peer) => new(peer.Ordinal, new(peer.Address, RedisPeerState.StruckOff) { IsStruck = true }, null);

    private static PeerServer Without(RedisPeer peer, string serving) => new(peer.Ordinal, new(peer.Address, serving), null);
}
