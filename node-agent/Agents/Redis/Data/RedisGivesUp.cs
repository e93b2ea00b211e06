using System.Collections.Immutable;
using System.Globalization;
using AgentMetal.Runtime.Resources.Kinds;

namespace AgentMetal.NodeAgent.Agents.Redis.Data;

/// <summary>
/// What a member may lose when its process is killed or its host loses power: said before it is made, and beside it while it runs. From what the server does now
/// and what lies on its disk; what is declared stands only for a server that does not answer.
/// </summary>
internal static class RedisGivesUp
{
    /// <summary>Where it is said of a member.</summary>
    public const string Detail = "in a crash", Unsaved = RedisDetail.Unsaved;

    /// <param name="settings">As CONFIG GET shows them.</param>
    /// <param name="members">Of the resource.</param>
    /// <param name="appending">Each change goes to its append-only file; null = nobody has seen that.</param>
    public static string Text(ImmutableSortedDictionary<string, string> settings, int members, bool? appending = null)
    {
        var keeps = Kept.Of(settings);
        var save = settings.GetValueOrDefault("save", "");
        if (keeps == Kept.AppendOnly && appending == false)
            return "its append-only file is not written now (it is made anew, or its disk refuses): " + (save.Length > 0 ? $"all since the last good save goes{Elsewhere(members)}" : $"all since it was last written goes{Elsewhere(members)}");
        return keeps switch
        {
            Kept.AppendOnly => settings.GetValueOrDefault("appendfsync") switch
            {
                "always" => $"nothing that was acknowledged goes: it is on its disk before{Unsent(members)}{Waits(members)}",
                "no" => $"what the kernel has not written to its disk goes, commonly the last 30 seconds of writes{Elsewhere(members)}{Unsent(members)}{Waits(members)}",
                _ => $"up to one second of writes goes, two while its disk is slow{Elsewhere(members)}{Unsent(members)}{Waits(members)}",
            },
            Kept.Snapshots => $"all since the last good save goes{Elsewhere(members)}; it saves {Rules(save)}{Waits(members)}",
            _ => members > 1 ? $"all is in memory only, on {members} members: everything goes when all of them die at once{Unsent(members)}" : "all is in memory only: everything goes when it dies",
        };
    }

    /// <summary>What of it is on no disk now; null = nothing of that kind.</summary>
    /// <param name="keeps">One of <see cref="Kept"/>.</param>
    /// <param name="own">As it was seen last.</param>
    /// <param name="saved">Unix seconds of the dump that lies there and is whole; 0 = there is none.</param>
    public static string? NotOnDisk(string keeps, NotedData? own, long saved) => own is null ? null : keeps switch
    {
        Kept.Memory => AtMost.Keys(own.Keys),
        Kept.Snapshots when saved == 0 => own.Keys == 0 ? "no key, and nothing was saved yet" : AtMost.Keys(own.Keys) + ": nothing was saved yet",
        Kept.Snapshots => own.Changes == 0 ? $"nothing: no change since the last good save, of {AtMost.Time(saved)}"
            : string.Create(CultureInfo.InvariantCulture, $"at most {AtMost.Rounded(own.Changes):N0} changes since the last good save, of {AtMost.Time(saved)}"),
        _ => null,
    };

    /// <summary>A save and a rewrite copy what is written meanwhile: where the limit leaves no room for that, the kernel ends them, or the server.</summary>
    public static ImmutableArray<string> Room(RedisGoal goal) => goal is { Persistent: true, MemoryLimit: > 0 } && long.TryParse(goal.Settings.GetValueOrDefault("maxmemory"), NumberStyles.None, CultureInfo.InvariantCulture, out var max)
        && max > goal.MemoryLimit / 2
        ? [$"in a save: its data may be {Pipeline.Amounts.Of(max)}, and limits.memory {Pipeline.Amounts.Of(goal.MemoryLimit)} leaves less than as much again for what is written meanwhile: the kernel may kill it then"] : [];

    /// <summary>Of a member as it is seen.</summary>
    public static ImmutableSortedDictionary<string, string> Of(RedisGoal goal, RedisState s)
    {
        var told = Pipeline.MemberDetails.None;
        // A replica that dies has all of it again from its primary.
        if (goal.Adopt.Length > 0 || (s.Answers ? !s.Leads : !goal.IsPrimary)) return told;
        var settings = s.Answers ? s.Live : goal.Settings;
        told = told.SetItem(Detail, s.Answers && Kept.Of(settings) == Kept.AppendOnly && s.Disk.Aof is null && !s.Rewriting
            ? $"its append-only file is gone from its disk: everything goes{Elsewhere(goal.Members.Length)}" : Text(settings, goal.Members.Length, s.Own?.Appending));
        return NotOnDisk(Kept.Of(settings), s.Own ?? s.Notes?.Own, s.Disk.Dump is { Damage: "" } dump ? dump.Made : 0) is { } unsaved ? told.SetItem(Unsaved, unsaved) : told;
    }

    private static string Elsewhere(int members) => members > 1 ? ", unless a replica that was sent it lives" : "";

    private static string Unsent(int members) => members > 1 ? "; what no replica was sent yet goes with its host" : "";

    /// <summary>What that costs: the gate does not let up what may be less than a replica holds before that one is seen.</summary>
    private static string Waits(int members) => members > 1 ? "; where its host went down under it or it was killed, it starts once its replicas are seen, or by signature" : "";

    /// <summary>"after 3600 s with 1 change, 60 s with 10000".</summary>
    private static string Rules(string save)
    {
        var words = save.Split(' ', StringSplitOptions.RemoveEmptyEntries);
        return "after " + string.Join(", ", words.Chunk(2).Where(c => c.Length == 2).Select(c => $"{c[0]} s with {c[1]} change{(c[1] == "1" ? "" : "s")}"));
    }
}
