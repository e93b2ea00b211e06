using System.Text;
using AgentMetal.NodeAgent.Host.Files;

namespace AgentMetal.NodeAgent.Agents.Redis.Data;

/// <summary>
/// "agentmetald redis-end NOTES", which the unit runs after each end of its server (ExecStopPost= of systemd.service(5)), however it ended. A server that writes its
/// append-only file leaves the last second of it to the kernel (appendfsync everysec): that is brought to the disk here, and then it is noted. Where the host goes down
/// under the server nobody comes to that, and the gate knows by it that the end of the file may be missing. One that is killed may have acknowledged what it had not written
/// yet (up to two seconds where the disk is slow, or what a full one refused), and one with snapshots has in its dump what it had only
/// where it saved at its end. One that was not asked before it ended
/// (<see cref="RedisStop"/>) may have been told by a hand to write no more. It needs no daemon.
/// </summary>
internal static class RedisEndProgram
{
    private const int MaxFiles = 1000;

    /// <summary>Where less is free, the server may not have been able to write at its end: it says so in its log only, and ends in order.</summary>
    private const long Room = 16 * 1024 * 1024;

    /// <summary>Between the last save of a server and the end of its process, and more for each gigabyte whose memory the kernel takes back.</summary>
    private static readonly TimeSpan s_end = TimeSpan.FromSeconds(1);

    /// <param name="path">Of the notes.</param>
    /// <param name="reader">Of this host.</param>
    /// <param name="writer">Of this host.</param>
    /// <param name="clock">When it is.</param>
    /// <param name="exit">How the unit says that it ended.</param>
    /// <param name="say">To the journal.</param>
    /// <returns>0 when the end was noted or none was to be.</returns>
    public static int Run(string path, IFileReader reader, IFileWriter writer, TimeProvider clock, ServerExit exit, Action<string> say)
    {
        var now = clock.GetUtcNow();
        // A start that the gate held back is no end of a server, and the files are as little whole as before.
        if (exit.Result == "exec-condition" || exit.Code is not { Length: > 0 }) return 0;
        if (RedisGateProgram.Text(reader, path) is not { } json || RedisNotes.Parse(Encoding.UTF8.GetBytes(json)) is not { } notes) return 0;
        var (dir, dump) = (notes.DataDir + "/appendonlydir", notes.DataDir + "/dump.rdb");
        if (reader.Look(notes.DataDir) is not { IsSeen: true, Value.Kind: FileKind.Directory }) return 0; // It is gone, and its end says nothing.
        List<string> files = reader.List(dir, MaxFiles) is { IsSeen: true, Value: var names } ? [.. names.Select(n => dir + "/" + n), dir] : [];
        if (reader.Look(dump) is { IsSeen: true, Value.Kind: FileKind.File }) files.Add(dump);
        foreach (var name in files.Append(notes.DataDir))
            if (writer.Sync(name) is { IsDone: false } failed)
            {
                say($"<4>the end of the server is not noted, for what it wrote last may not be on its disk: {failed.Detail}");
                return 1;
            }
        if (RedisDisk.Look(reader, notes.DataDir) is not { Unseen: "" } disk) return 0;
        var asked = RedisStop.Read(reader, path, exit.Invocation);
        var role = RedisGateProgram.Text(reader, notes.ConfDir + "/role.conf") is { } text ? RedisRender.ParseRole(text) ?? "other" : "other";
        var end = new RedisEnd(now.ToUnixTimeSeconds(), role, disk.Aof is { } aof ? RedisEnd.FormOf(aof) : "")
        {
            Wrote = exit.Code == "exited" && asked is { Appending: true } && reader.Space(notes.DataDir) is { IsSeen: true, Value.AvailableBytes: >= Room },
            Saved = exit.IsOrderly && disk.Dump is { } last && (notes.Members.Length > 1 ? HasAll(last, asked) : reader.ChangedAt(dump) is { } changed && IsLast(now - changed, last.Size)) ? RedisEnd.FormOf(last) : "",
        };
        var written = writer.Write(RedisEnd.Beside(path), end.Render(), new() { Uid = 0, Gid = 0, Mode = 0x180 }); // 0600
        if (written.IsDone) return 0;
        say($"<4>the end of the server could not be noted: {written.Detail}");
        return 1;
    }

    /// <summary>
    /// Also an orderly end may be one without a save (SHUTDOWN NOSAVE, or save points that a hand took away): the dump says how far it
    /// goes, and the server was asked how far it was.
    /// </summary>
    private static bool HasAll(DumpFacts last, RedisStop? asked) => asked is not null && last.Position is { } at && at.Id == asked.Id && at.Offset >= asked.Offset;

    /// <summary>
    /// A server that nobody follows has no history to say: the time of its dump tells it, and whether it is older than one before.
    /// </summary>
    private static bool IsLast(TimeSpan since, long size) => since >= TimeSpan.FromMilliseconds(-50) && since <= s_end * (1 + size / 1_000_000_000.0);
}

/// <summary>How a unit says that its process ended (systemd.exec(5)).</summary>
/// <param name="Result">SERVICE_RESULT.</param>
/// <param name="Code">EXIT_CODE: there is one only where the server itself ran.</param>
/// <param name="Status">EXIT_STATUS.</param>
/// <param name="Invocation">INVOCATION_ID.</param>
internal sealed record ServerExit(string? Result, string? Code, string? Status, string? Invocation)
{
    public bool IsOrderly => this is { Result: "success", Code: "exited", Status: "0" };
}
