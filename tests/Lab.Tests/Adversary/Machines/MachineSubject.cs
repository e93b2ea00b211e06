using System.Collections.Immutable;
using System.Diagnostics;
using System.Globalization;
using System.Text.Json;
using System.Xml.Linq;
using AgentMetal.LabTests.Fleets;
using AgentMetal.LabTests.Instances;
using AgentMetal.TestKit.Adversary;
using AgentMetal.Testing;

namespace AgentMetal.LabTests.Adversary.Machines;

/// <summary>
/// A virtual machine of the fleet as the adversary's subject. It has no guest: blocks are written through QEMU as a guest's are. What is
/// held is read from the
/// files: a block that lies in any file or snapshot of the machine, on any host, is held ("b7"); one that what runs sees is in use, at its
/// place ("b7@vda"), and
/// so is one that the next start would see ("b7>vda"). Each is an item of its own: a block that is held and in use no more is taken away
/// from its guest.
/// </summary>
internal sealed partial class MachineSubject(Fleet fleet, string name, int salt) : ISubject
{
    private const string Instances = "/var/lib/agentmetal/instances";
    private static readonly long Origin = Stopwatch.GetTimestamp();

    private readonly HashSet<Place> places = [];
    private Look? seen;
    private string problem = "";

    public IReadOnlyList<FaultKind> Kinds => MachineFaults.All;

    private string Id => "default-" + name;
    private string Dir => Instances + "/" + Id;

    /// <summary>Where hands put what they take away.</summary>
    private string Aside => "/srv/adversary/" + name;

    public async Task BeginAsync(CancellationToken stop)
    {
        foreach (var host in fleet.Lab.Hosts)
        {
            await host.ShellAsync("mkdir -p $1 /var/lib/agentmetal/images-in", stop, Aside);
            await File.WriteAllBytesAsync(Seen(host, "/var/lib/agentmetal/images-in/blank.raw"), SmallGuest.Image(), stop);
        }
        (await fleet.ApplyAsync(Image + Yaml(), stop, "--timeout", "60s")).OrThrow();
        for (var i = 0; i < 6; i++) await WriteAsync(stop);
        if (await WhereAsync() is not { } host1) throw new LabException($"{name} runs on no host: {await DescribeAsync(stop)}");
        if (Blocks(host1, Dir + "/a.qcow2",
            false).Count != 3) throw new LabException($"what QEMU wrote is not read: {await host1.ShellAsync("ls -l $1", stop, Dir)}");
        // What "an old copy" will be.
        await host1.ShellAsync("systemctl stop agentmetald; rm -rf $1; mkdir -p $1; cp -a /var/lib/agentmetal/local.db* $1/; systemctl start agentmetald", stop, OldCopy);
        old = host1;
    }

    public async Task<Look> LookAsync(CancellationToken stop)
    {
        var held = new Dictionary<Place, HashSet<string>>();
        var (defined, running) = (0, 0);
        void Put(Place place, IEnumerable<string> items)
        {
            if (!held.TryGetValue(place, out var all)) held[place] = all = [];
            all.UnionWith(items);
        }
        foreach (var host in fleet.Lab.Hosts)
        {
            foreach (var path in Files(host)) Put(new(host.Name, path), Blocks(host, path, true).Select(n => $"b{n}"));
            var next = Domain(host, $"/etc/libvirt/qemu/{Id}.xml");
            var run = IsOn(host) ? Domain(host, $"/run/libvirt/qemu/{Id}.xml") : null;
            if (next is not null) defined++;
            if (run is not null) running++;
            foreach (var (target, path) in next ?? []) Put(new("next", FileOf(path)), Blocks(host, path, false).Select(n =>
                $"b{n}>{target}"));
            foreach (var (target, path) in run ?? []) Put(new("run", FileOf(path)), Blocks(host, path, false).Select(n =>
                $"b{n}@{target}"));
        }
        Put(new("world", "one"), running > 1 ? [] : ["no two of it run"]);
        if (running > 1) problem = "it runs on two hosts at once";
        places.UnionWith(held.Keys.Where(p => p.Member is "run" or "next"));
        var all = held.ToImmutableDictionary(h => h.Key, h => (IReadOnlySet<string>?)h.Value);
        // What is off, and what libvirt does not know now, uses what it used: it shows when it is there again.
        foreach (var place in places) if (place.Member == "run" ? running == 0 : defined == 0) all = all.SetItem(place, null);
        return await Task.FromResult(seen = new Look { At = Stopwatch.GetElapsedTime(Origin), Held = all, AtRisk = AtRisk() });
    }

    public async Task HealAsync(CancellationToken stop)
    {
        foreach (var host in fleet.Lab.Hosts)
        {
            await host.StartAsync(stop);
            await host.ShellAsync("systemctl start libvirtd agentmetald", stop);
        }
        if (coordinatorDown) await fleet.StartCoordinatorAsync(stop);
        coordinatorDown = false;
        await fleet.WaitAttachedAsync(fleet.Lab.Hosts.Count, stop);
    }

    public async Task<Ending> SettleAsync(CancellationToken stop)
    {
        var (clock, since, last) = (Stopwatch.StartNew(), TimeSpan.Zero, "");
        while (true)
        {
            var now = await HeldAsync(stop) is { Count: > 0 } held ? "held " + string.Join(' ',
                held.Select(h => h.GetProperty("plan").GetProperty("hash").GetString()))
                : await ReadyAsync(stop) ? "ready" : "";
            if (now != last) (last, since) = (now, clock.Elapsed);
            if (now.Length > 0 && clock.Elapsed - since > TimeSpan.FromSeconds(4)) return (ended = now == "ready" ? Ending.Converged
                : Ending.Held).Value;
            if (clock.Elapsed > TimeSpan.FromSeconds(40) && await DescribeAsync(stop) is var said && Says(said)) return (ended =
                Ending.Advised).Value;
            if (clock.Elapsed > TimeSpan.FromSeconds(75)) return (ended = Ending.Restless).Value;
            await Task.Delay(700, stop);
        }
    }

    /// <summary>What a text covers are the files that it names; a revert says that all goes that was written since.</summary>
    public async Task<Signature?> SignAsync(CancellationToken stop)
    {
        if (coordinatorDown) return null;
        var steps = (await HeldAsync(stop)).SelectMany(h => h.GetProperty("plan").GetProperty("steps").EnumerateArray()).Where(s =>
            s.GetProperty("risk").GetString() == "Dangerous").ToArray();
        if (steps.Length == 0) return null;
        var text = string.Join("; ", steps.Select(s => $"{s.GetProperty("text").GetString()} [{s.GetProperty("why").GetString()}]"));
        var look = await LookAsync(stop);
        var all = steps.Any(s => s.GetProperty("text").GetString()!.Contains("what was written since is lost", StringComparison.Ordinal));
        var most = look.Held.Where(h => h.Value is not null && (all || text.Contains(FileOf(h.Key.Medium),
            StringComparison.Ordinal))).SelectMany(h => h.Value!).Distinct().Count();
        var said = await fleet.CliAsync(stop, "approve", "instance/" + name, "--yes", "--reason", "the adversary signs");
        return said.Succeeded ? new(text, most) : null;
    }

    /// <summary>What is as declared has every declared disk in use that a file is there of, with what it holds.</summary>
    public async Task<IReadOnlyList<string>> UntoldAsync(int givenUp, CancellationToken stop)
    {
        List<string> said = problem.Length > 0 ? [problem] : [];
        if (deleted || ended != Ending.Converged || await WhereAsync() is not { } host) return said;
        var used = (Domain(host, $"/run/libvirt/qemu/{Id}.xml") ?? []).Select(d => FileOf(d.Path)).ToHashSet(StringComparer.Ordinal);
        said.AddRange(declared.Where(d => !used.Contains(d.File)).Select(d => $"Ready, and {d.File}, which is declared, is not in use"));
        return said;
    }

    public async Task<string> DescribeAsync(CancellationToken stop)
    {
        var said = await fleet.CliAsync(stop, "describe", "instance", name);
        return said.Stdout + said.Stderr;
    }

    public async Task<string> EventsAsync(CancellationToken stop) =>
        (await fleet.CliAsync(stop, "events", "--for", "instance/" + name, "--limit", "100")).Stdout;

    /// <summary>By the product, and what it leaves by hand: the verdict is known.</summary>
    public async Task RemoveAsync(CancellationToken stop)
    {
        try
        {
            await HealAsync(stop);
            foreach (var snapshot in snapshots) await fleet.CliAsync(stop, "delete", "snapshot", snapshot, "--yes", "--no-wait");
            await fleet.CliAsync(stop, "delete", "instance", name, "--yes", "--no-wait");
            for (var i = 0; i < 12 && (await fleet.CliAsync(stop, "get", "instance", name)).ExitCode != 3; i++)
            {
                await fleet.CliAsync(stop, "approve", "instance/" + name, "--yes", "--reason", "over");
                foreach (var snapshot in snapshots) await fleet.CliAsync(stop, "approve", "snapshot/" + snapshot, "--yes", "--reason",
                    "over");
                await Task.Delay(500, stop);
            }
        }
        catch (Exception e) when (e is Xunit.Sdk.XunitException or LabException) { }
        foreach (var host in fleet.Lab.Hosts)
            await host.RunAsync(["sh", "-c",
                "virsh -q -c qemu:///system destroy $1; virsh -q -c qemu:///system undefine --snapshots-metadata $1; rm -rf $2 $3", "sh",
                    Id, Dir, Aside], cancellationToken: stop);
    }

    /// <summary>As declared; one that was deleted is gone.</summary>
    private async Task<bool> ReadyAsync(CancellationToken stop)
    {
        var got = await fleet.CliAsync(stop, "get", "instance", name, "-o", "json");
        if (got.ExitCode == 3) return deleted;
        return got.Succeeded && JsonDocument.Parse(got.Stdout).RootElement.GetProperty("status").GetProperty("ready").GetBoolean();
    }

    private async Task<IReadOnlyList<JsonElement>> HeldAsync(CancellationToken stop)
    {
        var listed = await fleet.CliAsync(stop, "approve", "--list", "-o", "json");
        return listed.Succeeded ? [.. JsonDocument.Parse(listed.Stdout).RootElement.GetProperty("items").EnumerateArray().Where(i =>
            i.GetProperty("resource").GetString() == "Instance default/" + name).Select(i => i.Clone())] : [];
    }

    private static bool Says(string describe) => ((string[])["agentmetal approve", "findmnt", "virsh", "move it away", "set spec",
        "another instance's", "is missing"]).Any(w => describe.Contains(w, StringComparison.Ordinal));

    // --- looking ---

    private static bool IsOn(LabHost host)
    {
        try { return host.LeaderPid > 0; }
        catch (LabException) { return false; }
    }

    /// <summary>A host's path as this machine sees it, also while the host is off.</summary>
    private string Seen(LabHost host, string path) => IsOn(host) ? host.RootPath + path : Path.Combine(fleet.Lab.StateDirectory, "hosts",
        host.Name, "upper") + path;

    private static string FileOf(string path) => path[(path.LastIndexOf('/') + 1)..];

    private ImmutableHashSet<int> Blocks(LabHost host, string path, bool snapshots) => DiskBlocks.Read(Seen(host, path), salt, snapshots);

    private IEnumerable<string> Files(LabHost host)
    {
        List<string> found = [];
        foreach (var directory in (string[])[Dir, Aside])
        {
            try
            {
                found.AddRange(Directory.EnumerateFiles(Seen(host, directory), "*", SearchOption.AllDirectories).Select(f =>
                directory + f[Seen(host, directory).Length..]));
            }
            catch (IOException) { }
        }
        return found.Where(f => new FileInfo(Seen(host, f)) is { Exists: true, Length: >= DiskBlocks.Distance });
    }

    /// <summary>Its disks, as libvirt wrote them down; null where it has none of this name.</summary>
    private List<(string Target, string Path)>? Domain(LabHost host, string file)
    {
        try
        {
            return [.. XDocument.Load(Seen(host, file)).Descendants("disk").Select(d =>
                (d.Element("target")?.Attribute("dev")?.Value ?? "", d.Element("source")?.Attribute("file")?.Value ?? ""))
                .Where(d => d.Item2.StartsWith(Dir + "/", StringComparison.Ordinal))];
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or System.Xml.XmlException) { return null; }
    }

    /// <summary>Where it runs.</summary>
    private Task<LabHost?> WhereAsync() => Task.FromResult(fleet.Lab.Hosts.FirstOrDefault(h => IsOn(h) && Domain(h,
        $"/run/libvirt/qemu/{Id}.xml") is not null));

    /// <summary>Where libvirt knows it, running or not.</summary>
    private LabHost? Home() => fleet.Lab.Hosts.FirstOrDefault(h => IsOn(h)
        && (Domain(h, $"/run/libvirt/qemu/{Id}.xml") ?? Domain(h, $"/etc/libvirt/qemu/{Id}.xml")) is not null);

    private static string Text(int number) => number.ToString(CultureInfo.InvariantCulture);
}
