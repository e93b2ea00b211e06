using System.Globalization;
using System.Text;
using AgentMetal.NodeAgent.Host.Files;

namespace AgentMetal.NodeAgent.Agents.Redis.Data;

/// <summary>
/// How often the server of a member was started, in two places: with the notes (<see cref="GateRecord.Starts"/>), and beside its configuration. Data, notes and the mark of the end that are
/// put back together fit each other; that the configuration knows of later starts tells that they are old.
/// </summary>
internal static class RedisStarts
{
    public const string File = "starts";

    private const int MaxBytes = 256 * 1024;

    /// <summary>The notes are of an earlier life of this server than its configuration knows of: what it had since is known to nobody here.</summary>
    /// <param name="files">Of this host.</param>
    /// <param name="path">Of the notes.</param>
    /// <param name="notes">What lies there.</param>
    public static bool ArePutBack(IFileReader files, string path, RedisNotes notes) => Noted(files, path) < Counted(files, notes);

    /// <summary>What the notes tell where they were put back: who the members are, and nothing of what they held.</summary>
    public static RedisNotes MembersOf(RedisNotes notes) =>
        notes with { Own = null, Files = new(), CopyOf = "", Strayed = "", Past = [], Peers = notes.Peers.Clear() };

    /// <summary>The number of the start that comes.</summary>
    public static long Next(IFileReader files, string path, RedisNotes notes) => Math.Max(Noted(files, path), Counted(files, notes)) + 1;

    /// <summary>A full disk is no reason to keep a server down: one start that is not counted is told apart from the next.</summary>
    public static void Count(IFileWriter writer, RedisNotes notes, long number) =>
        writer.Write($"{notes.ConfDir}/{File}", Encoding.UTF8.GetBytes(string.Create(CultureInfo.InvariantCulture, $"{notes.Uid} {number}\n")), new() { Uid = 0, Gid = 0, Mode = 0x180 }); // 0600

    private static long Noted(IFileReader files, string path) =>
        files.Read(path + ".gate", MaxBytes) is { IsSeen: true, Value: { State.Exists: true } file } ? GateRecord.Parse(file.Bytes.Span)?.Starts ?? 0 : 0;

    /// <summary>Another resource of the same name was started as often as it was.</summary>
    private static long Counted(IFileReader files, RedisNotes notes) =>
        RedisGateProgram.Text(files, $"{notes.ConfDir}/{File}")?.TrimEnd('\n').Split(' ') is [var uid, var number] && uid == notes.Uid
        && long.TryParse(number, NumberStyles.None, CultureInfo.InvariantCulture, out var n) ? n : 0;
}
