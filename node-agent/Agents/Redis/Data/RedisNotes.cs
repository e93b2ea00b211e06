using System.Collections.Immutable;
using System.Globalization;
using System.Text.Json;
using System.Text.Json.Serialization;
using AgentMetal.NodeAgent.Host.Files;

namespace AgentMetal.NodeAgent.Agents.Redis.Data;

/// <summary>A member as a host noted it.</summary>
/// <param name="Ordinal">Which.</param>
/// <param name="Host">Where it is reached.</param>
/// <param name="Port">Where it is reached.</param>
internal sealed record NotedMember(int Ordinal, string Host, int Port)
{
    /// <summary>Operators have signed that its host is gone for good: it is not asked, and what it held counts as given up.</summary>
    public bool Struck { get; init; }
}

/// <summary>What a member held when it was last seen to answer.</summary>
internal sealed record NotedData
{
    public string Role { get; init; } = "";
    public string Id { get; init; } = "";
    public long Offset { get; init; }
    public string Id2 { get; init; } = "";
    public long Offset2 { get; init; } = -1;

    /// <summary>Keys in all databases, and how many of them expire by themselves.</summary>
    public long Keys { get; init; }

    public long Expires { get; init; }

    /// <summary>Changes since the last good save.</summary>
    public long Changes { get; init; }

    /// <summary>It wrote each change to its append-only file, and could.</summary>
    public bool Appending { get; init; }

    /// <summary>Bytes of its append-only file at this offset, with what was about to be written; null = it does not append, or makes the file anew.</summary>
    public long? Appended { get; init; }

    /// <summary>
    /// Of a member of this host: the same, measured as its files are. A server that was started without any does not count the base that it makes first (aof.c,
    /// aofOpenIfNeededOnServerStart), and has none to tell until it makes the file anew.
    /// </summary>
    /// <param name="disk">Looked at before the server was asked: it holds no more than the server had written then, or it is another file.</param>
    public NotedData Measured(RedisDisk? disk)
    {
        if (Appended is not { } said) return this;
        var all = said + (AppendedBase == 0 ? disk?.Aof?.BaseSize ?? 0 : 0);
        return this with { Appended = disk?.Aof is { } aof && aof.Size <= all ? all : null };
    }

    /// <summary>Bytes of its append-only file when that was made anew last (INFO, aof_base_size).</summary>
    public long AppendedBase { get; init; }

    /// <summary>Of a peer: both files at one moment; null = that was never seen.</summary>
    public NotedPair? Pair { get; init; }

    /// <summary>Unix seconds.</summary>
    public long At { get; init; }

    /// <summary>Unix seconds at which its data was first seen as it is now.</summary>
    public long Changed { get; init; }

    [JsonIgnore]
    public RedisPosition Position => new(Id, Offset) { Id2 = Id2, Offset2 = Offset2 };

    /// <summary>Whether a person would call the data another, apart from what moves in an idle server.</summary>
    public bool SameAs(NotedData? other) => other is not null && (Role, Id, Id2, Keys, Changes, Appending) == (other.Role, other.Id, other.Id2, other.Keys, other.Changes, other.Appending);
}

/// <summary>
/// Where a member and its peer stood in one stream when both were asked at once, and how long their append-only files were. Both files get the same commands: what each
/// has grown by since tells which of them has more, whatever the stream carries besides.
/// </summary>
/// <param name="Offset">Of this member.</param>
/// <param name="Appended">Of this member.</param>
/// <param name="Part">Name of the last part of this member's file: one that was made anew since is no measure.</param>
/// <param name="PeerOffset">Of the peer.</param>
/// <param name="PeerAppended">Of the peer.</param>
/// <param name="PeerBase">Of the peer: another one = it was made anew since.</param>
internal sealed record NotedPair(long Offset, long Appended, string Part, long PeerOffset, long PeerAppended, long PeerBase);

/// <summary>A history that a member led or followed before it was started anew with its data.</summary>
/// <param name="Id">Its replication id.</param>
/// <param name="UpTo">How far the files went at most, by what they had grown.</param>
internal sealed record NotedPast(string Id, long UpTo)
{
    public const int Most = 8;
}

/// <summary>Files as they were while the server answered.</summary>
internal sealed record NotedFiles
{
    public int Number { get; init; }
    public string Part { get; init; } = "";
    public long PartSize { get; init; }
    public string Base { get; init; } = "";
    public long BaseSize { get; init; }
    public long DumpMade { get; init; }
    public long DumpSize { get; init; }

    /// <summary>How far the server was in its replication stream before the files were looked at: all that they hold beyond is in the stream from here; -1 = unknown.</summary>
    public long From { get; init; } = -1;

    /// <summary>
    /// What a server that answers has on its disk. One whose files are gone beneath it does not know it and goes on: what was there stays noted, so that it is missed at the next
    /// start, also where the directory was made anew meanwhile.
    /// </summary>
    public NotedFiles With(RedisDisk disk, long from = -1)
    {
        var now = Of(disk, from);
        if (disk.Aof is null) now = now with { Number = Number, Part = Part, PartSize = PartSize, Base = Base, BaseSize = BaseSize, From = From };
        return disk.Dump is null ? now with { DumpMade = DumpMade, DumpSize = DumpSize } : now;
    }

    public static NotedFiles Of(RedisDisk disk, long from = -1) => new()
    {
        From = from,
        Number = disk.Aof?.Number ?? 0,
        Part = disk.Aof?.Part ?? "",
        PartSize = disk.Aof?.PartSize ?? 0,
        Base = disk.Aof?.Base ?? "",
        BaseSize = disk.Aof?.BaseSize ?? 0,
        DumpMade = disk.Dump?.Made ?? 0,
        DumpSize = disk.Dump?.Size ?? 0,
    };
}

/// <summary>
/// What this host knows of one member and of its peers, kept outside the data directory, so that it outlives the data and the daemon. The start
/// gate in the unit reads it when nobody else is there to ask. It holds no secret and no key.
/// </summary>
internal sealed record RedisNotes
{
    public const int Format = 1;

    public int Version { get; init; } = Format;

    /// <summary>Of the resource: an equal name is not the same resource.</summary>
    public required string Uid { get; init; }

    public required int Ordinal { get; init; }
    public ImmutableArray<NotedMember> Members { get; init; } = [];

    /// <summary>Uids of struck-off hosts whose members' data was forgotten here.</summary>
    public ImmutableArray<string> Gone { get; init; } = [];

    /// <summary>What the declared persistence keeps: one of <see cref="Kept"/>.</summary>
    public string Keeps { get; init; } = "";

    public required string DataDir { get; init; }
    public required string ConfDir { get; init; }

    /// <summary>Null = it was never seen to answer.</summary>
    public NotedData? Own { get; init; }

    public NotedFiles Files { get; init; } = new();

    /// <summary>Address of the member that its data is a copy of: it followed it with the link up, and never led since. Empty = none.</summary>
    public string CopyOf { get; init; } = "";

    /// <summary>
    /// Form of the append-only file (<see cref="FormOf"/>) that was found to end with writes of this member's own: a hand made it a primary after the last note, and
    /// it ended before the next. Empty = none was.
    /// </summary>
    public string Strayed { get; init; } = "";

    /// <summary>
    /// Histories whose data its files held when it was started from them as primary: a start gives its history a new id, and a replica that has not had its new copy yet
    /// still names the one before. The latest first.
    /// </summary>
    public ImmutableArray<NotedPast> Past { get; init; } = [];

    public static string FormOf(AofFacts aof) => string.Create(CultureInfo.InvariantCulture, $"{aof.Part}/{aof.PartSize}");

    /// <summary>By ordinal.</summary>
    public ImmutableSortedDictionary<int, NotedData> Peers { get; init; } = ImmutableSortedDictionary<int, NotedData>.Empty;

    /// <summary>Null when it is none, or of a later format.</summary>
    public static RedisNotes? Parse(ReadOnlySpan<byte> json)
    {
        try
        {
            return JsonSerializer.Deserialize(json, RedisNotesJson.Default.RedisNotes) is { Version: Format } notes ? notes : null;
        }
        catch (JsonException)
        {
            return null;
        }
    }

    public byte[] Render() => JsonSerializer.SerializeToUtf8Bytes(this, RedisNotesJson.Default.RedisNotes);
}

/// <summary>What a declared persistence keeps.</summary>
internal static class Kept
{
    public const string Memory = "memory", Snapshots = "snapshots", AppendOnly = "append-only";

    public static string Of(ImmutableSortedDictionary<string, string> settings) => settings.GetValueOrDefault("appendonly") == "yes" ? AppendOnly
        : settings.GetValueOrDefault("save", "") != "" ? Snapshots : Memory;
}

/// <summary>A one-time word of agentmetald to the gate: a person has signed this start, with this loss.</summary>
/// <param name="Role">As role.conf says it.</param>
/// <param name="Until">Unix seconds.</param>
/// <param name="Boot">Of this boot.</param>
internal sealed record GatePass(string Role, long Until, string Boot);

/// <summary>What the gate decided last.</summary>
/// <param name="At">Unix seconds.</param>
/// <param name="Verdict">up, follow or hold.</param>
/// <param name="Role">The role that the server came up with; empty when it did not.</param>
/// <param name="Why">For people.</param>
internal sealed record GateRecord(long At, string Verdict, string Role, string Why)
{
    /// <summary>So many are kept of those before it.</summary>
    private const int MostEarlier = 15;

    /// <summary>Of a hold: the word for the risk; null of a build that did not write it.</summary>
    public string? Code { get; init; }

    /// <summary>Of a hold: what going on may lose, at most; for people.</summary>
    public string? Loss { get; init; }

    /// <summary>Of a start as primary: what it came up without of what it had; for people. Null = nothing is known to be gone.</summary>
    public string? Gone { get; init; }

    /// <summary>Which decision of this member it is; 0 = of a build that did not count them.</summary>
    public long Number { get; init; }

    /// <summary>How often the server was let up; 0 = of a build that did not count.</summary>
    public long Starts { get; init; }

    /// <summary>Decisions before it that people are told of, oldest first: the daemon may not have seen them yet.</summary>
    public ImmutableArray<GateRecord> Earlier { get; init; } = [];

    /// <summary>It came up as it was asked to and with what it had, or a person had signed that: nobody need hear of it.</summary>
    [JsonIgnore]
    public bool IsPlain => Verdict == "up" && Gone is null;

    /// <summary>It and those before it that people are told of, oldest first.</summary>
    [JsonIgnore]
    public IEnumerable<GateRecord> Told => (Earlier.IsDefault ? [] : Earlier).Concat(IsPlain ? [] : [this with { Earlier = [] }]);

    /// <summary>The same as what comes after another one.</summary>
    public GateRecord After(GateRecord? before) => before is null ? this with { Number = 1 }
        : this with { Number = before.Number + 1, Starts = Math.Max(Starts, before.Starts), Earlier = [.. before.Told.TakeLast(MostEarlier)] };

    /// <summary>Null when it is none.</summary>
    public static GateRecord? Parse(ReadOnlySpan<byte> json)
    {
        try { return JsonSerializer.Deserialize(json, RedisNotesJson.Default.GateRecord); }
        catch (JsonException) { return null; }
    }
}

[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase)]
[JsonSerializable(typeof(RedisNotes)), JsonSerializable(typeof(GatePass)), JsonSerializable(typeof(GateRecord)), JsonSerializable(typeof(RedisEnd)), JsonSerializable(typeof(RedisStop))]
internal sealed partial class RedisNotesJson : JsonSerializerContext;

/// <summary>Figures in texts that are signed: rounded up, so that a few more writes do not make another text.</summary>
internal static class AtMost
{
    /// <summary>Up to two significant digits.</summary>
    public static long Rounded(long n)
    {
        long unit = 1;
        while (n / unit >= 100) unit *= 10;
        return (n + unit - 1) / unit * unit;
    }

    /// <summary>What a server says of itself may be anything: a figure that cannot be one is none.</summary>
    public static string Keys(long n) => n == 0 ? "no key" : n is < 0 or > Tools.LossText.MostKeys ? "an unknown number of keys" : string.Create(CultureInfo.InvariantCulture, $"at most {Rounded(n):N0} keys");

    public static string Bytes(long n) => Rounded(n) switch
    {
        >= 10_000_000_000 and var b => string.Create(CultureInfo.InvariantCulture, $"{b / 1_000_000_000} GB"),
        >= 10_000_000 and var b => string.Create(CultureInfo.InvariantCulture, $"{b / 1_000_000} MB"),
        >= 10_000 and var b => string.Create(CultureInfo.InvariantCulture, $"{b / 1_000} kB"),
        var b => string.Create(CultureInfo.InvariantCulture, $"{b} bytes"),
    };

    /// <summary>A time of the day, minutes.</summary>
    public static string Time(long unixSeconds) => unixSeconds <= 0 ? "an unknown time" : DateTimeOffset.FromUnixTimeSeconds(unixSeconds).ToString("yyyy-MM-dd HH:mm 'UTC'", CultureInfo.InvariantCulture);
}
