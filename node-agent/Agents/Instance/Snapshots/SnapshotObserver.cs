using System.Text.Json;
using AgentMetal.NodeAgent.Host.Libvirt;
using AgentMetal.Runtime.Execution;
using AgentMetal.Runtime.Planning;

namespace AgentMetal.NodeAgent.Agents.Instance.Snapshots;

/// <summary>Reads one snapshot and the machine that it is of.</summary>
internal sealed class SnapshotObserver(SnapshotScope scope, InstanceReaders readers) : IStateObserver<MomentState>
{
    public async ValueTask<MomentState> ObserveAsync(CancellationToken stop)
    {
        var marker = readers.Files.Read(scope.Marker, 4096);
        if (!marker.IsSeen) throw new WorldException(marker.WhyUnseen!);
        var state = new MomentState { Machine = FactValue.Absent, Made = marker.Value.State.Exists ? Moment.Made : FactValue.Absent, Bytes = Size(marker.Value.Bytes.Span) };
        var domain = await readers.Domains.DomainByNameAsync(scope.Layout.Id, stop);
        if (!domain.IsSeen) throw new WorldException(domain.WhyUnseen!);
        if (!domain.Value.Exists) return state;
        if (DomainXml.Parse(domain.Value.InactiveXml).Config is not { } config || config.Title != scope.Machine) return state with { Machine = Moment.Foreign };
        var snapshots = await readers.Domains.SnapshotsAsync(domain.Value.Uuid, stop);
        if (!snapshots.IsSeen) throw new WorldException(snapshots.WhyUnseen!);
        state = state with { Machine = Moment.Present, Can = Can(domain.Value, config) };
        if (snapshots.Value.FirstOrDefault(s => s.Name == scope.Name) is not { } found) return state;
        var info = SnapshotXml.Read(found);
        return state with { Snapshot = info.Owner == scope.Owner ? Moment.Ours : Moment.Others, Power = info.Power, At = info.Made };
    }

    private static string Can(DomainState domain, DomainConfig config)
    {
        var live = domain.ActiveXml.Length > 0 ? DomainXml.Parse(domain.ActiveXml).Config?.Aspects() ?? Aspect.None : Aspect.None;
        var power = domain.Power switch
        {
            DomainPower.Running => Power.Running,
            DomainPower.Paused => Power.Paused,
            DomainPower.ShutOff or DomainPower.Crashed => Power.Off,
            DomainPower.ShuttingDown => Power.Stopping,
            _ => Power.Suspended,
        };
        return Snapshottable.WhyNot(config.Aspects(), live, power) ?? Moment.Ok;
    }

    private static long Size(ReadOnlySpan<byte> marker)
    {
        try { return marker.IsEmpty ? 0 : JsonSerializer.Deserialize(marker, MomentJson.Default.MomentFile)?.Bytes ?? 0; }
        catch (JsonException) { return 0; }
    }
}
