using System.Globalization;
using System.Text;
using AgentMetal.NodeAgent.Agents.Instance.Exports;
using AgentMetal.NodeAgent.Agents.Instance.Tools;
using AgentMetal.NodeAgent.Host.Files;
using AgentMetal.NodeAgent.Host.Libvirt;
using AgentMetal.NodeAgent.Host.Processes;
using AgentMetal.NodeAgent.Host.Transfer;
using AgentMetal.NodeAgent.Pipeline;
using AgentMetal.Runtime.Planning;
using static AgentMetal.NodeAgent.Host.Must;

namespace AgentMetal.NodeAgent.Agents.Instance;

/// <summary>Carries out what the tools decide: the domain, its disks and its files.</summary>
internal sealed partial class InstanceActuator(InstanceScope scope, InstanceReaders readers, InstanceWriters writers, TimeProvider clock)
{
    private const int MaxEntries = 1000;
    private static readonly TimeSpan Brief = TimeSpan.FromSeconds(20);
    private static readonly TimeSpan StartDeadline = TimeSpan.FromSeconds(90);
    private static readonly TimeSpan CopyDeadline = TimeSpan.FromMinutes(55);
    private static readonly TimeSpan AskAgain = TimeSpan.FromSeconds(5);
    private static readonly TimeSpan Poll = TimeSpan.FromMilliseconds(250);

    private readonly InstanceLayout _layout = scope.Layout;

    /// <summary>Whether the spec is another by now.</summary>
    public Func<bool> IsSuperseded { get; init; } = static () => false;

    /// <summary>Whether a file in the instance's directory holds data of the guest; a disk that is being made does not yet.</summary>
    public static bool IsDisk(string name) => name.EndsWith(".qcow2", StringComparison.Ordinal) || name.EndsWith(".raw", StringComparison.Ordinal);

    public ValueTask FetchAsync(FetchArgs args)
    {
        Ensure(_layout.ImageDir);
        writers.Images.Begin(args, _layout.Image(args.Sha256, args.Format));
        return default;
    }

    public async ValueTask StartNetworkAsync(string name, CancellationToken stop)
    {
        var outcome = await writers.Domains.StartNetworkAsync(name, StartDeadline, stop);
        // Another instance may have started it a moment ago; what is observed decides.
        if (!outcome.IsDone && await readers.Domains.NetworkAsync(name, stop) is not { IsSeen: true, Value.Active: true }) Done(outcome);
        // A machine that starts with the host finds its network there only if that does, too: at a boot libvirt asks nobody.
        Done(await writers.Domains.SetNetworkAutostartAsync(name, true, Brief, stop));
    }

    public ValueTask CreateDir()
    {
        Ensure(_layout.DirParent, _layout.Dir);
        MarkDir();
        return default;
    }

    public async ValueTask CreateDiskAsync(DiskArgs args, CancellationToken stop)
    {
        var partial = args.Path + ".partial";
        Done(writers.Files.Delete(partial));
        var size = args.Size.ToString(CultureInfo.InvariantCulture);
        if (args.Image.Length == 0) await QemuImgAsync(["create", "-q", "-f", args.Format, partial, size], stop);
        else if (args.Format == "qcow2") await QemuImgAsync(["create", "-q", "-f", "qcow2", "-F", args.ImageFormat, "-b", args.Image, partial, size], stop);
        else
        {
            await QemuImgAsync(["convert", "-q", "-f", args.ImageFormat, "-O", "raw", args.Image, partial], stop);
            await QemuImgAsync(["resize", "-q", "-f", "raw", partial, size], stop);
        }
        // Only a disk that is whole and on the disk has its name: after a power cut there is none, or all of it.
        Done(await writers.Files.PlaceAsync(partial, args.Path));
    }

    public async ValueTask CopyDiskAsync(CopyArgs args, CancellationToken stop)
    {
        var partial = args.Path + ".partial";
        Done(writers.Files.Delete(partial));
        try
        {
            await QemuImgAsync(["convert", "-q", "-f", args.SourceFormat, "-O", args.Format, args.Source, partial], stop);
            await QemuImgAsync(["resize", "-q", "-f", args.Format, partial, args.Size.ToString(CultureInfo.InvariantCulture)], stop);
        }
        catch (WorldException)
        {
            writers.Files.Delete(partial); // Half a copy would keep a full disk full.
            throw;
        }
        Done(await writers.Files.PlaceAsync(partial, args.Path));
    }

    public async ValueTask GrowDiskAsync(GrowArgs args, CancellationToken stop)
    {
        if (args.Live) Done(await writers.Domains.BlockResizeAsync(scope.Uuid, args.Path, args.Size, Brief, stop));
        else await QemuImgAsync(["resize", "-q", "-f", args.Format, args.Path, args.Size.ToString(CultureInfo.InvariantCulture)], stop);
    }

    public async ValueTask WriteSeedAsync(SeedArgs args, CancellationToken stop)
    {
        if (scope.Goal?.Seed is not { } seed || seed.Digest != args.Digest) throw new WorldException("the seed with this digest is no longer wanted: plan again");
        var folder = _layout.Dir + "/seed";
        Done(writers.Files.EnsureDirectory(folder, Root(0x1C0))); // 0700
        Done(writers.Files.Write(folder + "/user-data", Encoding.UTF8.GetBytes(seed.UserData), Root(0x180))); // 0600
        Done(writers.Files.Write(folder + "/meta-data", Encoding.UTF8.GetBytes(seed.MetaData), Root(0x180)));
        var partial = seed.Path + ".partial";
        Done(writers.Files.Delete(partial));
        await RunAsync(scope.Programs.Xorriso, ["-as", "mkisofs", "-quiet", "-V", "cidata", "-J", "-r", "-o", partial, folder], stop);
        Done(writers.Files.SetOwnership(partial, Root(0x180)));
        Done(await writers.Files.PlaceAsync(partial, seed.Path));
        Done(writers.Files.DeleteTree(folder, MaxEntries));
    }

    public async ValueTask DefineAsync(string xml, CancellationToken stop)
    {
        // Before libvirt has it: a machine that libvirt has forgotten gets the addresses that it was given.
        if (DomainXml.Parse(xml).Config is { } config) RememberCards(config);
        Done(await writers.Domains.DefineAsync(xml, Brief, stop));
    }

    public async ValueTask UndefineAsync(CancellationToken stop)
    {
        await EndLeasesAsync(stop);
        DoneOrGone(await writers.Domains.UndefineAsync(scope.Uuid, Brief, stop));
    }

    public async ValueTask SetAutostartAsync(bool on, CancellationToken stop) => Done(await writers.Domains.SetAutostartAsync(scope.Uuid, on, Brief, stop));

    public async ValueTask ChangeLiveAsync(LiveArgs args, CancellationToken stop)
    {
        var outcome = args.Aspect switch
        {
            Aspect.Memory => await writers.Domains.SetMemoryAsync(scope.Uuid, Aspect.Pair(args.Value).Now, live: true, config: false, Brief, stop),
            Aspect.Cpus => await writers.Domains.SetVcpusAsync(scope.Uuid, (int)Aspect.Pair(args.Value).Now, live: true, config: false, Brief, stop),
            _ => args.Change switch
            {
                _ when args.Aspect.StartsWith(Aspect.Disk, StringComparison.Ordinal) => await ChangeDiskAsync(args, stop),
                ChangeLive.Attach => await writers.Domains.AttachAsync(scope.Uuid, args.Xml, live: true, config: false, Brief, stop),
                ChangeLive.Detach => await writers.Domains.DetachAsync(scope.Uuid, args.Xml, live: true, config: false, Brief, stop),
                _ => await writers.Domains.UpdateDeviceAsync(scope.Uuid, args.Xml, live: true, config: false, Brief, stop),
            },
        };
        // A guest that is slow to give a device back is not one that refused: what is observed decides, as after a start.
        if (outcome.Result != DomainResult.DeadlinePassed) Done(outcome);
    }

    /// <summary>libvirt takes a disk out by its place alone: the place that this file has at this moment, whatever it was when that was planned.</summary>
    private async ValueTask<DomainOutcome> ChangeDiskAsync(LiveArgs args, CancellationToken stop)
    {
        var (uuid, domain) = await DomainAsync(stop);
        var disks = DomainXml.Parse(domain.ActiveXml).Config?.Disks ?? throw new WorldException("it does not run any more");
        var path = args.Aspect[Aspect.Disk.Length..];
        var (there, wanted) = (disks.FirstOrDefault(d => Aspect.KeyOf(d) == args.Aspect), Aspect.DiskOf(args.Aspect, args.Value));
        if (args.Change == ChangeLive.Detach && there is not null) return await writers.Domains.DetachAsync(uuid, DomainXml.Of(there), live: true, config: false, Brief, stop);
        if (args.Change == ChangeLive.Detach || there is not null) return DomainOutcome.Done;
        if (disks.FirstOrDefault(d => d.Target == wanted.Target) is { } other) throw new WorldException($"{other.Path} has the place {wanted.Target} that {path} is to have: plan again");
        return await writers.Domains.AttachAsync(uuid, args.Xml, live: true, config: false, Brief, stop);
    }

    public async ValueTask StartAsync(CancellationToken stop)
    {
        var (uuid, domain) = await DomainAsync(stop);
        if (domain.Power is DomainPower.Running or DomainPower.Paused) return;
        var outcome = await writers.Domains.CreateAsync(uuid, StartDeadline, stop);
        if (outcome.Result != DomainResult.DeadlinePassed) Done(outcome);
    }

    public async ValueTask PauseAsync(bool on, CancellationToken stop)
    {
        var (uuid, _) = await DomainAsync(stop);
        Done(on ? await writers.Domains.SuspendAsync(uuid, Brief, stop) : await writers.Domains.ResumeAsync(uuid, Brief, stop));
    }

    /// <summary>Asks, and asks again: a guest that is still booting does not hear the first time.</summary>
    public async ValueTask ShutDownAsync(StopArgs args, CancellationToken stop)
    {
        var (uuid, domain) = await DomainAsync(stop);
        var began = clock.GetTimestamp();
        var asked = TimeSpan.MinValue;
        while (domain.Power is not (DomainPower.ShutOff or DomainPower.Crashed) && clock.GetElapsedTime(began) < TimeSpan.FromSeconds(args.Seconds))
        {
            if (clock.GetElapsedTime(began) - AskAgain > asked)
            {
                asked = clock.GetElapsedTime(began);
                await writers.Domains.ShutdownAsync(uuid, byAgent: false, Brief, stop); // Refused by one that has just ended.
            }
            await Task.Delay(Poll, clock, stop);
            // libvirt may not answer for a while about a machine that is going down: that says nothing, and the guest's time goes on.
            if (await readers.Domains.DomainAsync(uuid, stop) is { IsSeen: true } look)
                domain = look.Value.Exists ? look.Value : throw new WorldException("libvirt has it no more");
        }
        if (domain.Power is not (DomainPower.ShutOff or DomainPower.Crashed))
        {
            if (!args.Force)
            {
                NoteHung(domain);
                throw new WorldException($"the guest did not shut down within {args.Seconds} s");
            }
            await SwitchOffAsync(stop);
        }
        if (scope.Adopt.Length == 0) Done(writers.Files.Delete(_layout.Hung));
    }

    public async ValueTask SwitchOffAsync(CancellationToken stop)
    {
        var (uuid, domain) = await DomainAsync(stop);
        if (domain.Power is DomainPower.ShutOff or DomainPower.Crashed) return;
        var outcome = await writers.Domains.DestroyAsync(uuid, graceful: false, Brief, stop);
        if (!outcome.IsDone && (await DomainAsync(stop)).Domain.Power is not (DomainPower.ShutOff or DomainPower.Crashed)) Done(outcome);
    }

    /// <summary>Between the two it gets its definition: one that libvirt does not take leaves the machine running as it was.</summary>
    public async ValueTask RestartAsync(StopArgs args, string xml, CancellationToken stop)
    {
        await ShutDownAsync(args, stop);
        try { if (xml.Length > 0) await DefineAsync(xml, stop); }
        catch (WorldException)
        {
            await StartAsync(stop);
            throw;
        }
        await StartAsync(stop);
        if (xml.Length > 0) NoteHeld(FactValue.Absent);
    }

    /// <summary>For a person at the host: it is off, and stays so when the host starts anew. It is to come back when it is resumed, so that is no drift.</summary>
    /// <param name="args">How long the guest has.</param>
    /// <param name="settled">The marker as a tool of ours leaves it; absent = there is none.</param>
    /// <param name="starts">It starts with the host.</param>
    /// <param name="stop">Ends the wait.</param>
    public async ValueTask StopForGoodAsync(StopArgs args, string settled, bool starts, CancellationToken stop)
    {
        if (settled != FactValue.Absent && !FactValue.IsUnseen(settled)) NoteSettled(settled);
        if (starts) await SetAutostartAsync(false, stop);
        await ShutDownAsync(args, stop);
    }

    public async ValueTask ResetAsync(CancellationToken stop)
    {
        var (uuid, _) = await DomainAsync(stop);
        Done(await writers.Domains.ResetAsync(uuid, Brief, stop));
    }

    /// <summary>Remembers that a request was carried out; whole and on the disk, or not at all.</summary>
    public void NoteRequest(string id) => Done(writers.Files.Write(_layout.Request, Encoding.UTF8.GetBytes(id + "\n"), Root(0x180)));

    /// <summary>Remembers by which goal it is as wanted; whole and on the disk, or not at all.</summary>
    public void NoteSettled(string settled) => Done(settled == FactValue.Absent ? writers.Files.Delete(_layout.Settled) : writers.Files.Write(_layout.Settled, Encoding.ASCII.GetBytes(settled + "\n"), Root(0x180)));

    /// <summary>Remembers what waits for a signature; whole and on the disk, or not at all.</summary>
    public void NoteHeld(string held) => Done(held == FactValue.Absent ? writers.Files.Delete(_layout.Held) : writers.Files.Write(_layout.Held, Encoding.ASCII.GetBytes(held + "\n"), Root(0x180)));

    /// <summary>A machine whose drift is reported: if it stays off halfway, nobody takes it for a person's doing.</summary>
    public async ValueTask RestartSettledAsync(string digest, StopArgs args, string xml, CancellationToken stop)
    {
        var file = readers.Files.Look(_layout.Settled);
        if (!file.IsSeen) throw new WorldException(file.WhyUnseen!);
        if (file.Value.Exists) NoteSettled(InstanceDrift.AsBusy(digest));
        await RestartAsync(args, xml, stop);
        if (file.Value.Exists) NoteSettled(digest);
    }

    public void Export(string request)
    {
        var (directory, export) = (_layout.Export(request), new InstanceExport(scope, readers, writers));
        writers.Exports.Begin(directory, progress => export.RunAsync(directory, () => NoteRequest(request), progress));
    }

    public async ValueTask RemoveDisksAsync(CancellationToken stop)
    {
        await EnsureNobodyElsesAsync(stop);
        var names = readers.Files.List(_layout.Dir, MaxEntries);
        if (!names.IsSeen) throw new WorldException(names.WhyUnseen!);
        foreach (var name in names.Value)
            if (IsDisk(name)) Done(writers.Files.Delete(_layout.Dir + "/" + name));
    }

    public async ValueTask RemoveFilesAsync(CancellationToken stop)
    {
        await EnsureNobodyElsesAsync(stop);
        Done(writers.Files.DeleteTree(_layout.Dir, MaxEntries));
    }

    /// <summary>Off first, and off it stays: what a target reads must not change, also when this host starts anew meanwhile.</summary>
    public async ValueTask HandOverAsync(HandOverArgs args, CancellationToken stop)
    {
        var domain = await readers.Domains.DomainAsync(scope.Uuid, stop);
        if (!domain.IsSeen) throw new WorldException(domain.WhyUnseen!);
        if (domain.Value.Exists)
        {
            await ShutDownAsync(new StopArgs(args.Seconds, args.Force), stop);
            Done(await writers.Domains.SetAutostartAsync(scope.Uuid, false, Brief, stop));
            if (DomainXml.Parse(domain.Value.InactiveXml).Config is { } config) RememberCards(config);
            foreach (var snapshot in args.SnapshotNames()) await DeleteSnapshotAsync(snapshot, stop);
        }
        // That it is off is no person's doing, here or where it goes.
        NoteSettled(FactValue.Absent);
        writers.HandOvers.Open(new() { Machine = scope.Uuid, Target = args.Node, TargetName = args.Name, Directory = _layout.Dir });
    }

    /// <summary>Nobody can start it here any more, then it is written down that it is the other's. The other way round a host that starts would start what it gave away.</summary>
    public async ValueTask ReleaseAsync(CancellationToken stop)
    {
        var domain = await readers.Domains.DomainAsync(scope.Uuid, stop);
        if (!domain.IsSeen) throw new WorldException(domain.WhyUnseen!);
        if (domain.Value is { Exists: true, Power: not (DomainPower.ShutOff or DomainPower.Crashed) }) throw new WorldException("somebody started it");
        // One that somebody made meanwhile is in the disks, and would not be known where they go.
        if (domain.Value.Exists && await readers.Domains.SnapshotsAsync(scope.Uuid, stop) is { IsSeen: true, Value.Count: > 0 }) throw new WorldException("it has a snapshot by now, which is not handed over: delete it, or call the move off");
        if (domain.Value.Exists) await UndefineAsync(stop);
        var after = await readers.Domains.DomainAsync(scope.Uuid, stop);
        // What is undefined while it runs goes on running.
        if (!after.IsSeen || after.Value.Exists) throw new WorldException(after.WhyUnseen ?? "libvirt still has it");
        writers.HandOvers.Release(scope.Uuid);
    }

    public void Withdraw(OfferPhase phase) => writers.HandOvers.Withdraw(scope.Uuid, phase);

    public void Receive(PeerAddress source) =>
        writers.HandOvers.Receive(new() { Machine = scope.Uuid, Source = source.NodeUid, SourceName = source.NodeName, Address = source.Address, Port = source.Port, Directory = _layout.Dir });

    public void TakeOver() => writers.HandOvers.Own(scope.Uuid);

    public ValueTask DropAsync(ReceiptPhase phase, CancellationToken stop) => writers.HandOvers.DropAsync(scope.Uuid, phase, stop);

    public void CloseReceipt() => writers.HandOvers.Close(scope.Uuid);

    /// <summary>The domain, which must be there: a tool that finds none has nothing to act on.</summary>
    private async ValueTask<(string Uuid, DomainState Domain)> DomainAsync(CancellationToken stop)
    {
        var domain = scope.Adopt.Length > 0 ? await readers.Domains.DomainByNameAsync(scope.Adopt, stop) : await readers.Domains.DomainAsync(scope.Uuid, stop);
        if (!domain.IsSeen) throw new WorldException(domain.WhyUnseen!);
        return domain.Value.Exists ? (domain.Value.Uuid, domain.Value) : throw new WorldException($"libvirt has no domain {(scope.Adopt.Length > 0 ? scope.Adopt : _layout.Id)}");
    }

    /// <summary>0711: QEMU runs as a user of its own, and passes through.</summary>
    private void Ensure(params ReadOnlySpan<string> directories)
    {
        foreach (var directory in directories) Done(writers.Files.EnsureDirectory(directory, Root(0x1C9)));
    }

    private Task QemuImgAsync(string[] arguments, CancellationToken stop) => RunAsync(scope.Programs.QemuImg, arguments, stop);

    private async Task RunAsync(string program, string[] arguments, CancellationToken stop)
    {
        var outcome = await writers.Processes.RunAsync(new ProcessRequest { Program = program, Arguments = arguments, Deadline = CopyDeadline }, stop);
        if (!outcome.IsSuccess) throw new WorldException($"{program}: {outcome.Detail} {outcome.Stderr.Trim()}");
    }

    private static FileOwnership Root(uint mode) => new() { Uid = 0, Gid = 0, Mode = mode };
}
