using System.Collections.Immutable;
using System.Globalization;
using System.Text.Json;
using AgentMetal.NodeAgent.Host.Files;
using AgentMetal.NodeAgent.Host.Libvirt;
using AgentMetal.NodeAgent.Pipeline;
using AgentMetal.Runtime.Resources.Kinds;

namespace AgentMetal.NodeAgent.Agents.Instance;

/// <summary>What the machines of this host do: one call to libvirt for all of them, and the end of each one's console. Rates are between two looks. Of a domain that was taken over only the pass tells.</summary>
internal sealed class InstanceDetails(ILibvirtReader domains, IFileReader files, TimeProvider clock, InstanceRoots roots) : IMemberDetails
{
    private sealed record Counted(long At, long Cpu, long Read, long Written, long Received, long Sent);

    private Dictionary<string, Counted> _before = new(StringComparer.Ordinal);

    public string Kind => InstanceKind.Name;

    public async ValueTask<IReadOnlyDictionary<string, ImmutableSortedDictionary<string, string>>> ReadAsync(IReadOnlyList<MemberInput> members, CancellationToken stop)
    {
        var layouts = members.ToDictionary(m => InstanceLayout.Of(m.Project, m.Name, m.ResourceUid, m.Ordinal, roots).Uuid, StringComparer.Ordinal);
        var stats = await domains.StatsAsync([.. layouts.Keys], stop);
        var now = clock.GetTimestamp();
        var (details, counted) = (new Dictionary<string, ImmutableSortedDictionary<string, string>>(StringComparer.Ordinal), new Dictionary<string, Counted>(StringComparer.Ordinal));
        foreach (var one in stats.IsSeen ? stats.Value : [])
        {
            if (!layouts.TryGetValue(one.Uuid, out var member) || one.Power is DomainPower.ShutOff or DomainPower.Crashed) continue;
            var count = counted[one.Uuid] = new(now, one.CpuTimeNs, one.Disks.Sum(d => d.RdBytes), one.Disks.Sum(d => d.WrBytes), one.Nics.Sum(n => n.RxBytes), one.Nics.Sum(n => n.TxBytes));
            details[member.Key] = Of(one, count, _before.GetValueOrDefault(one.Uuid));
        }
        if (stats.IsSeen) _before = counted;
        foreach (var member in members.Where(m => !m.Absent && ShowsConsole(m)))
            if (Console(member) is { Length: > 0 } lines) details[member.Key] = details.GetValueOrDefault(member.Key, MemberDetails.None).SetItem(InstanceDetail.Console, lines);
        return details;
    }

    private ImmutableSortedDictionary<string, string> Of(DomainStats s, Counted now, Counted? before)
    {
        var all = MemberDetails.None.ToBuilder();
        all[InstanceDetail.Cpus] = Text(s.Vcpus);
        all[InstanceDetail.MemoryUsed] = Text(s.RssKiB * 1024);
        all[InstanceDetail.MemoryAssigned] = Text(s.BalloonCurrentKiB * 1024);
        if (!s.Disks.IsEmpty) all[InstanceDetail.DiskAllocated] = Text(s.Disks.Sum(d => d.Allocation));
        // Counters that went back are those of a machine that began anew.
        if (before is null || now.Cpu < before.Cpu) return all.ToImmutable();
        var seconds = clock.GetElapsedTime(before.At, now.At).TotalSeconds;
        if (seconds < 1) return all.ToImmutable();
        all[InstanceDetail.CpuPercent] = Text((long)Math.Round((now.Cpu - before.Cpu) / 1e7 / seconds / Math.Max(1, s.Vcpus)));
        Rate(InstanceDetail.DiskRead, now.Read - before.Read, !s.Disks.IsEmpty);
        Rate(InstanceDetail.DiskWritten, now.Written - before.Written, !s.Disks.IsEmpty);
        Rate(InstanceDetail.Received, now.Received - before.Received, !s.Nics.IsEmpty);
        Rate(InstanceDetail.Sent, now.Sent - before.Sent, !s.Nics.IsEmpty);
        return all.ToImmutable();

        void Rate(string key, long bytes, bool any)
        {
            if (any) all[key] = Text((long)Math.Max(0, bytes / seconds));
        }
    }

    private string Console(MemberInput member)
    {
        var tail = files.Tail(InstanceLayout.Of(member.Project, member.Name, member.ResourceUid, member.Ordinal, roots).ConsoleLog, ConsoleTail.Bytes);
        return tail.IsSeen ? string.Join('\n', ConsoleTail.Lines(tail.Value.Bytes.Span, whole: tail.Value.State.Size <= tail.Value.Bytes.Length)) : "";
    }

    private static bool ShowsConsole(MemberInput member)
    {
        try { return InstanceSpec.Parse(member.Spec).ConsoleInStatus; }
        catch (JsonException) { return false; }
    }

    private static string Text(long number) => number.ToString(CultureInfo.InvariantCulture);
}
