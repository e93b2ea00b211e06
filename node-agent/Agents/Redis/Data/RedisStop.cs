using System.Text.Json;
using AgentMetal.NodeAgent.Host.Files;

namespace AgentMetal.NodeAgent.Agents.Redis.Data;

/// <summary>
/// What a primary said of itself when it was told to end (ExecStop= of systemd.service(5)). Only a server that was asked is known to have
/// written what it acknowledged: one that exits by itself
/// may have been told by a hand to append or to save no more, and leaves no trace of that.
/// </summary>
/// <param name="Invocation">Which run of the unit: a mark of another one says nothing.</param>
/// <param name="Id">Of its history.</param>
/// <param name="Offset">How far it was.</param>
/// <param name="Appending">It wrote each change to its append-only file, and could.</param>
internal sealed record RedisStop(string Invocation, string Id, long Offset, bool Appending)
{
    private const int MaxBytes = 4096;

    /// <summary>Where it lies.</summary>
    public static string Beside(string notes) => notes + ".stop";

    /// <summary>Of this run of the unit; null = it was not asked.</summary>
    public static RedisStop? Read(IFileReader files, string notes, string? invocation)
    {
        if (invocation is not { Length: > 0 } || files.Read(Beside(notes), MaxBytes) is not { IsSeen: true, Value: { State: { Exists: true, Uid: 0 } } file }) return null;
        try { return JsonSerializer.Deserialize(file.Bytes.Span, RedisNotesJson.Default.RedisStop) is { } stop && stop.Invocation == invocation ? stop : null; }
        catch (JsonException) { return null; }
    }

    public byte[] Render() => JsonSerializer.SerializeToUtf8Bytes(this, RedisNotesJson.Default.RedisStop);
}
