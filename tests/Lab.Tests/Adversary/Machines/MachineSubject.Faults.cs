using System.Collections.Immutable;
using System.Globalization;
using System.Security.Cryptography;
using System.Xml.Linq;
using AgentMetal.LabTests.Instances;
using AgentMetal.TestKit.Adversary;
using AgentMetal.Testing;

namespace AgentMetal.LabTests.Adversary.Machines;

/// <summary>How each fault is done, and what it may take by itself.</summary>
internal sealed partial class MachineSubject
{
    private static readonly string BlankDigest = Convert.ToHexStringLower(SHA256.HashData(SmallGuest.Image()));

    /// <summary>Files of disks that a person took out of the list: they may go out of use whenever the host comes to it.</summary>
    private readonly HashSet<string> takenOut = new(StringComparer.Ordinal);
    private readonly List<string> snapshots = [];

    /// <summary>The definition as a hand left it: until it is another one, the next start is the hand's.</summary>
    private string byHand = "";
    private ImmutableArray<Disk> declared = [new("a", "qcow2", 16), new("b", "qcow2", 16)];
    private string power = "running", policy = "ask", memory = "32Mi", node = "";
    private int written;
    private LabHost? old;
    private bool coordinatorDown, deleted;
    private Ending? ended;

    private sealed record Disk(string Name, string Format, int Mebibytes)
    {
        public string File => Name + "." + Format;
    }

    private string OldCopy => "/var/tmp/old-" + name;

    private static string Image => $$"""
        apiVersion: agentmetal.io/v1
        kind: Image
        metadata: { name: blank }
        spec: { url: "file:///var/lib/agentmetal/images-in/blank.raw", sha256: {{BlankDigest}}, format: raw }
        ---

        """;

    private string Yaml() => $$"""
        apiVersion: agentmetal.io/v1
        kind: Instance
        metadata: { name: {{name}} }
        spec: { memory: {{memory}}, power: {{power}}, restart: {{policy}}, shutdown: { seconds: 1, force: allowed }, reserve: { cpuMillis: 20 }, placement: { node: "{{node}}" }, disks: [ {{string.Join(", ", declared.Select(d => $"{{ name: {d.Name}, image: blank, size: {d.Mebibytes}Mi, format: {d.Format} }}"))}} ] }
        ---

        """;

    public async Task<Toll?> InjectAsync(Fault fault, CancellationToken stop)
    {
        if (deleted) return null;
        try
        {
            await WriteAsync(stop);
            return fault.Name switch
            {
                "virsh" => await VirshAsync(fault, stop),
                "define" => await DefineAsync(fault, stop),
                "file" => await FileAsync(fault, stop),
                "daemon" => await EachAsync(fault.Arguments[0] == "kill" ? "systemctl kill -s KILL agentmetald 2>/dev/null || true"
                    : $"systemctl {fault.Arguments[0]} agentmetald", stop),
                "libvirtd" => await EachAsync(fault.Arguments[0] == "kill" ? "systemctl kill -s KILL libvirtd 2>/dev/null || true"
                    : "systemctl restart libvirtd", stop),
                "spec" => await SpecAsync(fault, stop),
                "snapshot" => await SnapshotAsync(stop),
                "revert" => snapshots.Count == 0 || coordinatorDown ? null
                    : Done(await fleet.CliAsync(stop, "revert", "instance/" + name, "--to", snapshots[^1], "--no-wait")),
                "drop-snapshot" => await DropSnapshotAsync(stop),
                "mark" => await MarkAsync(fault, stop),
                "old-db" => await OldDatabaseAsync(stop),
                "power" => await PowerAsync(fault.Arguments[0] == "cycle", stop),
                "migrate" => await MigrateAsync(stop),
                "coordinator" => await CoordinatorAsync(fault, stop),
                "delete" => await DeleteAsync(stop),
                _ => throw new ArgumentOutOfRangeException(nameof(fault), fault, null),
            };
        }
        // A hand that does not get through (off, or gone in this moment) did nothing.
        catch (LabException e) when (!e.Message.Contains("lab:", StringComparison.Ordinal)) { return null; }
    }

    private static Toll? Done(CommandResult result) => result.ExitCode is 0 or 6 ? Toll.None : null;

    private static Toll Of(params IEnumerable<Place> of) => new() { Places = [.. of] };

    private IEnumerable<Place> InUse(string file, string member) => places.Where(p => p.Member == member
        && (file.Length == 0 || p.Medium == file));

    private ImmutableHashSet<Place> AtRisk()
    {
        var risk = places.Where(p => takenOut.Contains(p.Medium)).ToImmutableHashSet();
        if (byHand.Length == 0) return risk;
        if (fleet.Lab.Hosts.All(h => Text(h) != byHand)) byHand = "";
        return byHand.Length == 0 ? risk : risk.Union(places);
    }

    private string Text(LabHost host)
    {
        try { return File.ReadAllText(Seen(host, $"/etc/libvirt/qemu/{Id}.xml")); }
        catch (IOException) { return ""; }
    }

    private Disk? At(Fault fault) => int.Parse(fault.Arguments[1], CultureInfo.InvariantCulture) is var place && place < declared.Length
        ? declared[place] : null;

    private static Task<string> VirshAsync(LabHost host, CancellationToken stop, params string[] arguments) =>
        LabTests.Instances.Machines.VirshAsync(host, stop, arguments);

    /// <summary>A block on the next disk in turn, as its guest would write it: on the disk when the call returns.</summary>
    private async Task WriteAsync(CancellationToken stop)
    {
        if (await WhereAsync() is not { } host || written + 1 >= DiskBlocks.Most) return;
        try
        {
            var disks = XDocument.Load(Seen(host, $"/run/libvirt/qemu/{Id}.xml")).Descendants("disk").Where(d =>
                d.Element("source")?.Attribute("file")?.Value.StartsWith(Dir + "/", StringComparison.Ordinal) == true)
                .Select(d => d.Element("alias")?.Attribute("name")?.Value).ToArray();
            if (disks.Length == 0) return;
            var n = ++written;
            var device = $"/machine/peripheral/{disks[n % disks.Length]}/virtio-backend";
            foreach (var command in (string[])[string.Create(CultureInfo.InvariantCulture,
                $"write -P {DiskBlocks.ByteOf(salt, n)} {(long)n * DiskBlocks.Distance} {DiskBlocks.Length}"), "flush"])
                await VirshAsync(host, stop, "qemu-monitor-command", Id, "--hmp", $"qemu-io -d {device} \"{command}\"");
        }
        catch (Exception e) when (e is LabException or IOException or System.Xml.XmlException) { }
    }

    // --- hands ---

    private async Task<Toll?> VirshAsync(Fault fault, CancellationToken stop)
    {
        if (Home() is not { } host) return null;
        var what = fault.Arguments[0];
        var disk = what.StartsWith("detach", StringComparison.Ordinal) ? At(fault) : null;
        if (what.StartsWith("detach", StringComparison.Ordinal) && disk is null) return null;
        var path = disk is null ? "" : $"{Dir}/{disk.File}";
        switch (what)
        {
            case "undefine" or "destroy":
                await VirshAsync(host, stop, what == "undefine" ? ["undefine", "--snapshots-metadata", Id] : ["destroy", Id]);
                return Toll.None;
            case "detach-live":
                await VirshAsync(host, stop, "detach-disk", Id, path, "--live");
                return Of(InUse(disk!.File, "run"));
            case "detach-config":
                await VirshAsync(host, stop, "detach-disk", Id, path, "--config");
                return Edited(host, InUse(disk!.File, "next"));
            case "detach-both":
                await VirshAsync(host, stop, "detach-disk", Id, path, "--live", "--config");
                return Edited(host, [.. InUse(disk!.File, "run"), .. InUse(disk.File, "next")]);
            case "link":
                return null; // It has no card.
            default:
                var other = $"{Aside}/other.raw";
                await host.ShellAsync("[ -e $1 ] || truncate -s 4M $1; chmod 666 $1", stop, other);
                await VirshAsync(host, stop, "attach-disk", Id, other, "vdf", "--driver", "qemu", "--subdriver", "raw",
                    what == "attach-live" ? "--live" : "--config");
                return what == "attach-live" ? Toll.None : Edited(host, []);
        }
    }

    /// <summary>The definition is a hand's: what the next start would use is its doing until the host has written another one.</summary>
    private Toll Edited(LabHost host, IEnumerable<Place> of)
    {
        byHand = Text(host);
        return Of(of);
    }

    private async Task<Toll?> DefineAsync(Fault fault, CancellationToken stop)
    {
        if (Home() is not { } host || Text(host) is not { Length: > 0 } text) return null;
        var domain = XDocument.Parse(text);
        var own = domain.Descendants("disk").Where(d => d.Element("source")?.Attribute("file")?.Value.StartsWith(Dir + "/",
            StringComparison.Ordinal) == true).ToList();
        switch (fault.Arguments[0])
        {
            case "drop" when At(fault) is { } disk && own.FirstOrDefault(d =>
                FileOf(d.Element("source")!.Attribute("file")!.Value) == disk.File) is { } gone:
                gone.Remove();
                break;
            case "swap" when own.Count > 1:
                (own[0].Element("source")!.Attribute("file")!.Value, own[1].Element("source")!.Attribute("file")!.Value) =
                    (own[1].Element("source")!.Attribute("file")!.Value, own[0].Element("source")!.Attribute("file")!.Value);
                break;
            case "memory":
                domain.Root!.Element("memory")!.Value = domain.Root.Element("currentMemory")!.Value = "40960";
                break;
            default: return null;
        }
        await host.WriteFileAsync($"{Aside}/define.xml", domain.ToString(), cancellationToken: stop);
        await VirshAsync(host, stop, "define", $"{Aside}/define.xml");
        return Edited(host, InUse("", "next"));
    }

    private async Task<Toll?> FileAsync(Fault fault, CancellationToken stop)
    {
        if (At(fault) is not { } disk || fleet.Lab.Hosts.FirstOrDefault(h => IsOn(h)
            && File.Exists(Seen(h, $"{Dir}/{disk.File}"))) is not { } host) return null;
        var path = $"{Dir}/{disk.File}";
        IEnumerable<Place> used = [.. InUse(disk.File, "run"), .. InUse(disk.File, "next")];
        switch (fault.Arguments[0])
        {
            case "move":
                await host.ShellAsync("mv $1 $2", stop, path, $"{Aside}/moved-{++written}-{disk.File}");
                return Of(used);
            case "replace":
                await host.ShellAsync("mv $1 $2; qemu-img create -q -f $3 $1 $4M; chmod 666 $1", stop, path,
                    $"{Aside}/replaced-{++written}-{disk.File}", disk.Format, Text(disk.Mebibytes));
                return Of(used);
            default:
                await host.ShellAsync("truncate -s $(($(stat -c %s $1) * 6 / 10)) $1", stop, path);
                return Of([.. used, new(host.Name, path)]);
        }
    }

    private async Task<Toll?> MarkAsync(Fault fault, CancellationToken stop)
    {
        if (fleet.Lab.Hosts.FirstOrDefault(h => IsOn(h) && File.Exists(Seen(h, Dir + "/owner"))) is not { } host) return null;
        await host.ShellAsync(fault.Arguments[0] == "remove" ? "rm $1" : "echo 11111111-2222-5333-8444-555555555555 >$1", stop,
            Dir + "/owner");
        return Toll.None;
    }

    // --- what is declared ---

    private async Task<Toll?> SpecAsync(Fault fault, CancellationToken stop)
    {
        if (coordinatorDown) return null;
        var (before, was) = (declared, (power, policy, memory));
        var free = MachineFaults.Disks.FirstOrDefault(n => declared.All(d => d.Name != n));
        var disk = fault.Arguments.Length > 1 && fault.Arguments[0] is not ("power" or "policy" or "memory") ? At(fault) : null;
        switch (fault.Arguments[0])
        {
            case "remove" when disk is not null && declared.Length > 1: declared = declared.Remove(disk); break;
            case "add" when free is not null: declared = declared.Add(new(free, "qcow2", 16)); break;
            case "front" when free is not null: declared = declared.Insert(0, new(free, "qcow2", 16)); break;
            case "rename" when disk is not null && free is not null: declared = declared.Replace(disk, disk with { Name = free }); break;
            case "reverse" when declared.Length > 1: declared = [.. declared.Reverse()]; break;
            case "format" when disk is not null:
                declared = declared.Replace(disk, disk with
                {
                    Format = disk.Format == "raw" ? "qcow2"
                : "raw"
                }); break;
            case "grow" when disk is not null: declared = declared.Replace(disk, disk with { Mebibytes = disk.Mebibytes + 4 }); break;
            case "power": power = fault.Arguments[1]; break;
            case "policy": policy = fault.Arguments[1]; break;
            case "memory": memory = fault.Arguments[1]; break;
            default: return null;
        }
        if (Done(await fleet.ApplyAsync(Image + Yaml(), stop, "--no-wait")) is not { } none)
        {
            (declared, (power, policy, memory)) = (before, was);
            return null;
        }
        takenOut.ExceptWith(declared.Select(d => d.File));
        if (fault.Arguments[0] != "remove") return none;
        takenOut.Add(disk!.File);
        return Of([.. InUse(disk.File, "run"), .. InUse(disk.File, "next")]);
    }

    private async Task<Toll?> SnapshotAsync(CancellationToken stop)
    {
        if (coordinatorDown || snapshots.Count > 2) return null;
        var called = $"{name}-s{snapshots.Count + 1}";
        if (Done(await fleet.CliAsync(stop, "snapshot", "instance/" + name, called, "--no-wait")) is not { } done) return null;
        snapshots.Add(called);
        return done;
    }

    /// <summary>Its deletion waits for a signature of its own, which nobody gives.</summary>
    private async Task<Toll?> DropSnapshotAsync(CancellationToken stop)
    {
        if (coordinatorDown || snapshots.Count == 0) return null;
        return Done(await fleet.CliAsync(stop, "delete", "snapshot", snapshots[^1], "--yes", "--no-wait"));
    }

    private async Task<Toll?> MigrateAsync(CancellationToken stop)
    {
        if (coordinatorDown || Home() is not { } from) return null;
        node = fleet.Lab.Hosts.First(h => h != from).Name;
        return Done(await fleet.ApplyAsync(Image + Yaml(), stop, "--no-wait"));
    }

    private async Task<Toll?> DeleteAsync(CancellationToken stop)
    {
        if (coordinatorDown || Done(await fleet.CliAsync(stop, "delete", "instance", name, "--yes",
            "--no-wait")) is not { } done) return null;
        deleted = true;
        return done;
    }

    // --- hosts and stores ---

    private async Task<Toll?> EachAsync(string command, CancellationToken stop)
    {
        if (Home() is not { } host) return null;
        await host.ShellAsync(command, stop);
        return Toll.None;
    }

    private async Task<Toll?> OldDatabaseAsync(CancellationToken stop)
    {
        if (old is null || !IsOn(old)) return null;
        await old.ShellAsync("systemctl stop agentmetald; rm -f /var/lib/agentmetal/local.db*; cp -a $1/. /var/lib/agentmetal/; systemctl start agentmetald", stop, OldCopy);
        return Toll.None;
    }

    private async Task<Toll?> PowerAsync(bool on, CancellationToken stop)
    {
        if (Home() is not { } host) return null;
        await host.PowerOffAsync(stop);
        if (on) await host.StartAsync(stop);
        return Toll.None;
    }

    private async Task<Toll?> CoordinatorAsync(Fault fault, CancellationToken stop)
    {
        if (fault.Arguments[0] == "kill" == coordinatorDown) return null;
        if (coordinatorDown) await fleet.StartCoordinatorAsync(stop);
        else await fleet.KillCoordinatorAsync();
        coordinatorDown = !coordinatorDown;
        return Toll.None;
    }
}
