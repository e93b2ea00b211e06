using System.Collections.Immutable;
using System.Globalization;
using System.Text;
using AgentMetal.NodeAgent.Host.Files;

namespace AgentMetal.NodeAgent.Agents.Redis.Data;

/// <summary>
/// "agentmetald redis-note NOTES", which the unit runs after each start (ExecStartPost= of systemd.service(5)): a primary's history is noted
/// before a replica or a client adds to it. Without that note, a primary that dies seconds after its start could not tell its own data from a
/// stranger's, and would wait for a signature. "redis-stop" is the same before the server is told to end (ExecStop=), and says that too
/// (<see cref="RedisStop"/>). It needs no daemon.
/// </summary>
internal static class RedisNoteProgram
{
    private const int MaxBytes = 256 * 1024;
    private static readonly TimeSpan s_answer = TimeSpan.FromMilliseconds(500);

    /// <param name="path">Of the notes.</param>
    /// <param name="reader">Of this host.</param>
    /// <param name="writer">Of this host.</param>
    /// <param name="clock">When it is.</param>
    /// <param name="say">To the journal.</param>
    /// <param name="stop">Ends it.</param>
    /// <param name="invocation">Of a server that is told to end: which run of the unit it is; null = it is not told to.</param>
    /// <returns>0 when a note was written or none was due.</returns>
    public static async Task<int> RunAsync(string path, IFileReader reader, IFileWriter writer, TimeProvider clock, Action<string> say, CancellationToken stop, string? invocation = null)
    {
        if (Text(reader, path) is not { } json || RedisNotes.Parse(json) is not { } notes) return 0; // The first pass of the agent writes them.
        if (Socket(reader, notes) is not { } endpoint) return 0;
        ImmutableArray<string?> passwords = [.. RedisObserver.PasswordsInFiles(reader, notes.ConfDir), null];
        try
        {
            var session = await RedisSession.OpenAsync(endpoint, passwords, s_answer, stop).ConfigureAwait(false);
            using var client = session.Client;
            if (client is null || session.Loading) return 0;
            var info = await InfoAsync(client, stop).ConfigureAwait(false);
            if (info.Role != RedisRole.Primary || !RedisNotebook.LeadsOwn(notes, info)) return 0;
            if (notes.Members.Length > 1) info = await WithBacklogAsync(endpoint, passwords, client, info, stop).ConfigureAwait(false);
            var (from, disk) = (info.Offset, RedisDisk.Look(reader, notes.DataDir));
            info = await InfoAsync(client, stop).ConfigureAwait(false); // Files that are looked at first are never newer than what it says.
            if (info.Role != RedisRole.Primary) return 0;
            var data = new RedisNotebook(reader, writer, clock).DataOf(info, disk).Measured(disk);
            var next = notes with
            {
                Own = data with { Changed = data.SameAs(notes.Own) ? notes.Own!.Changed : data.Changed },
                Files = NotedFiles.Of(disk, from),
                CopyOf = "",
                Strayed = "",
            };
            // Where it cannot be noted, its end counts as one that nobody saw.
            var noted = RedisGateProgram.Note(writer, path, next);
            if (noted && invocation is { Length: > 0 })
                noted = writer.Write(RedisStop.Beside(path), new RedisStop(invocation, data.Id, data.Offset, data.Appending).Render(), new() { Uid = 0, Gid = 0, Mode = 0x180 }).IsDone; // 0600
            if (noted) return 0;
            say($"<4>{path} could not be written; agentmetald tries again");
        }
        catch (RespException e)
        {
            say($"<5>what the server holds was not noted ({e.Message}); agentmetald does it at its next look");
        }
        catch (OperationCanceledException)
        {
            say("<5>what the server holds was not noted within three seconds; agentmetald does it at its next look");
        }
        return 1;
    }

    /// <summary>
    /// A primary takes another id when its first replica attaches, because only then it begins a replication backlog (replication.c, syncCommand). One that begins it
    /// now keeps its id: a request for a copy begins it, and a connection that ends within the delay of a diskless copy (5 s) costs no fork.
    /// </summary>
    private static async Task<RedisInfo> WithBacklogAsync(RespEndpoint endpoint, ImmutableArray<string?> passwords, RespClient client, RedisInfo info, CancellationToken stop)
    {
        if (info["repl_backlog_active"] == "1") return info;
        foreach (var (key, fits) in new (string, Func<string, bool>)[] { ("repl-diskless-sync", v => v == "yes"), ("repl-diskless-sync-delay", v => int.TryParse(v, CultureInfo.InvariantCulture, out var s) && s > 0) })
            if (await client.CallAsync(RespCommand.Of("CONFIG", "GET", key), s_answer, stop).ConfigureAwait(false) is not { Items: [_, var value] } || !fits(value.Text)) return info;
        var asking = await RedisSession.OpenAsync(endpoint, passwords, s_answer, stop).ConfigureAwait(false);
        using (asking.Client)
        {
            if (asking.Client is null) return info;
            await asking.Client.CallAsync([RespCommand.Of("PSYNC", "?", "-1")], first: 0, s_answer, stop).ConfigureAwait(false);
            for (var i = 0; i < 20 && info["repl_backlog_active"] != "1"; i++)
            {
                await Task.Delay(5, stop).ConfigureAwait(false);
                info = await InfoAsync(client, stop).ConfigureAwait(false);
            }
        }
        return info;
    }

    private static async Task<RedisInfo> InfoAsync(RespClient client, CancellationToken stop) =>
        RedisInfo.Of(await client.CallAsync(RedisInfo.Commands, s_answer, stop).ConfigureAwait(false));

    /// <summary>The member's own door, as its configuration names it.</summary>
    private static RespEndpoint? Socket(IFileReader reader, RedisNotes notes) =>
        Text(reader, notes.ConfDir + "/redis.conf") is { } config
        && Encoding.UTF8.GetString(config).Split('\n').FirstOrDefault(l => l.StartsWith("unixsocket ", StringComparison.Ordinal)) is { } line
            ? RespEndpoint.Unix(line["unixsocket ".Length..].Trim()) : null;

    private static byte[]? Text(IFileReader reader, string path) =>
        reader.Read(path, MaxBytes) is { IsSeen: true, Value: { State.Exists: true } file } ? file.Bytes.ToArray() : null;
}
