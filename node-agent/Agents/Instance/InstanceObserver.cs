using System.Collections.Immutable;
using System.Text;
using AgentMetal.NodeAgent.Host;
using AgentMetal.NodeAgent.Host.Files;
using AgentMetal.NodeAgent.Host.Libvirt;
using AgentMetal.Runtime.Execution;
using AgentMetal.Runtime.Planning;
using AgentMetal.Runtime.Resources;

namespace AgentMetal.NodeAgent.Agents.Instance;

/// <summary>Reads one instance: its domain, its files, and what of the host it needs.</summary>
internal sealed partial class InstanceObserver(InstanceScope scope, InstanceReaders readers, ImageStore images, TimeProvider clock, Exports.ExportJobs? exports = null) : IStateObserver<InstanceState>
{
    private const int MaxFiles = 1000;

    /// <summary>Bytes; what a guest writes in the moment before it would stand still again.</summary>
    private const long EnoughToGoOn = 16L << 20;

    private readonly InstanceLayout _layout = scope.Layout;

    public async ValueTask<InstanceState> ObserveAsync(CancellationToken stop)
    {
        var state = WithMove(OfFiles());
        // What is not installed has no machines; what does not answer may have any.
        if (Missing() is { } missing) return state with { Hypervisor = missing };
        var domain = scope.Adopt.Length > 0 ? await readers.Domains.DomainByNameAsync(scope.Adopt, stop) : await readers.Domains.DomainAsync(scope.Uuid, stop);
        if (!domain.IsSeen) throw new WorldException(domain.WhyUnseen!);
        state = await WithOwnerAsync(state, domain.Value.Exists, stop);
        state = await WithAddressedAsync(await WithSnapshotsAsync(OfDomain(state, domain.Value), stop), stop);
        if (scope.Goal is null) return state;
        if (!domain.Value.Exists && scope.Adopt.Length == 0 && await readers.Domains.DomainByNameAsync(_layout.Id, stop) is var namesake)
            state = state with { Domain = !namesake.IsSeen ? throw new WorldException(namesake.WhyUnseen!) : namesake.Value.Exists ? Owner.Foreign : FactValue.Absent };
        state = state with { Accelerator = scope.Emulator.Length == 0 ? scope.Goal.Config?.Type ?? FactValue.Absent : await readers.Accelerators.FindAsync(stop) };
        return await WithNetworkAsync(await WithSourceAsync(state, stop), stop);
    }

    /// <summary>The instance whose disks are copied, for as long as one is to be copied.</summary>
    private async Task<InstanceState> WithSourceAsync(InstanceState state, CancellationToken stop)
    {
        if (scope.Goal?.Source is not { } source) return state;
        var disks = state.SourceDisks.ToBuilder();
        foreach (var disk in scope.Goal.Disks.Where(d => d.Source.Length > 0))
            foreach (var format in (string[])["qcow2", "raw"])
                if (Disk($"{disk.Source}.{format}", format).State is { } there) disks[disk.Name] = ($"{disk.Source}.{format}", there);
        var domain = await readers.Domains.DomainByNameAsync(source.Domain, stop);
        return state with { SourceDisks = disks.ToImmutable(), Source = !domain.IsSeen ? FactValue.Unseen("libvirt") : domain.Value.Exists ? PowerOf(domain.Value.Power) : There(source.Dir) == Present.It ? Power.Off : FactValue.Absent };
    }

    private InstanceState WithMove(InstanceState state)
    {
        var (offer, receipt) = (readers.HandOvers.Offer(scope.Uuid), readers.HandOvers.Receipt(scope.Uuid));
        if (offer is null && receipt is null) return state;
        return state with
        {
            Offer = Way.Of(offer),
            Receipt = Way.Of(receipt),
            Peer = Way.PeerOf(offer, receipt),
            OnItsWay = offer is not null ? Way.Said(offer) : receipt is not null ? Way.Said(receipt) : "",
        };
    }

    private string? Missing()
    {
        if (scope.Emulator.Length == 0) return null;
        foreach (var (path, package) in scope.Programs.Needed)
            if (readers.Files.Look(path) is { IsSeen: true, Value.Exists: false }) return $"{path} is not on this host: apt-get install {string.Join(' ', scope.Programs.Needed.Select(n => n.Package))} (missing: {package})";
        return null;
    }

    private InstanceState OfFiles()
    {
        var disks = ImmutableSortedDictionary.CreateBuilder<string, string>(StringComparer.Ordinal);
        var states = ImmutableSortedDictionary.CreateBuilder<string, DiskState>(StringComparer.Ordinal);
        var present = ImmutableSortedDictionary.CreateBuilder<string, string>(StringComparer.Ordinal);
        var sizes = ImmutableSortedDictionary.CreateBuilder<string, long>(StringComparer.Ordinal);
        foreach (var disk in scope.Goal?.Disks ?? [])
        {
            (disks[disk.Name], var seen) = Disk(disk.Path, disk.Format);
            if (seen is not null) states[disk.Name] = seen;
        }
        foreach (var image in scope.Goal?.Images ?? [])
        {
            var path = _layout.Image(image.Spec.Sha256, image.Spec.Format);
            present[image.Spec.Sha256] = There(path);
            if (image.Spec.Format is "qcow2" or "raw" && Disk(path, image.Spec.Format).State is { } size) sizes[image.Spec.Sha256] = size.Size;
        }
        var (dir, directory) = (DirOf(), readers.Files.List(_layout.Dir, MaxFiles));
        return new()
        {
            Hypervisor = Hypervisor.Ok,
            Accelerator = FactValue.Absent,
            Domain = FactValue.Absent,
            Power = Power.Off,
            Disks = disks.ToImmutable(),
            DiskStates = states.ToImmutable(),
            Images = present.ToImmutable(),
            ImageSizes = sizes.ToImmutable(),
            Downloads = images.Running(present.Keys),
            Seed = scope.Goal?.Seed is { } seed ? There(seed.Path) : FactValue.Absent,
            Dir = dir,
            Data = dir is FactValue.Absent or DirIs.Others ? Stored.None : !directory.IsSeen ? FactValue.Unseen("the directory cannot be read")
                : directory.Value.Any(f => InstanceActuator.IsDisk(f)) ? Stored.Some : Stored.None,
            Export = scope.Goal?.Spec.Request is { IsGiven: true } asked ? exports?.Running(_layout.Export(asked.Id)) : null,
            Request = scope.Goal is null ? FactValue.Absent : Request(),
            Settled = scope.Goal is null ? FactValue.Absent : Settled(),
            Held = scope.Goal is null ? FactValue.Absent : Line(_layout.Held, "the file of what waits"),
            OtherDisks = OtherDisks(directory.IsSeen ? directory.Value : []),
            Bridges = (scope.Goal?.Bridges ?? []).ToImmutableSortedDictionary(b => b, b => There($"/sys/class/net/{b}/bridge"), StringComparer.Ordinal),
        };
    }

    private InstanceState OfDomain(InstanceState state, DomainState domain)
    {
        // One that does not exist yet is off because nobody ever started it, which is what its definition will say too.
        if (!domain.Exists)
            return state with { Cards = Cards(), Domain = scope.Adopt.Length > 0 ? Owner.Missing : FactValue.Absent, Cause = scope.Goal is { ReportsDrift: true, Adopt: "" } && state.Offer == FactValue.Absent ? InstanceDrift.Unasked : "" };
        var (config, why) = DomainXml.Parse(domain.InactiveXml);
        var live = domain.ActiveXml.Length > 0 ? DomainXml.Parse(domain.ActiveXml) : (null, "");
        if (config is null || (domain.ActiveXml.Length > 0 && live.Config is null)) throw new WorldException(config is null ? why : live.Why);
        return state with
        {
            Domain = scope.Adopt.Length > 0 ? Owner.Adopted : Owner.Ours,
            Autostart = domain.Autostart ? Yes.It : Yes.No,
            Power = domain.Power == DomainPower.Paused && readers.Standstills.Of(domain.Uuid) is { } before ? before : PowerOf(domain.Power),
            Cause = scope.Goal is { ReportsDrift: true } && domain.Power is DomainPower.ShutOff or DomainPower.Crashed or DomainPower.Paused && !IsByHand(domain) ? InstanceDrift.Unasked : "",
            Config = config.Aspects(),
            ConfigXml = domain.InactiveXml,
            Live = live.Config?.Aspects() ?? Aspect.None,
            Hung = scope.Adopt.Length == 0 && live.Config is not null && Line(_layout.Hung, "the file of who hung") == RunOf(readers, domain) ? Yes.It : FactValue.Absent,
            NoRoom = domain is { Power: DomainPower.Paused, Reason: "ioerror" } ? NoRoom(live.Config ?? config) : "",
            Detail = domain.Power is DomainPower.ShutOff or DomainPower.Crashed or DomainPower.Paused ? domain.Reason : "",
        };
    }

    /// <summary>QEMU stops a guest whose write finds no room on the host, and the guest knows nothing of it: it goes on as if nothing had been when there is some.</summary>
    private string NoRoom(DomainConfig config)
    {
        foreach (var disk in config.Disks.Where(d => !d.ReadOnly && d.Path.StartsWith('/')))
            if (readers.Files.Space(disk.Path) is { IsSeen: true, Value: var space } && (space.AvailableBytes < EnoughToGoOn || space.AvailableInodes == 0))
                return $"the file system of {disk.Path} is full ({Quantity.Format(space.AvailableBytes)} of {Quantity.Format(space.TotalBytes)} free), and QEMU holds the guest until it can write: make room, and it goes on";
        return "";
    }

    private static string PowerOf(DomainPower power) => power switch
    {
        DomainPower.Running => Power.Running,
        DomainPower.Paused => Power.Paused,
        DomainPower.ShuttingDown => Power.Stopping,
        DomainPower.ShutOff or DomainPower.Crashed => Power.Off,
        DomainPower.Suspended => Power.Suspended,
        _ => FactValue.Unseen("libvirt does not know"),
    };

    private async Task<InstanceState> WithNetworkAsync(InstanceState state, CancellationToken stop)
    {
        var networks = ImmutableSortedDictionary.CreateBuilder<string, string>(StringComparer.Ordinal);
        foreach (var name in scope.Goal!.Networks)
        {
            var network = await readers.Domains.NetworkAsync(name, stop);
            networks[name] = !network.IsSeen ? FactValue.Unseen("libvirt") : !network.Value.Exists ? FactValue.Absent : network.Value.Active ? Present.Active : Present.Inactive;
        }
        state = state with { Networks = networks.ToImmutable() };
        if (state.Power != Power.Running) return state;
        var uuid = state.Domain == Owner.Ours ? scope.Uuid : DomainXml.Parse(state.ConfigXml).Config?.Uuid ?? scope.Uuid;
        var addresses = await readers.Domains.AddressesAsync(uuid, AddressSource.Lease, stop);
        if (scope.Goal.Spec.GuestAgent && (!addresses.IsSeen || addresses.Value.Count == 0)) addresses = await readers.Domains.AddressesAsync(uuid, AddressSource.Agent, stop);
        // They are for people: a source that does not answer is no reason not to look at the rest.
        return state with { Addresses = addresses.IsSeen ? [.. addresses.Value.Where(a => a.Device != "lo").Select(a => a.Address).Distinct(StringComparer.Ordinal).Order(StringComparer.Ordinal)] : [] };
    }

    private (string Fact, DiskState? State) Disk(string path, string format)
    {
        var file = readers.Files.Head(path, DiskHeader.OwnLength);
        if (!file.IsSeen) return (FactValue.Unseen("the disk cannot be read"), null);
        if (!file.Value.State.Exists) return (FactValue.Absent, null);
        if (file.Value.State.Kind != FileKind.File) return ("not a file", null);
        if (format == "raw") return Of(new DiskState(format, file.Value.State.Size, ""));
        return DiskHeader.Read(file.Value.Bytes.Span) is { } header ? Of(new DiskState(format, header.Size, header.Backing)) : ("not a qcow2 file", null);

        static (string, DiskState?) Of(DiskState disk) => (disk.ToString(), disk);
    }

    /// <summary>A shutdown from within is a person's too. What libvirt no longer knows (after a boot, or after its own restart) is not.</summary>
    private static bool IsByHand(DomainState domain) => domain.Power switch
    {
        DomainPower.ShutOff => domain.Reason is "shutdown" or "destroyed" or "saved" or "from-snapshot",
        DomainPower.Paused => domain.Reason is "user" or "from-snapshot" or "snapshot" or "save",
        _ => false,
    };

    private string Settled() => Line(_layout.Settled, "the settled file");

    private string Request()
    {
        var file = readers.Files.Read(_layout.Request, 256);
        if (!file.IsSeen) return FactValue.Unseen("the request file cannot be read");
        if (!file.Value.State.Exists) return FactValue.Absent;
        var id = Encoding.UTF8.GetString(file.Value.Bytes.Span).Trim();
        // Written whole by us or not at all: whatever else is in it is no reason to do something again.
        return Names.LabelError(id) is null ? id : FactValue.Unseen("the request file holds no id");
    }

    private string There(string path)
    {
        var look = readers.Files.Look(path);
        return !look.IsSeen ? FactValue.Unseen("cannot be read") : look.Value.Exists ? Present.It : FactValue.Absent;
    }
}
