using System.Globalization;
using System.Text.Json;
using AgentMetal.NodeAgent.Host.Files;

namespace AgentMetal.NodeAgent.Agents.Redis.Data;

/// <summary>How a server ended, as far as its files tell whether they hold all that it had acknowledged.</summary>
internal enum ServerEnd
{
    /// <summary>Its host went down under it, or what lies there is not what it left.</summary>
    Unseen,

    /// <summary>It was killed, or its disk was full: what it had acknowledged and not written yet is in no file of its own.</summary>
    Broken,

    /// <summary>In order: what it would load is all that it had.</summary>
    Whole,
}

/// <summary>
/// The end of a server, as its unit saw it: what it had written was brought to the disk then, however it ended. There is none where the host went down under it, and none
/// while it runs.
/// </summary>
/// <param name="At">Unix seconds.</param>
/// <param name="Role">What role.conf said.</param>
/// <param name="Files">The append-only file as it was left (<see cref="FormOf(AofFacts)"/>); empty = none.</param>
internal sealed record RedisEnd(long At, string Role, string Files)
{
    private const int MaxBytes = 4096;

    /// <summary>The server ended by itself and could write: its append-only file has all that it acknowledged. Null = of a build that did not ask.</summary>
    public bool? Wrote { get; init; }

    /// <summary>The dump that the server saved as the last thing that it did (<see cref="FormOf(DumpFacts)"/>); empty = it saved none at its end.</summary>
    public string Saved { get; init; } = "";

    /// <summary>Where it lies.</summary>
    public static string Beside(string notes) => notes + ".end";

    public static string FormOf(AofFacts aof) => string.Create(CultureInfo.InvariantCulture, $"{aof.Part}/{aof.PartSize}/{aof.Base}/{aof.Size}");

    public static string FormOf(DumpFacts dump) => string.Create(CultureInfo.InvariantCulture, $"{dump.Made}/{dump.Size}/{dump.Keys}/{dump.Position?.Id}/{dump.Position?.Offset}");

    /// <summary>How the primary ended whose files lie there.</summary>
    /// <param name="files">Of this host.</param>
    /// <param name="notes">Path of the notes.</param>
    /// <param name="disk">What lies there.</param>
    /// <param name="appendOnly">What a start would load: the append-only file, or the dump.</param>
    public static ServerEnd Of(IFileReader files, string notes, RedisDisk disk, bool appendOnly)
    {
        if (files.Read(Beside(notes), MaxBytes) is not { IsSeen: true, Value: { State: { Exists: true, Uid: 0 } } file } || Parse(file.Bytes.Span) is not { Role: RedisRole.Primary } end)
            return ServerEnd.Unseen;
        if (appendOnly) return disk.Aof is not { } aof || end.Files != FormOf(aof) ? ServerEnd.Unseen : end.Wrote == false ? ServerEnd.Broken : ServerEnd.Whole;
        return disk.Dump is { } dump && end.Saved == FormOf(dump) ? ServerEnd.Whole : ServerEnd.Broken;
    }

    public byte[] Render() => JsonSerializer.SerializeToUtf8Bytes(this, RedisNotesJson.Default.RedisEnd);

    private static RedisEnd? Parse(ReadOnlySpan<byte> json)
    {
        try { return JsonSerializer.Deserialize(json, RedisNotesJson.Default.RedisEnd); }
        catch (JsonException) { return null; }
    }
}
