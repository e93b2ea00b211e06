using System.Collections.Immutable;
using AgentMetal.NodeAgent.Agents.Redis.Data;
using AgentMetal.NodeAgent.Host.Files;
using AgentMetal.NodeAgent.Pipeline;
using AgentMetal.Runtime.Resources.Kinds;

namespace AgentMetal.NodeAgent.Agents.Redis;

/// <summary>What a member holds, and what of it is on no disk, between two passes: from the notes that each probe keeps, so that no server is asked for it.</summary>
internal sealed class RedisDetails(IFileReader files, RedisRoots roots) : IMemberDetails
{
    public string Kind => RedisKind.Name;

    public ValueTask<IReadOnlyDictionary<string, ImmutableSortedDictionary<string, string>>> ReadAsync(IReadOnlyList<MemberInput> members, CancellationToken stop)
    {
        var read = new Dictionary<string, ImmutableSortedDictionary<string, string>>(StringComparer.Ordinal);
        foreach (var member in members)
            if (Of(member) is { Count: > 0 } told) read[member.Key] = told;
        return new(read);
    }

    private ImmutableSortedDictionary<string, string> Of(MemberInput member)
    {
        var told = MemberDetails.None;
        if (member.Absent || RedisNotebook.Read(files, RedisLayout.Of(member.Project, member.Name, member.Ordinal, roots).Notes) is not { Own: { } own } notes || notes.Uid != member.ResourceUid) return told;
        told = told.Add(RedisDetail.Holds, AtMost.Keys(own.Keys));
        // A replica that dies has all of it again from its primary.
        return own.Role == RedisRole.Primary && RedisGivesUp.NotOnDisk(notes.Keeps, own, notes.Files.DumpMade) is { } unsaved ? told.Add(RedisDetail.Unsaved, unsaved) : told;
    }
}
