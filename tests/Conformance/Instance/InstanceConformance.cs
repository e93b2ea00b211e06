using System.Collections.Immutable;
using System.Reflection;
using AgentMetal.NodeAgent.Agents.Instance;
using AgentMetal.NodeAgent.Agents.Instance.Tools;
using AgentMetal.NodeAgent.Pipeline;
using AgentMetal.NodeAgent.Tests.Agents.Instance;
using AgentMetal.Runtime.Planning;
using CsCheck;
using static AgentMetal.NodeAgent.Tests.Agents.Instance.InstanceSamples;

namespace AgentMetal.Conformance.Instance;

/// <summary>The node half of Instance. That its predictions are what a real libvirt does is shown on a host of the lab.</summary>
public sealed class InstanceConformance : AgentConformance
{
    private protected override ISuite Suite { get; } = new Suite<InstanceGoal, InstanceState>(new InstanceCases());
}

internal sealed class InstanceCases : Samples<InstanceGoal, InstanceState>
{
    private static readonly MemberInput s_adopted = Input("""{"adopt":{"domain":"web"}}""");

    public override IReadOnlyCollection<string> Kinds { get; } =
        [.. typeof(Kind).GetFields(BindingFlags.Public | BindingFlags.Static).Where(f => f.IsLiteral).Select(f => (string)f.GetRawConstantValue()!)];

    public override Gen<Case<InstanceGoal, InstanceState>> Any { get; } = Gen.Select(Inputs.SelectMany(i => State(i).Select(s => (Input: i, State: s))), Gen.Int[0, 29], Gen.Int[0, 3]).Select((c, dice, which) => dice switch
    {
        > 19 => Of("", dice > 24 ? To(c.Input, dice > 27 ? "n2" : "n1") : dice > 21 ? From(c.Input) : c.Input, OnItsWay(c.State, (dice * 4) + which)),
        0 => Of("", c.Input, Unseen(c.State, which)),
        2 or 3 => Another(s_lists[which + (4 * (dice - 2))], which, c.State),
        1 => Of("", s_adopted, Converged(s_adopted) with { Power = which == 0 ? Power.Off : Power.Running, Domain = which == 1 ? Owner.Missing : Owner.Adopted }),
        _ => Of("", c.Input, c.State),
    });

    public override IReadOnlyList<Case<InstanceGoal, InstanceState>> Journeys { get; } = [.. Named()];

    public override IReadOnlyCollection<string> Secrets => ["correct-horse"];

    public override bool HoldsData => true;

    public override int Count => 500;

    /// <summary>A download ends, a guest that shuts down is off, and what could not be read can be read again.</summary>
    public override InstanceState Settle(InstanceState s)
    {
        if (s.Power is Power.Stopping or Power.Suspended) s = s.Off();
        s = Moved(s);
        if (!s.Downloads.IsEmpty) s = s with { Downloads = ImmutableSortedDictionary<string, DownloadState>.Empty };
        if (s.Images.GetValueOrDefault(DebianSha) == Present.It && !s.ImageSizes.ContainsKey(DebianSha)) s = s with { ImageSizes = s.ImageSizes.SetItem(DebianSha, 2L << 30) };
        return s;
    }

    public override IEnumerable<InstanceState> Between(InstanceState a, InstanceState b) =>
    [
        a with { Hypervisor = b.Hypervisor }, a with { Accelerator = b.Accelerator }, a with { Domain = b.Domain, Config = b.Config, ConfigXml = b.ConfigXml, Autostart = b.Autostart },
        a with { Power = b.Power, Live = b.Live, Cause = b.Cause }, a with { Autostart = b.Autostart }, a with { Config = b.Config, ConfigXml = b.ConfigXml }, a with { Disks = b.Disks, DiskStates = b.DiskStates },
        a with { Seed = b.Seed }, a with { Images = b.Images, ImageSizes = b.ImageSizes }, a with { Networks = b.Networks }, a with { Bridges = b.Bridges }, a with { Addressed = b.Addressed, AddressProblems = b.AddressProblems }, a with { Data = b.Data }, a with { Dir = b.Dir }, a with { Request = b.Request }, a with { Source = b.Source }, a with { Settled = b.Settled }, a with { Held = b.Held }, a with { Hung = b.Hung }, a with { Users = b.Users },
        a with { Snapshots = b.Snapshots }, a with { Slot = b.Slot }, a with { Trial = b.Trial, TrialOver = b.TrialOver }, a with { Reverted = b.Reverted }, a with { Offer = b.Offer }, a with { Receipt = b.Receipt }, a with { Peer = b.Peer },
    ];

    /// <summary>Its disks, and what they hold of earlier moments: what a person asked to be kept.</summary>
    public override bool Loses(InstanceState before, InstanceState after) =>
        (before.Data == Stored.Some && after.Data == Stored.None && !InstanceMoves.IsCopy(before) && before.Peer != Way.Declined)
        || before.Snapshots.Any(s => !SnapshotOwner.IsPolicy(s.Value.Owner) && !after.Snapshots.ContainsKey(s.Key));

    public override bool UsesData => true;

    /// <summary>
    /// What the guest finds, in the order in which it finds it. A disk that is not declared any more goes without more words, if it is not the first and nothing
    /// comes in its stead; what comes, comes behind those that are there. A file that is gone and is made anew hides what was there.
    /// </summary>
    public override bool TakesOutOfUse(InstanceGoal? goal, InstanceState before, InstanceState after)
    {
        if (goal is null || before.Domain != Owner.Ours || after.Domain != Owner.Ours) return false;
        var (was, now) = (Used(goal, before), Used(goal, after));
        if (was.Any(p => now.Contains(p) && goal.Disks.FirstOrDefault(d => d.Path == p) is { } d && before.Disks.GetValueOrDefault(d.Name) == FactValue.Absent && after.DiskStates.ContainsKey(d.Name))) return true;
        var (gone, come) = (was.Except(now).ToList(), now.Except(was).ToList());
        if (was.Count == 0) return false;
        if (gone.Count > 0 && (come.Count > 0 || (gone.Contains(was[0]) && now.Count > 0) || gone.Any(g => goal.Disks.Any(d => Path.ChangeExtension(d.Path, null) == Path.ChangeExtension(g, null))))) return true;
        return !now.Take(was.Count - gone.Count).SequenceEqual(was.Where(now.Contains));
    }

    private static List<string> Used(InstanceGoal goal, InstanceState s) =>
        [.. Aspect.DisksOf(s.Live.IsEmpty ? s.Config : s.Live).Where(d => !d.ReadOnly && goal.Own.Has(d.Path)).Select(d => d.Path)];

    private static readonly string[][] s_lists = [["a", "b"], ["b", "a"], ["a:raw", "b"], ["n", "a", "b"], ["a"], ["b"], ["a", "n", "b"], ["a", "n"]];

    /// <summary>A machine with a, m and b, or a and b, of which another list is declared: while it runs, or is off, or what it had is not there.</summary>
    private static Case<InstanceGoal, InstanceState> Another(string[] list, int which, InstanceState dice)
    {
        var input = Disks(which % 2 == 0 ? "ask" : "allowed", dice.Autostart == Yes.It ? "{" : "{\"power\":\"stopped\",", list);
        var was = Converged(Disks("ask", "{", which > 1 ? ["a", "m", "b"] : ["a", "b"]));
        was = Missing(was with
        {
            OtherDisks = was.DiskStates.Where(d => !Goal(input).Disks.Any(g => g.Name == d.Key && g.Format == d.Value.Format))
            .ToImmutableSortedDictionary(d => Scope(input).Layout.Disk(d.Key, d.Value.Format), d => d.Value, StringComparer.Ordinal)
        }, input);
        if (dice.Power == Power.Off) was = was.Off();
        if (dice.Accelerator != "qemu") was = was with { Disks = was.Disks.SetItem(list[^1].Split(':')[0], FactValue.Absent), DiskStates = was.DiskStates.Remove(list[^1].Split(':')[0]) };
        return Of("", input, was);
    }

    private static Case<InstanceGoal, InstanceState> Of(string name, MemberInput input, InstanceState state) =>
        new(name, new InstanceAgent(Scope(input)), input.Absent ? null : Goal(input), state,
            new PlanRequest(new(new string('a', 32), input.ResourceUid, input.Generation), "goal", input.Protect) { Teardown = input.Teardown });

    private static IEnumerable<Case<InstanceGoal, InstanceState>> Named()
    {
        yield return Of("create from an image", Input(), Nothing(Input()));
        yield return Of("create from a kernel", Input(FromKernel), Nothing(Input(FromKernel)));
        yield return Of("create with a seed", Input(WithSeed), Nothing(Input(WithSeed)));
        var stopped = Input("{\"power\":\"stopped\"," + FromDisk[1..]);
        yield return Of("stop", stopped, Converged(Input()));
        yield return Of("stop what is held", stopped, Converged(Input()) with { Power = Power.Paused });
        var paused = Input("{\"power\":\"paused\"," + FromDisk[1..]);
        yield return Of("pause", paused, Converged(Input()));
        yield return Of("resume", Input(), Converged(paused));
        yield return Of("grow", Input(FromDisk.Replace("4Gi", "8Gi", StringComparison.Ordinal)), Converged(Input()));
        yield return Of("more memory and processors", Input(FromDisk.Replace("\"512Mi\"", "\"768Mi\"", StringComparison.Ordinal).Replace("\"cpus\":1", "\"cpus\":2", StringComparison.Ordinal)), Converged(Input()));
        yield return Of("another disk and card", Input(FromDisk.Replace("\"nics\":[{}]", "\"nics\":[{},{\"bridge\":\"br0\"}]", StringComparison.Ordinal).Replace("\"format\":\"raw\"}", "\"format\":\"raw\"},{\"name\":\"more\",\"size\":\"1Gi\"}", StringComparison.Ordinal)),
            Converged(Input()) with { Bridges = Aspect.None.Add("br0", Present.It), Disks = Converged(Input()).Disks.Add("more", FactValue.Absent) });
        yield return Of("a change that needs a restart", Input(WithSeed.Replace("\"nics\"", "\"memory\":\"128Mi\",\"nics\"", StringComparison.Ordinal)), Converged(Input(WithSeed)));
        var (three, two) = (Disks("a", "m", "b"), Disks("a", "b"));
        yield return Of("a disk out of the middle", two, Converged(three));
        yield return Of("a disk before another", Disks("n", "a", "b"), Missing(Converged(two), Disks("n", "a", "b")));
        yield return Of("another format", Disks("a:raw", "b"), Missing(Converged(two), Disks("a:raw", "b")));
        yield return Of("another format of what is off", Disks("ask", "{\"power\":\"stopped\",", ["a:raw", "b"]), Missing(Converged(two).Off(), Disks("a:raw", "b")));
        yield return Of("a change of a guest that hangs", Input(WithSeed.Replace("\"nics\"", "\"memory\":\"128Mi\",\"nics\"", StringComparison.Ordinal)), Converged(Input(WithSeed)) with { Hung = Yes.It });
        yield return Of("what waits no more", Input(), Converged(Input()) with { Held = "0123456789ab" });
        yield return Of("a directory of before", Input(), Converged(Input()) with { Dir = DirIs.Unmarked });
        yield return Of("a directory that nothing claims", Input(), Converged(Input()).Off() with { Dir = DirIs.Unclaimed, Domain = FactValue.Absent, Config = Aspect.None, ConfigXml = "", Autostart = FactValue.Absent });
        yield return Of("create with addresses", Input(FixedAddress), Nothing(Input(FixedAddress)));
        yield return Of("another address", Input(FixedAddress.Replace("122.50", "122.51", StringComparison.Ordinal)), Converged(Input(FixedAddress)));
        yield return Of("no address any more", Input(FixedAddress.Replace("\"ip\":\"192.168.122.50\"", "", StringComparison.Ordinal)), Converged(Input(FixedAddress)));
        yield return Of("delete with addresses", Input(FixedAddress, absent: true), Unnamed(Converged(Input(FixedAddress))));
        var volume = Converged(Input(WithVolume)).DiskStates["data"];
        yield return Of("create with a volume", Input(WithVolume), Nothing(Input(WithVolume)) is var without ? without with { Disks = without.Disks.SetItem("data", volume.ToString()), DiskStates = without.DiskStates.SetItem("data", volume) } : without);
        yield return Of("delete, with snapshots in a volume", Input(WithVolume, absent: true), Unnamed(Converged(Input(WithVolume))).With("monday", "uid-2").With(InstanceSamples.Slot, SnapshotOwner.Schedule));
        var export = Input("{" + Asked("export") + "\"power\":\"stopped\"," + FromDisk[1..]);
        yield return Of("export", export, Converged(export) with { Request = FactValue.Absent });
        yield return Of("create as a copy", Input(Copied), Nothing(Input(Copied)));
        yield return Of("detach a volume", Input(FromDisk.Replace(",{\"name\":\"data\",\"size\":\"1Gi\",\"format\":\"raw\"}", "", StringComparison.Ordinal)), Converged(Input(WithVolume)));
        yield return Of("killed", Input(), Converged(Input()).Off() with { Detail = "failed" });
        foreach (var journey in Requests().Concat(OfTime())) yield return journey;
        yield return Of("start what was taken over", s_adopted, Converged(s_adopted).Off());
        foreach (var journey in Moves()) yield return journey;
        yield return Of("delete", Input(absent: true), Unnamed(Converged(Input())));
        yield return Of("delete without disks", Input(FromKernel, absent: true), Unnamed(Converged(Input(FromKernel))));
    }

    /// <summary>What a person asks for once, and drift that is reported only.</summary>
    private static IEnumerable<Case<InstanceGoal, InstanceState>> Requests()
    {
        foreach (var action in (string[])["restart", "reset"])
        {
            var asked = Input("{" + Asked(action) + FromDisk[1..]);
            yield return Of("make with a request to " + action, asked, Nothing(asked));
            yield return Of(action + " once", asked, Converged(Input()));
            yield return Of(action + " again", asked, Converged(Input()) with { Request = "r-0" });
            yield return Of(action + " what is held", asked, Converged(Input()) with { Power = Power.Paused });
            yield return Of(action + " what was killed", asked, Converged(Input()).Off());
        }
        var changed = Input("{" + Asked("restart") + FromDisk.Replace("\"1Gi\",\"cpus\"", "\"2Gi\",\"cpus\"", StringComparison.Ordinal)[1..]);
        yield return Of("restart once, with a change that needs it", changed, Converged(Input()));
        var reporting = Input("{" + ReportingDrift + FromDisk[1..]);
        yield return Of("make one whose drift is reported", reporting, Nothing(reporting));
        yield return Of("drift of a spec before", reporting, Converged(reporting) with { Settled = "0123456789abcdef", Autostart = Yes.No });
        yield return Of("drift is no longer reported", Input(), Converged(Input()) with { Settled = "0123456789abcdef", Autostart = Yes.No });
        yield return Of("failed, with drift", reporting, Converged(reporting).Off() with { Cause = InstanceDrift.Unasked, Autostart = Yes.No });
        yield return Of("stopped by hand", reporting, Converged(reporting).Off());
        var restarting = Input("{" + Asked("restart") + ReportingDrift + FromDisk[1..]);
        yield return Of("restart once what was stopped by hand", restarting, Converged(reporting).Off());
        yield return Of("restart once, with drift", restarting, Converged(reporting) with { Autostart = Yes.No });
    }

    /// <summary>Snapshots of a schedule, changes that are tried, and the way back.</summary>
    private static IEnumerable<Case<InstanceGoal, InstanceState>> OfTime()
    {
        var scheduled = Input(Scheduled);
        yield return Of("make with a schedule", scheduled, Nothing(scheduled));
        yield return Of("snapshot that is due, and one too many", scheduled, Converged(scheduled).With("auto-20261128t080000z", SnapshotOwner.Schedule).With("auto-20261128t090000z", SnapshotOwner.Schedule) with { Slot = "auto-20261128t130000z" });
        yield return Of("hand over with snapshots of the schedule", To(scheduled), Converged(scheduled).With("auto-20261128t090000z", SnapshotOwner.Schedule));
        var (tried, bigger) = (Input(Tried), Input(Tried.Replace("\"512Mi\"", "\"768Mi\"", StringComparison.Ordinal)));
        yield return Of("a change that is tried", bigger, Converged(tried));
        yield return Of("a change that is tried, with a disk that grows and a live change", Input(Tried.Replace("\"512Mi\"", "\"768Mi\"", StringComparison.Ordinal).Replace("4Gi", "8Gi", StringComparison.Ordinal).Replace("[{}]", "[{},{}]", StringComparison.Ordinal)), Converged(tried));
        yield return Of("a change that is tried, beside an old snapshot", bigger, Converged(tried).With(Trials.Before(Goal(bigger)), SnapshotOwner.Stale));
        yield return Of("a change that is tried, beside a snapshot of it while it was held", bigger, (Converged(tried) with { Power = Power.Paused }).With(Trials.Before(Goal(bigger)), SnapshotOwner.Change));
        yield return Of("a change that is tried when it goes on, beside a snapshot of it", bigger, Converged(tried).With(Trials.Before(Goal(bigger)), SnapshotOwner.Change) with { Power = Power.Paused });
        yield return Of("a trial that nobody follows", tried, Converged(tried).With(Trials.Before(Goal(bigger)), SnapshotOwner.Change) with { Trial = Goal(bigger).ChangeDigest, TrialOver = "its probe failed", Power = Power.Off, Live = Aspect.None });
        var back = Input("{" + AskedBack + FromDisk.Replace("\"format\":\"raw\"", "\"format\":\"qcow2\"", StringComparison.Ordinal)[1..]);
        yield return Of("revert", back, Converged(back) with { Request = FactValue.Absent });
        yield return Of("revert what is off", back, Converged(back).Off() with { Request = "r-0" });
    }

    private static IEnumerable<Case<InstanceGoal, InstanceState>> Moves()
    {
        var (here, there) = (Converged(Input()), Nothing(Input()));
        var offered = here.Off() with { Autostart = Yes.No, Offer = Way.Of(Way.Offered, "n1") };
        var undefined = offered with { Domain = FactValue.Absent, Config = Aspect.None, ConfigXml = "", Autostart = FactValue.Absent };
        yield return Of("hand over", To(Input()), here);
        yield return Of("hand over what is off", To(Input("{\"power\":\"stopped\"," + FromDisk[1..])), here.Off());
        yield return Of("hand over what was started by hand", To(Input()), offered with { Power = Power.Running, Live = here.Live });
        yield return Of("hand over what libvirt has forgotten", To(Input()), undefined);
        yield return Of("receive", From(Input()), there);
        yield return Of("receive from a kernel", From(Input(FromKernel)), Nothing(Input(FromKernel)));
        yield return Of("forget where it came from", Input(), here with { Receipt = Way.Of(Way.Owned, "n1") });
        yield return Of("call off", Input(), offered);
        yield return Of("call off late", Input(), undefined);
        yield return Of("delete what was offered", Input(absent: true), Unnamed(offered));
        yield return Of("delete what comes", Input(absent: true), Unnamed(there) with { Receipt = Way.Of(Way.Receiving, "n1") });
        yield return Of("delete what has come", Input(absent: true), Unnamed(there) with { Receipt = Way.Of(Way.Receiving, "n1"), Peer = Way.Held, Dir = Present.It, Data = Stored.Some });
        yield return Of("delete what was declined", Input(absent: true), Unnamed(there) with { Receipt = Way.Of(Way.Receiving, "n1"), Peer = Way.Declined, Dir = Present.It, Data = Stored.Some });
        yield return Of("delete what was taken over", Input(absent: true), Unnamed(here) with { Receipt = Way.Of(Way.Owned, "n1") });
        yield return Of("delete what was handed over", Input(absent: true), Unnamed(undefined) with { Offer = Way.Of(Way.Released, "n1"), Peer = Way.Settled });
    }

    private static MemberInput To(MemberInput input, string node = "n1") => input.Absent ? input : input with { MoveTo = new(0, node, "edge-2", "10.0.0.2", 7444) };

    private static MemberInput From(MemberInput input) => input.Absent ? input : input with { MoveFrom = new(0, "n1", "edge-2", "10.0.0.2", 7444) };

    private static InstanceState OnItsWay(InstanceState s, int dice)
    {
        (string Offer, string Receipt, string Peer)[] ways =
        [
            (Way.Offered, "", ""), (Way.Offered, "", Way.Holds), (Way.Released, "", ""), (Way.Released, "", Way.Holds), (Way.Released, "", Way.Settled), ("", Way.Receiving, ""), ("", Way.Receiving, Way.Held),
            ("", Way.Receiving, Way.Released), ("", Way.Receiving, Way.Declined), ("", Way.Owned, Way.Released), ("", Way.Owned, ""), ("", Way.Dropped, ""), ("", "", ""),
        ];
        var (offer, receipt, peer) = ways[dice % ways.Length];
        return s with { Offer = Fact(offer), Receipt = Fact(receipt), Peer = peer.Length > 0 ? peer : FactValue.Absent };

        static string Fact(string phase) => phase.Length > 0 ? Way.Of(phase, "n1") : FactValue.Absent;
    }

    private static readonly ImmutableSortedDictionary<string, DiskState> s_disks = Converged(Input()).DiskStates;

    /// <summary>What the other host does: it takes what it is offered, and lets go of what is here.</summary>
    private static InstanceState Moved(InstanceState s) => (s.WayOut, s.WayIn) switch
    {
        (Way.Offered, _) when s.Power == Power.Off => s with { Peer = Way.Holds },
        (Way.Released, _) => s with { Peer = Way.Settled },
        (_, Way.Receiving) => s with
        {
            Peer = Way.Held,
            Dir = Present.It,
            Data = s.Disks.IsEmpty ? s.Data : Stored.Some,
            DiskStates = s.Disks.Keys.Aggregate(s.DiskStates, (d, k) => s_disks.TryGetValue(k, out var disk) ? d.SetItem(k, disk) : d),
            Disks = s.Disks.Keys.Aggregate(s.Disks, (d, k) => s_disks.TryGetValue(k, out var disk) ? d.SetItem(k, disk.ToString()) : d),
        },
        (_, Way.Held) => s with { Peer = Way.Released },
        _ => s,
    };

    private static InstanceState Unseen(InstanceState s, int which) => which switch
    {
        0 => s with { Data = FactValue.Unseen("no answer") },
        1 => s with { Seed = FactValue.Unseen("no answer") },
        2 => s with { Networks = s.Networks.ToImmutableSortedDictionary(n => n.Key, _ => FactValue.Unseen("no answer"), StringComparer.Ordinal) },
        _ => s with { Dir = FactValue.Unseen("no answer") },
    };
}
