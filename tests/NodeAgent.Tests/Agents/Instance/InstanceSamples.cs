using System.Collections.Immutable;
using System.Text;
using AgentMetal.NodeAgent.Agents.Instance;
using AgentMetal.NodeAgent.Pipeline;
using AgentMetal.Runtime.Approval;
using AgentMetal.Runtime.Planning;
using AgentMetal.Runtime.Resources.Kinds;
using AgentMetal.Runtime.Trust;
using CsCheck;

namespace AgentMetal.NodeAgent.Tests.Agents.Instance;

/// <summary>Trusts everything or nothing, for agents whose planning is tested.</summary>
internal sealed class AllOrNothing(bool trusted) : IDigestVerifier
{
    public DigestOutcome IsTrusted(string purpose, string sha256, IReadOnlyList<DigestSignature> signatures) =>
        new() { IsTrusted = trusted, By = trusted ? ["test"] : [], Problem = trusted ? "" : $"{purpose} {sha256[..12]} is not signed" };
}

/// <summary>Goals and states of one virtual machine.</summary>
internal static class InstanceSamples
{
    public const string DebianSha = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    public const string KernelSha = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";
    public const string UserData = "#cloud-config\npassword: correct-horse\n";
    public const string FromDisk = """{"disks":[{"name":"root","image":"debian","size":"4Gi"},{"name":"data","size":"1Gi","format":"raw"}],"nics":[{}],"memory":"512Mi","maxMemory":"1Gi","cpus":1,"maxCpus":4}""";
    public const string FromKernel = """{"boot":{"kernel":"kernel","cmdline":"console=ttyS0"},"nics":[{"bridge":"br0"}],"memory":"64Mi"}""";
    public const string WithSeed = """{"disks":[{"name":"root","image":"debian"}],"nics":[{}],"cloudInit":{"enabled":true,"userData":"#cloud-config\npassword: correct-horse\n"},"restart":"allowed","shutdown":{"force":"allowed"},"autostart":false}""";

    public const string WithVolume = """{"disks":[{"name":"root","image":"debian","size":"4Gi"},{"name":"data","volume":"data"}],"nics":[{}],"memory":"512Mi"}""";
    public const string Scheduled = """{"disks":[{"name":"root","image":"debian","size":"4Gi"}],"nics":[{}],"snapshots":{"every":"1h","keep":2}}""";
    public const string Tried = """{"disks":[{"name":"root","image":"debian","size":"4Gi"}],"nics":[{}],"memory":"512Mi","restart":"allowed","autoRevert":{"enabled":true,"seconds":30,"probe":{"consoleText":"up"}}}""";
    public const string Slot = "auto-20261128t120000z";

    public const string FixedAddress = """{"disks":[{"name":"root","image":"debian","size":"4Gi"}],"nics":[{"ip":"192.168.122.50"},{"network":"lan","mac":"52:54:00:00:00:01","ip":"10.0.0.9","spoofing":"allowed"}],"memory":"512Mi"}""";
    public const string Copied = """{"disks":[{"name":"root"},{"name":"data","size":"8Gi","format":"raw"}],"nics":[{}],"memory":"512Mi","source":{"instance":"web"}}""";

    private static readonly Dictionary<string, ReadOnlyMemory<byte>> s_references = new(StringComparer.Ordinal)
    {
        ["Image/debian"] = Valid(ImageKind.Schema, $$"""{"url":"https://images.example/debian.qcow2","sha256":"{{DebianSha}}","format":"qcow2"}"""),
        ["Image/kernel"] = Valid(ImageKind.Schema, $$"""{"url":"file:///srv/vmlinuz","sha256":"{{KernelSha}}","format":"kernel"}"""),
        ["Volume/data"] = Valid(VolumeKind.Schema, """{"size":"1Gi"}"""),
    };

    public static InstanceMember Member { get; } = new(new(null!, null!, null!), new(null!, null!, null!, null!), TimeProvider.System, new());

    public static ReadOnlyMemory<byte> Valid(Runtime.Resources.KindSchema schema, string spec)
    {
        var (canonical, errors) = schema.Validate(Encoding.UTF8.GetBytes(spec));
        Assert.Empty(errors);
        return canonical.ToArray();
    }

    public static MemberInput Input(string spec = FromDisk, bool absent = false, bool protect = false, bool trusted = true) => new()
    {
        Key = "n0/Instance/uid-1/0",
        ResourceKey = "Instance default/hello",
        Project = "default",
        Name = "hello",
        ResourceUid = "uid-1",
        Ordinal = 0,
        Generation = 1,
        Spec = Valid(InstanceKind.Schema, spec),
        Absent = absent,
        Teardown = absent,
        Protect = protect,
        NodeUid = "n0",
        References = s_references,
        DigestVerifier = new AllOrNothing(trusted),
    };

    /// <summary>As the host aims it.</summary>
    public static InstanceGoal Goal(MemberInput input)
    {
        var read = Member.ReadGoal(input);
        Assert.Empty(read.Errors);
        return read.Goal!;
    }

    public static InstanceScope Scope(MemberInput input)
    {
        var goal = input.Absent ? null : Goal(input);
        return new() { Layout = InstanceLayout.Of("default", "hello", "uid-1", 0, new()), Emulator = "/usr/bin/qemu-system-x86_64", Programs = new(), Goal = goal, Adopt = goal?.Adopt ?? "" };
    }

    /// <summary>A host that can run machines and has none.</summary>
    public static InstanceState Nothing(MemberInput input)
    {
        var goal = Goal(input with { Absent = false });
        return new()
        {
            Hypervisor = Hypervisor.Ok,
            Accelerator = "qemu",
            Domain = goal.Adopt.Length > 0 ? Owner.Missing : FactValue.Absent,
            Power = Power.Off,
            Disks = goal.Disks.ToImmutableSortedDictionary(d => d.Name, _ => FactValue.Absent, StringComparer.Ordinal),
            Images = goal.Images.ToImmutableSortedDictionary(i => i.Spec.Sha256, _ => FactValue.Absent, StringComparer.Ordinal),
            Networks = goal.Networks.ToImmutableSortedDictionary(n => n, _ => Present.Inactive, StringComparer.Ordinal),
            Bridges = goal.Bridges.ToImmutableSortedDictionary(b => b, _ => Present.It, StringComparer.Ordinal),
            Addressed = goal.Addresses.ToImmutableSortedDictionary(a => a.Key, _ => FactValue.Absent, StringComparer.Ordinal),
            Slot = goal.Spec.Snapshots.Scheduled ? Slot : FactValue.Absent,
            Source = goal.Source is null ? FactValue.Absent : Power.Off,
            SourceDisks = goal.Source is null ? ImmutableSortedDictionary<string, (string, DiskState)>.Empty : goal.Disks.ToImmutableSortedDictionary(d => d.Name, d => (d.Source + ".qcow2", new DiskState("qcow2", 2L << 30, "")), StringComparer.Ordinal),
        };
    }

    /// <summary>A machine with these disks, of 32Mi; with "ask" or "allowed" as the first, what it says of restarts.</summary>
    public static MemberInput Disks(params string[] disks) => disks is ["ask" or "allowed", .. var rest] ? Disks(disks[0], "{", rest) : Disks("ask", "{", disks);

    public static MemberInput Disks(string policy, string head, string[] disks) => Input(head + $"\"restart\":\"{policy}\",\"boot\":{{\"kernel\":\"kernel\"}},\"disks\":["
        + string.Join(',', disks.Select(d => d.Split(':') is [var name, var format] ? $"{{\"name\":\"{name}\",\"size\":\"32Mi\",\"format\":\"{format}\"}}" : $"{{\"name\":\"{d}\",\"size\":\"32Mi\"}}")) + "]}");

    /// <summary>Files that the new goal names and that are not there.</summary>
    public static InstanceState Missing(InstanceState s, MemberInput input)
    {
        foreach (var disk in Goal(input).Disks)
            if (!s.DiskStates.TryGetValue(disk.Name, out var there) || there.Format != disk.Format)
                s = s with { Disks = s.Disks.SetItem(disk.Name, FactValue.Absent), DiskStates = s.DiskStates.Remove(disk.Name) };
        return s;
    }

    /// <summary>With a snapshot of what is there.</summary>
    public static InstanceState With(this InstanceState s, string name, string owner) => s with
    {
        Snapshots = s.Snapshots.SetItem(name, new(owner, s.Power, s.Config, s.Live, s.DiskStates.ToImmutableSortedDictionary(d => d.Key, d => d.Value.Size, StringComparer.Ordinal)) { ConfigXml = s.ConfigXml }),
    };

    /// <summary>As the goal says.</summary>
    public static InstanceState Converged(MemberInput input)
    {
        var goal = Goal(input with { Absent = false });
        var aspects = goal.Config?.Aspects() ?? new DomainConfig { Name = "web", Uuid = "x", Type = "qemu", Cpus = 1, MaxCpus = 1, MemoryKiB = 65536, MaxMemoryKiB = 65536 }.Aspects();
        var disks = goal.Disks.ToImmutableSortedDictionary(d => d.Name, d => new DiskState(d.Format, d.Size > 0 ? d.Size : 2L << 30, d.Image is { } i && d.Format == "qcow2" ? "/var/lib/agentmetal/images/" + i.Spec.Sha256 + ".qcow2" : ""), StringComparer.Ordinal);
        var done = Nothing(input) with
        {
            Domain = goal.Adopt.Length > 0 ? Owner.Adopted : Owner.Ours,
            Power = goal.Power,
            Autostart = goal.Autostart,
            Config = aspects,
            ConfigXml = goal.Config is null ? "" : DomainXml.Render(goal.Config, "/usr/bin/qemu-system-x86_64"),
            Live = goal.Power == Power.Off ? Aspect.None : aspects,
            Disks = disks.ToImmutableSortedDictionary(d => d.Key, d => d.Value.ToString(), StringComparer.Ordinal),
            DiskStates = disks,
            Images = goal.Images.ToImmutableSortedDictionary(i => i.Spec.Sha256, _ => Present.It, StringComparer.Ordinal),
            ImageSizes = goal.Images.Where(i => i.Spec.Format == "qcow2").ToImmutableSortedDictionary(i => i.Spec.Sha256, _ => 2L << 30, StringComparer.Ordinal),
            Networks = goal.Networks.ToImmutableSortedDictionary(n => n, _ => Present.Active, StringComparer.Ordinal),
            Addressed = goal.Addresses,
            Seed = goal.Seed is null ? FactValue.Absent : Present.It,
            Settled = goal.ReportsDrift ? goal.Digest : FactValue.Absent,
            Request = goal.Spec.Request.IsGiven ? goal.Spec.Request.Id : FactValue.Absent,
            Dir = goal.Adopt.Length > 0 ? FactValue.Absent : Present.It,
            Data = goal.Disks.IsEmpty ? Stored.None : Stored.Some,
        };
        if (goal.Spec.Request.Action == InstanceRequest.Revert) done = done.With(goal.Spec.Request.Snapshot, "uid-2");
        return goal.Spec.Snapshots.Scheduled ? done.With(Slot, SnapshotOwner.Schedule) : done;
    }

    /// <summary>The request with the id r-1, as the first field of a spec.</summary>
    public static string Asked(string action) => "\"request\":{\"action\":\"" + action + "\",\"id\":\"r-1\"},";

    /// <summary>As a field of a spec; one whose changes are tried cannot have it.</summary>
    public const string ReportingDrift = "\"drift\":\"report\",";

    public const string AskedBack = "\"request\":{\"action\":\"revert\",\"id\":\"r-1\",\"snapshot\":\"monday\"},";

    public static readonly Gen<MemberInput> Inputs = Gen.Select(Gen.OneOf(FromDisk, FromKernel, WithSeed, WithVolume, Scheduled, Tried, Copied, FixedAddress), Gen.OneOf("running", "running", "running", "stopped", "paused"), Gen.Int[0, 9], Gen.Int[0, 9], Gen.Select(Gen.OneOf("", "", "", Asked("restart"), Asked("reset"), Asked("export"), AskedBack), Gen.OneOf("", "", ReportingDrift), static (a, b) => a + b),
        (spec, power, going, trust, asked) => Input("{" + (spec == Tried ? asked.Replace(ReportingDrift, "", StringComparison.Ordinal) : asked) + "\"power\":\"" + power + "\"," + spec[1..], absent: going == 0, trusted: trust > 0));

    /// <summary>Any state of the host, unseen and half-made ones among them.</summary>
    public static Gen<InstanceState> State(MemberInput input)
    {
        var (nothing, done) = (Nothing(input), Converged(input));
        var wanted = Goal(input with { Absent = false });
        var host = Gen.Select(Often(Hypervisor.Ok, "qemu is missing"), Often("qemu", "kvm", FactValue.Absent), Often("ours", "absent", "absent", "foreign", "drifted"), Often("wanted", Power.Off, Power.Off, Power.Running, Power.Paused, Power.Stopping, Power.Suspended),
            Often("wanted", "other"), Gen.Int[0, 5], (a, b, c, d, e, f) => (Hypervisor: a, Accelerator: b, Domain: c, Power: d, Autostart: e, LiveDrift: f));
        var marks = Gen.Select(Often("wanted", FactValue.Absent, "0123456789abcdef", "off", "paused", "running", InstanceDrift.Busy, FactValue.Unseen("no answer")), Gen.Bool, (a, b) => (Settled: a, Failed: b));
        var files = Gen.Select(Often("all", "none", "first", "small", "large", "unreadable"), Often("all", "none", "loading", "failed"), Often(Present.Active, Present.Inactive, FactValue.Absent), Often(Present.It, FactValue.Absent), Gen.Bool, Often("wanted", FactValue.Absent, "r-0", FactValue.Unseen("no answer")),
            (a, b, c, d, e, r) => (Disks: a, Images: b, Network: c, Bridge: d, Seed: e, Request: r));
        var snapshots = Gen.Select(Often("wanted", "none", "many", "future", "change", "stale", "other"), Often(FactValue.Absent, "trying", "over"), Gen.Int[0, 5], (a, b, c) => (Which: a, Trial: b, Reverted: c));
        var addresses = Often("wanted", "none", "other", "taken", "left over");
        var waits = Gen.Select(Often("nothing", "this", "other"), Gen.Int[0, 5], Gen.Int[0, 19], (a, b, c) => (Held: a, Hangs: b, Dir: c));
        return Gen.Select(host, files, snapshots, Gen.Select(marks, waits), addresses, (h, f, n, mw, a) =>
        {
            var (m, w) = mw;
            var s = done with { Hypervisor = h.Hypervisor, Accelerator = h.Accelerator };
            s = WithDisks(s, nothing, f.Disks);
            s = f.Images switch
            {
                "none" => s with { Images = nothing.Images, ImageSizes = nothing.ImageSizes },
                "loading" or "failed" => s with { Images = nothing.Images, ImageSizes = nothing.ImageSizes, Downloads = nothing.Images.Keys.Take(1).ToImmutableSortedDictionary(k => k, _ => new DownloadState(5, 10, f.Images == "failed" ? "404" : ""), StringComparer.Ordinal) },
                _ => s,
            };
            if (wanted.Source is not null) s = s with { Source = f.Images switch { "none" => FactValue.Absent, "loading" => Power.Running, "failed" => FactValue.Unseen("no answer"), _ => s.Source } };
            s = s with
            {
                Networks = s.Networks.ToImmutableSortedDictionary(n => n.Key, _ => f.Network, StringComparer.Ordinal),
                Bridges = s.Bridges.ToImmutableSortedDictionary(n => n.Key, _ => f.Bridge, StringComparer.Ordinal),
                Seed = wanted.Seed is not null && f.Seed ? Present.It : FactValue.Absent,
            };
            s = a switch
            {
                "none" or "taken" => s with { Addressed = nothing.Addressed, AddressProblems = a == "taken" ? nothing.Addressed.ToImmutableSortedDictionary(c => c.Key, _ => "is lent to another", StringComparer.Ordinal) : Aspect.None },
                "other" => s with { Addressed = s.Addressed.ToImmutableSortedDictionary(c => c.Key, _ => "192.168.122.9", StringComparer.Ordinal) },
                "left over" => s with { Addressed = s.Addressed.SetItem(Card.Of("default", "52:54:00:00:00:09"), "192.168.122.8") },
                _ => s,
            };
            if (f.Request != "wanted") s = s with { Request = f.Request };
            s = WithDomain(s, wanted, h.Domain, h.Power == "wanted" ? wanted.Power : h.Power, h.Autostart, h.LiveDrift);
            if (wanted.NeedsSnapshots) s = WithSnapshots(s, wanted, n.Which, n.Trial, n.Reverted);
            if (wanted.ReportsDrift) s = s with { Cause = m.Failed && s.Power is Power.Off or Power.Paused ? InstanceDrift.Unasked : "" };
            if (m.Settled != "wanted") s = s with { Settled = m.Settled.Length is > 1 and < 8 ? wanted.Digest + " " + m.Settled : m.Settled };
            s = s with { Held = w.Held switch { "nothing" => FactValue.Absent, "other" => "0123456789ab", _ => InForce.Held(wanted, s with { Live = s.Live.IsEmpty ? s.Live : s.Live.SetItem(Aspect.Boot, "disk") }) }, Hung = w.Hangs == 0 && s.IsUp ? Yes.It : FactValue.Absent };
            if (s.Dir == Present.It && w.Dir < 3) s = s with { Dir = w.Dir switch { 0 => DirIs.Unmarked, 1 => DirIs.Unclaimed, _ => DirIs.Others } };
            if (s.Dir == DirIs.Others) s = s with { Data = Stored.None };
            if (input.Absent && w.Dir > 17) s = s with { Users = "web" };
            // Of a machine that is to go nothing is looked at that only its spec could name.
            return input.Absent ? Unnamed(s) : s;
        });
    }

    /// <summary>As a machine is seen whose spec is not known.</summary>
    public static InstanceState Unnamed(InstanceState s) => s with
    {
        Disks = Aspect.None,
        DiskStates = ImmutableSortedDictionary<string, DiskState>.Empty,
        Images = Aspect.None,
        ImageSizes = ImmutableSortedDictionary<string, long>.Empty,
        Downloads = ImmutableSortedDictionary<string, DownloadState>.Empty,
        Networks = Aspect.None,
        Bridges = Aspect.None,
        Seed = FactValue.Absent,
        Request = FactValue.Absent,
        Settled = FactValue.Absent,
        Held = FactValue.Absent,
        Cause = "",
        Source = FactValue.Absent,
        SourceDisks = ImmutableSortedDictionary<string, (string, DiskState)>.Empty,
        Accelerator = FactValue.Absent,
        Snapshots = Nothing(Input(FromKernel)).Snapshots,
        Slot = FactValue.Absent,
        Trial = FactValue.Absent,
        Reverted = FactValue.Absent,
    };

    private static InstanceState WithSnapshots(InstanceState s, InstanceGoal wanted, string which, string trial, int reverted)
    {
        s = s with
        {
            Trial = trial == FactValue.Absent ? trial : wanted.ChangeDigest,
            TrialOver = trial == "over" ? "its probe failed" : "",
            Reverted = reverted switch { 0 => wanted.ChangeDigest, 1 => "0123456789ab", _ => FactValue.Absent },
        };
        if (s.Domain != Owner.Ours || which == "none") return s with { Snapshots = s.Snapshots.Clear() };
        return which switch
        {
            "many" => s.With("auto-20261128t080000z", SnapshotOwner.Schedule).With("auto-20261128t090000z", SnapshotOwner.Schedule).With("auto-20261128t100000z", SnapshotOwner.Schedule),
            "future" => s.With("auto-20261128t110000z", SnapshotOwner.Schedule).With("auto-20380119t000000z", SnapshotOwner.Schedule),
            "change" => s.With(Trials.Before(wanted), SnapshotOwner.Change),
            "stale" => s.With(Trials.Before(wanted), SnapshotOwner.Stale),
            "other" => s.With("by-hand", SnapshotOwner.Nobody),
            _ => s,
        };
    }

    private static InstanceState WithDisks(InstanceState s, InstanceState nothing, string which)
    {
        var first = s.DiskStates.Keys.FirstOrDefault();
        if (first is null) return s;
        return which switch
        {
            "none" => s with { Disks = nothing.Disks, DiskStates = nothing.DiskStates, Data = Stored.None },
            "first" => s with { Disks = s.Disks.SetItem(first, FactValue.Absent), DiskStates = s.DiskStates.Remove(first), Data = s.DiskStates.Count > 1 ? Stored.Some : Stored.None },
            "unreadable" => s with { Disks = s.Disks.SetItem(first, FactValue.Unseen("no answer")), DiskStates = s.DiskStates.Remove(first) },
            "small" or "large" when s.DiskStates[first] is var d && (which == "small" ? d with { Size = d.Size / 2 } : d with { Size = d.Size * 2 }) is var other =>
                s with { Disks = s.Disks.SetItem(first, other.ToString()), DiskStates = s.DiskStates.SetItem(first, other) },
            _ => s,
        };
    }

    private static InstanceState WithDomain(InstanceState s, InstanceGoal wanted, string domain, string power, string autostart, int liveDrift)
    {
        if (domain is "absent" or "foreign") return s.Off() with { Domain = domain == "absent" ? FactValue.Absent : Owner.Foreign, Config = Aspect.None, ConfigXml = "", Autostart = FactValue.Absent };
        if (domain == "drifted" && s.ConfigXml.Replace("</devices>", "<graphics type=\"vnc\"/></devices>", StringComparison.Ordinal).Replace("current=\"1\"", "current=\"2\"", StringComparison.Ordinal) is var byHand)
            s = s with { Config = DomainXml.Parse(byHand).Config!.Aspects(), ConfigXml = byHand };
        s = s with { Autostart = autostart == "wanted" ? wanted.Autostart : wanted.Autostart == Yes.It ? Yes.No : Yes.It, Power = power };
        if (power == Power.Off) return s with { Live = Aspect.None };
        var live = s.Live.IsEmpty ? wanted.Config!.Aspects() : s.Live;
        return s with
        {
            Live = liveDrift switch
            {
                1 when live.ContainsKey(Aspect.Memory) => live.SetItem(Aspect.Memory, $"32768 of {Aspect.Pair(live[Aspect.Memory]).Max} KiB"),
                2 => live.SetItem(Aspect.Disk + "/srv/other.raw", "raw as vdf"),
                3 => live.Remove(live.Keys.First(k => k.StartsWith(Aspect.Nic, StringComparison.Ordinal))),
                4 => live.SetItem(live.Keys.First(k => k.StartsWith(Aspect.Nic, StringComparison.Ordinal)), "network other"),
                5 => live.SetItem(Aspect.Boot, "kernel /other initrd  cmdline "),
                _ => live,
            },
        };
    }

    private static Gen<string> Often(string usual, params string[] others) => Gen.OneOf([usual, usual, usual, usual, .. others]);
}
