using System.Text.Json;
using AgentMetal.NodeAgent.Host.Files;
using AgentMetal.NodeAgent.Host.Libvirt;
using AgentMetal.Runtime.Planning;
using static AgentMetal.NodeAgent.Host.Must;

namespace AgentMetal.NodeAgent.Agents.Instance.Snapshots;

/// <summary>Makes and deletes one snapshot.</summary>
internal sealed class SnapshotActuator(SnapshotScope scope, InstanceReaders readers, InstanceWriters writers)
{
    private static readonly TimeSpan Deadline = TimeSpan.FromMinutes(20);

    /// <summary>The marker is last: without it the snapshot that is there is found to be ours, and only noted.</summary>
    public async ValueTask MakeAsync(MomentArgs args, CancellationToken stop)
    {
        var (domain, config) = await DomainAsync(stop);
        var before = Bytes(config);
        var bytes = 0L;
        if (!await IsThereAsync(domain.Uuid, args, stop))
        {
            using var still = readers.Standstills.Begin(domain.Uuid, domain.Power switch { DomainPower.Running => Power.Running, DomainPower.Paused => Power.Paused, _ => Power.Off });
            var outcome = await writers.Domains.CreateSnapshotAsync(domain.Uuid, SnapshotXml.Render(args.Name, args.Owner, Sizes(config)), SnapshotFlags.None, Deadline, stop);
            if (!outcome.IsDone && !await IsThereAsync(domain.Uuid, args, stop)) Done(outcome);
            bytes = Math.Max(0, Bytes(config) - before);
        }
        Done(writers.Files.Write(scope.Marker, JsonSerializer.SerializeToUtf8Bytes(new MomentFile(bytes), MomentJson.Default.MomentFile), new() { Uid = 0, Gid = 0, Mode = 0x180 })); // 0600
    }

    public async ValueTask DropAsync(MomentArgs args, CancellationToken stop)
    {
        var (domain, _) = await DomainAsync(stop);
        if (await IsThereAsync(domain.Uuid, args, stop))
        {
            var outcome = await writers.Domains.DeleteSnapshotAsync(domain.Uuid, args.Name, Deadline, stop);
            DoneOrGone(outcome);
        }
        Done(writers.Files.Delete(scope.Marker));
    }

    private async Task<bool> IsThereAsync(string uuid, MomentArgs args, CancellationToken stop)
    {
        var snapshots = await readers.Domains.SnapshotsAsync(uuid, stop);
        if (!snapshots.IsSeen) throw new WorldException(snapshots.WhyUnseen!);
        return snapshots.Value.FirstOrDefault(s => s.Name == args.Name) is { } found && SnapshotXml.Read(found).Owner == args.Owner;
    }

    private async Task<(DomainState Domain, DomainConfig Config)> DomainAsync(CancellationToken stop)
    {
        var domain = await readers.Domains.DomainByNameAsync(scope.Layout.Id, stop);
        if (!domain.IsSeen) throw new WorldException(domain.WhyUnseen!);
        if (!domain.Value.Exists || DomainXml.Parse(domain.Value.InactiveXml).Config is not { } config || config.Title != scope.Machine) throw new WorldException($"libvirt has no domain of {scope.Machine}");
        return (domain.Value, config);
    }

    private static IEnumerable<DomainDisk> Disks(DomainConfig config) => config.Disks.Where(d => !d.ReadOnly && d.Format == "qcow2");

    private long Bytes(DomainConfig config) => Disks(config).Sum(d => readers.Files.Look(d.Path) is { IsSeen: true } file ? file.Value.Size : 0);

    /// <summary>By the names that the machine's spec gives its disks; a revert brings these sizes back.</summary>
    private string Sizes(DomainConfig config)
    {
        var sizes = SnapshotInfo.NoSizes;
        foreach (var disk in Disks(config))
            if (readers.Files.Head(disk.Path, DiskHeader.OwnLength) is { IsSeen: true, Value.State.Exists: true } head && DiskHeader.Read(head.Value.Bytes.Span) is { } header)
                sizes = sizes.SetItem(Path.GetFileNameWithoutExtension(disk.Path), header.Size);
        return SnapshotInfo.Text(sizes);
    }
}
