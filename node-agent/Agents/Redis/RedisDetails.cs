using System.Collections.Immutable;
using AgentMetal.NodeAgent.Agents.Redis.Data;
using AgentMetal.NodeAgent.Host.Files;
using AgentMetal.NodeAgent.Pipeline;
using AgentMetal.Runtime.Resources.Kinds;

namespace AgentMetal.NodeAgent.Agents.Redis;

/// <summary>What a primary has on no disk, between two passes: from the notes that each probe keeps, so that no server is asked for it. A member with an append-only file costs nothing.</summary>
internal sealed class RedisDetails(IFileReader files, RedisRoots roots) : IMemberDetails
{
    public string Kind => RedisKind.Name;

    public ValueTask<IReadOnlyDictionary<string, ImmutableSortedDictionary<string, string>>> ReadAsync(IReadOnlyList<MemberInput> members, CancellationToken stop)
    {
        var read = new Dictionary<string, ImmutableSortedDictionary<string, string>>(StringComparer.Ordinal);
        foreach (var member in members)
            if (NotOnDisk(member) is { } unsaved) read[member.Key] = MemberDetails.None.Add(RedisGivesUp.Unsaved, unsaved);
        return new(read);
    }

    private string? NotOnDisk(MemberInput member)
    {
        // Canonical JSON has one form.
        if (member.Absent || member.Spec.Span.IndexOf("\"appendonly\":true"u8) >= 0) return null;
        var path = RedisLayout.Of(member.Project, member.Name, member.Ordinal, roots).Notes;
        if (RedisNotebook.Read(files, path) is not { Own.Role: RedisRole.Primary } notes || notes.Uid != member.ResourceUid) return null;
        return RedisGivesUp.NotOnDisk(notes.Keeps, notes.Own, notes.Files.DumpMade);
    }
}
