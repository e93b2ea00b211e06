using System.Text;
using AgentMetal.NodeAgent.Host.Files;

namespace AgentMetal.NodeAgent.Agents.Redis.Data;

/// <summary>
/// "agentmetald redis-end NOTES", which the unit runs after each end of its server (ExecStopPost= of systemd.service(5)), however it ended. A server that writes its
/// append-only file leaves the last second of it to the kernel (appendfsync everysec): that is brought to the disk here, and then it is noted. Where the host goes down
/// under the server nobody comes to that, and the gate knows by it that the end of the file may be missing. It needs no daemon.
/// </summary>
internal static class RedisEndProgram
{
    private const int MaxFiles = 1000;

    /// <param name="path">Of the notes.</param>
    /// <param name="reader">Of this host.</param>
    /// <param name="writer">Of this host.</param>
    /// <param name="clock">When it is.</param>
    /// <param name="result">SERVICE_RESULT of systemd.exec(5).</param>
    /// <param name="exitCode">EXIT_CODE of systemd.exec(5): there is one only where the server itself ran.</param>
    /// <param name="say">To the journal.</param>
    /// <returns>0 when the end was noted or none was to be.</returns>
    public static int Run(string path, IFileReader reader, IFileWriter writer, TimeProvider clock, string? result, string? exitCode, Action<string> say)
    {
        // A start that the gate held back is no end of a server, and the files are as little whole as before.
        if (result == "exec-condition" || exitCode is not { Length: > 0 }) return 0;
        if (RedisGateProgram.Text(reader, path) is not { } json || RedisNotes.Parse(Encoding.UTF8.GetBytes(json)) is not { } notes) return 0;
        var dir = notes.DataDir + "/appendonlydir";
        if (reader.List(dir, MaxFiles) is not { IsSeen: true, Value: var names }) return 0; // It keeps none, or its directory is gone.
        foreach (var name in names.Select(n => dir + "/" + n).Append(dir).Append(notes.DataDir))
            if (writer.Sync(name) is { IsDone: false } failed)
            {
                say($"<4>the end of the server is not noted, for what it wrote last may not be on its disk: {failed.Detail}");
                return 1;
            }
        if (RedisDisk.Look(reader, notes.DataDir) is not { Unseen: "", Aof: { } aof }) return 0;
        var role = RedisGateProgram.Text(reader, notes.ConfDir + "/role.conf") is { } text ? RedisRender.ParseRole(text) ?? "other" : "other";
        var written = writer.Write(RedisEnd.Beside(path), new RedisEnd(clock.GetUtcNow().ToUnixTimeSeconds(), role, RedisEnd.FormOf(aof)).Render(), new() { Uid = 0, Gid = 0, Mode = 0x180 }); // 0600
        if (written.IsDone) return 0;
        say($"<4>the end of the server could not be noted: {written.Detail}");
        return 1;
    }
}
