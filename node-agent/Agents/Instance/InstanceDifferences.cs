using System.Collections.Immutable;
using AgentMetal.Runtime.Planning;
using AgentMetal.Runtime.Resources;

namespace AgentMetal.NodeAgent.Agents.Instance;

/// <summary>Kinds of differences.</summary>
internal static class Kind
{
    public const string Hypervisor = "hypervisor", Unsigned = "unsigned", Image = "image", Network = "network", Bridge = "bridge", Dir = "directory", DiskMissing = "disk", DiskSmall = "disk-size", DiskOther = "disk-other", Seed = "seed",
        Definition = "definition", Owner = "owner", Autostart = "autostart", Power = "power", Live = "live", Restart = "restart", Snapshot = "snapshot", Retention = "retention", Before = "before-change", After = "after-change", Trial = "trial", Reverted = "reverted", Request = "request", Settled = "settled", Present = "present", Held = "held";
    public const string Volume = "volume", Address = "address";
    public const string HandOver = "hand-over", Withdraw = "withdraw", Release = "release", Leftover = "leftover", Elsewhere = "elsewhere", Receive = "receive", Arrive = "arrive", Receipt = "receipt";
}

/// <summary>The parts of an instance that go one after the other.</summary>
internal static class Part
{
    public const string Power = "power", Definition = "definition", Data = "data", Files = "files", Offer = "offer", Receipt = "receipt";
}

/// <summary>All that is not as wanted.</summary>
internal static class InstanceDifferences
{
    public static readonly TimeSpan Soon = TimeSpan.FromSeconds(5);

    /// <summary>Of what nobody signals: who gets or gives up an address of a network.</summary>
    private static readonly TimeSpan LookAgain = TimeSpan.FromSeconds(30);
    private const string Teardown = "teardown";

    /// <summary>The group of a change that is tried: all of it is approved together, and taken back together.</summary>
    public const string Change = "change";

    /// <summary>The group of what is done for a restart and would disturb what runs before it.</summary>
    private const string WithRestart = "with-restart";

    public static IEnumerable<Difference> Of(InstanceGoal? goal, InstanceState s) => goal is null ? OfTeardown(s)
        : InstanceMoves.IsOnItsWay(goal, s) ? OfTheWay(goal, s)
        : Settled(goal, s, [.. InstanceMoves.Of(goal, s), .. All(goal, s).Where(d => !InstanceDrift.IsByHand(goal, s, d))]);

    /// <summary>What a person changed by hand among it; nothing of a machine that is on its way, which nobody may change.</summary>
    public static IEnumerable<Difference> All(InstanceGoal goal, InstanceState s) => goal.Adopt.Length > 0 ? OfAdopted(goal, s) : InstanceMoves.IsOnItsWay(goal, s) ? []
        : OfOwner(goal, s) is { } owner ? [owner]
        : [.. OfHost(goal, s), .. OfAddresses(goal, goal.Addresses, s), .. OfDisks(goal, s), .. OfDomain(goal, s), .. OfPower(goal, s), .. OfLive(goal, s), .. OfHeld(goal, s), .. OfRequest(goal, s), .. SnapshotDifferences.Of(goal, s)];

    /// <summary>Of one that comes, what its host needs for it; of one that goes, that it stays off.</summary>
    private static IEnumerable<Difference> OfTheWay(InstanceGoal goal, InstanceState s) =>
        [.. InstanceMoves.IsComing(goal, s) ? OfHost(goal, s) : goal.IsOffered ? OfPower(goal, s) : [], .. s.WayOut is Way.Released or Way.Settled ? OfAddresses(goal, Aspect.None, s) : [], .. InstanceMoves.Of(goal, s)];

    /// <summary>A change that QEMU can make while the machine runs.</summary>
    public static bool CanBeLive(InstanceGoal goal, InstanceState s, string aspect)
    {
        var (now, wanted) = (s.Live.GetValueOrDefault(aspect), goal.Config!.Aspects().GetValueOrDefault(aspect));
        return aspect switch
        {
            Aspect.Memory => Aspect.Pair(now!).Max == Aspect.Pair(wanted!).Max,
            // Linux may refuse to give a processor back, and then nobody knows what the guest has.
            Aspect.Cpus => Aspect.Pair(now!).Max == Aspect.Pair(wanted!).Max && Aspect.Pair(now!).Now < Aspect.Pair(wanted!).Now,
            _ when aspect.StartsWith(Aspect.Disk, StringComparison.Ordinal) => CanDiskBeLive(goal, s, aspect, now, wanted),
            // The guest would go on with the address that it was lent, and be heard no more until it asks again.
            _ => aspect.StartsWith(Aspect.Nic, StringComparison.Ordinal) && (now is null || wanted is null || DomainNic.FixedAddressOf(now) == DomainNic.FixedAddressOf(wanted)),
        };

    }

    /// <summary>A disk comes or goes while the machine runs where nothing else about its disks changes for the guest; one that somebody attached goes always.</summary>
    private static bool CanDiskBeLive(InstanceGoal goal, InstanceState s, string aspect, string? now, string? wanted)
    {
        if (now is not null && wanted is not null) return false;
        if (!goal.Own.Has(aspect[Aspect.Disk.Length..])) return true;
        if (InForce.OutOfUse(goal.Own, s.Live, goal.Config!).Any()) return false;
        return wanted is null || !Aspect.DisksOf(s.Live).Any(d => d.Target == Aspect.DiskOf(aspect, wanted).Target);
    }

    private static IEnumerable<Difference> OfHost(InstanceGoal goal, InstanceState s)
    {
        if (s.Hypervisor != Hypervisor.Ok) yield return new(Kind.Hypervisor, "", FactValue.IsUnseen(s.Hypervisor) ? "libvirt cannot be asked" : s.Hypervisor);
        else if (s.Accelerator == FactValue.Absent) yield return new(Kind.Hypervisor, "accelerator", "neither KVM nor QEMU's emulation runs a guest here");
        foreach (var (key, text) in goal.Unsigned) yield return new(Kind.Unsigned, key, text);
        foreach (var image in goal.Images)
            if (s.Images.GetValueOrDefault(image.Spec.Sha256) != Present.It) yield return new(Kind.Image, image.Spec.Sha256, $"image {image.Name} is not on this host");
        foreach (var network in goal.Networks)
            if (s.Networks.GetValueOrDefault(network) != Present.Active)
                yield return new(Kind.Network, network, s.Networks.GetValueOrDefault(network) == Present.Inactive ? $"network {network} is not active" : $"there is no libvirt network {network} on this host");
        foreach (var bridge in goal.Bridges)
            if (s.Bridges.GetValueOrDefault(bridge) != Present.It) yield return new(Kind.Bridge, bridge, $"there is no bridge {bridge} on this host");
    }

    /// <summary>Addresses that are kept for its cards on libvirt's networks.</summary>
    private static IEnumerable<Difference> OfAddresses(InstanceGoal? goal, ImmutableSortedDictionary<string, string> wanted, InstanceState s)
    {
        foreach (var (card, address) in wanted)
            if (s.Addressed.GetValueOrDefault(card) is var now && now != address)
                yield return new(Kind.Address, card, s.AddressProblems.TryGetValue(card, out var problem) ? problem : $"address {address} is not kept for it on network {Card.NetworkOf(card)}") { ClearsAfter = problem is null ? null : LookAgain, Group = goal is null ? null : GroupOf(goal, s, card) };
        foreach (var (card, address) in s.Addressed)
            if (!wanted.ContainsKey(card) && address != FactValue.Absent) yield return new(Kind.Address, card, $"address {address} of network {Card.NetworkOf(card)} is kept for a card that does not need it");
    }

    /// <summary>
    /// A machine that may be heard with its old address only is lent another one at the restart that lets it use that, and not before: whoever renews its lease
    /// while a signature is waited for would be cut off.
    /// </summary>
    private static string? GroupOf(InstanceGoal goal, InstanceState s, string card) =>
        (s.IsUp ? goal.Power != Power.Off : InForce.IsHeldBack(goal, s)) && DomainNic.FixedAddressOf(InForce.Of(s).GetValueOrDefault(Aspect.Nic + Card.MacOf(card), "")) is { Length: > 0 } now
        && now != goal.Addresses.GetValueOrDefault(card) ? Trials.IsNeeded(goal, s) ? Change : WithRestart : null;

    /// <summary>A file that only the restart puts in use is made together with it: what is not signed leaves none behind.</summary>
    private static string? GroupOf(InstanceGoal goal, InstanceState s, DiskGoal disk) =>
        s.Domain == Owner.Ours && !InForce.Of(s).ContainsKey(Aspect.Disk + disk.Path) && InForce.OutOfUse(goal.Own, InForce.Of(s), goal.Config!).Any() ? Trials.IsNeeded(goal, s) ? Change : WithRestart : null;

    private static IEnumerable<Difference> OfDisks(InstanceGoal goal, InstanceState s)
    {
        if (s.Dir != Present.It) yield return new(Kind.Dir, "", s.Dir switch
        {
            DirIs.Unmarked => "its directory does not say yet whose it is",
            DirIs.Unclaimed => $"{goal.Own.Dir} holds disks, and nothing says whose they are",
            FactValue.Absent when s.Domain == Owner.Ours && InForce.Of(s).Keys.Any(a => a.StartsWith(Aspect.Disk + goal.Own.Dir + "/", StringComparison.Ordinal)) =>
                $"{goal.Own.Dir} is gone, with the disks that the machine is defined with: is the file system that held it not mounted (findmnt)? Once it is, this goes on by itself",
            _ => "its directory is missing",
        });
        foreach (var disk in goal.Disks)
        {
            var fact = s.Disks.GetValueOrDefault(disk.Name, FactValue.Absent);
            if (disk.Volume.Length > 0 && fact == FactValue.Absent) yield return new(Kind.Volume, disk.Name, $"volume {disk.Volume}: its data is not there yet") { ClearsAfter = Soon };
            else if (fact == FactValue.Absent) yield return new(Kind.DiskMissing, disk.Name, $"disk {disk.Name} is missing") { Group = GroupOf(goal, s, disk) };
            else if (!s.DiskStates.TryGetValue(disk.Name, out var now)) yield return new(Kind.DiskOther, disk.Name, $"disk {disk.Name}: {fact}");
            else if (disk.Size > now.Size) yield return new(Kind.DiskSmall, disk.Name, $"disk {disk.Name} has {Quantity.Format(now.Size)}, wants {Quantity.Format(disk.Size)}");
            else if (disk.Size > 0 && disk.Size < now.Size)
                yield return new(Kind.DiskOther, disk.Name, $"disk {disk.Name} has {Quantity.Format(now.Size)}, and a disk never shrinks: set spec.disks size to {Quantity.Format(now.Size)} or more");
        }
        if (goal.Seed is not null && s.Seed != Present.It) yield return new(Kind.Seed, goal.Seed.Digest[..16], "the seed of cloud-init is missing");
    }

    /// <summary>The name is another's here. It is told and not fought over: nothing of it is touched, also when this one is deleted.</summary>
    private static Difference? OfOwner(InstanceGoal goal, InstanceState s) => s.Domain == Owner.Foreign ? new(Kind.Owner, "", $"libvirt has a domain {goal.Config!.Name} that is not this instance's: rename it (virsh domrename), take it over with spec.adopt.domain, or delete this instance, which leaves it alone")
        : s.Dir == DirIs.Others ? new(Kind.Owner, "directory", $"{goal.Own.Dir} is another instance's of this name, or another domain's of libvirt uses it: move it away, or delete this instance, which leaves it alone")
        : null;

    /// <summary>For people: the disks in its directory.</summary>
    public static string Files(InstanceState s) => string.Join(", ", s.OtherDisks.Select(d => (Path: d.Key, Disk: d.Value)).Concat(s.DiskStates.Select(d => (Path: d.Key, Disk: d.Value)))
        .Select(d => $"{d.Path[(d.Path.LastIndexOf('/') + 1)..]} ({d.Disk.Format}, {Quantity.Format(d.Disk.Size)})").Take(8));

    public static string InUse(InstanceState s, string dir) => $"domain {s.Users} of libvirt uses files in {dir}: take them out of it, or undefine it, first";

    private static IEnumerable<Difference> OfDomain(InstanceGoal goal, InstanceState s)
    {
        if (s.Domain == FactValue.Absent) yield return new(Kind.Definition, "", "libvirt does not know it");
        // While a change is on trial, or was taken back, the definition that is there is as it should be.
        else if (s.Domain == Owner.Ours && s.Trial == FactValue.Absent && !Trials.IsTakenBack(goal, s) && InForce.Definition(goal, s).Aspects() is var wanted && Aspect.Between(s.Config, wanted).ToList() is { Count: > 0 } differs)
            yield return new(Kind.Definition, "", "the definition is not as declared: " + string.Join("; ", differs.Take(5).Select(a => InForce.Said(a, s.Config, wanted))))
            {
                Group = s.Live.IsEmpty && InForce.OutOfUse(goal.Own, s.Config, goal.Config!).Any() ? WithRestart : null,
            };
        if (s.Domain == Owner.Ours && s.Autostart != goal.Autostart) yield return new(Kind.Autostart, "", s.Autostart == Yes.It ? "it starts with the host, and should not" : "it does not start with the host");
    }

    private static IEnumerable<Difference> OfPower(InstanceGoal goal, InstanceState s)
    {
        if (s.Power == goal.Power || s.Domain is Owner.Foreign or Owner.Missing) yield break;
        // A shutdown that somebody began ends by itself, one way or the other.
        if (s.Power == Power.Stopping) yield return new(Kind.Power, goal.Power, "it is shutting down") { ClearsAfter = Soon };
        else yield return new(Kind.Power, goal.Power, $"it is {s.Power}{(s.Detail.Length > 0 ? $" ({s.Detail})" : "")}, wants {goal.Power}");
    }

    private static IEnumerable<Difference> OfLive(InstanceGoal goal, InstanceState s)
    {
        if (s.Domain != Owner.Ours || goal.Power == Power.Off || s.Trial != FactValue.Absent || Trials.IsTakenBack(goal, s)) yield break;
        // Off for now: it is started as it was, and what waits goes on waiting.
        if (s.Power == Power.Off && goal.Power == Power.Running && InForce.IsHeldBack(goal, s))
            yield return new(Kind.Restart, "", "only a start that is signed brings: " + InForce.Brings(InForce.Of(s), goal.Config!)) { Group = WithRestart };
        if (!s.IsUp) yield break;
        var wanted = goal.Config!.Aspects();
        // What is tried is tried as a whole: a live change in the middle of it would not be taken back with it.
        var tried = Trials.IsNeeded(goal, s);
        var restart = new List<string>();
        foreach (var aspect in Aspect.Between(s.Live, wanted))
            if (!tried && CanBeLive(goal, s, aspect)) yield return new(Kind.Live, aspect, "while it runs " + InForce.Said(aspect, s.Live, wanted));
            else restart.Add(InForce.Said(aspect, s.Live, wanted));
        if (restart.Count > 0) yield return new(Kind.Restart, "", "only a restart brings: " + string.Join("; ", restart.Take(5))) { Group = tried ? Change : WithRestart };
    }

    /// <summary>What a person is asked to sign for a restart is remembered from when they are asked until nothing waits any more, or it was brought.</summary>
    private static IEnumerable<Difference> OfHeld(InstanceGoal goal, InstanceState s)
    {
        if (!s.IsUp || s.Domain != Owner.Ours || s.Dir != Present.It || goal.Power == Power.Off || s.Trial != FactValue.Absent || InstanceDrift.KeepsDefinition(goal, s)) yield break;
        if (InForce.Held(goal, s) is var held && s.Held != held) yield return new(Kind.Held, "", held == FactValue.Absent ? "what waited for a signature is remembered, and waits no more" : "what waits for a signature is not remembered yet");
    }

    /// <summary>The id says whether it was done, so it stays until the machine is there and can do it.</summary>
    private static IEnumerable<Difference> OfRequest(InstanceGoal goal, InstanceState s)
    {
        if (goal.Spec.Request is { IsGiven: true } asked && s.Request != asked.Id && s.Domain is Owner.Ours or FactValue.Absent)
            yield return new(Kind.Request, "", $"{asked.Action} was asked for ({asked.Id})");
    }

    /// <summary>A marker of another goal goes before anything is done for this one; that of this goal is made when nothing else is left.</summary>
    private static List<Difference> Settled(InstanceGoal goal, InstanceState s, List<Difference> others)
    {
        if (goal.Adopt.Length > 0 || s.Dir != Present.It) return others;
        if (InstanceDrift.IsStale(goal, s)) others.Add(new(Kind.Settled, "", "what was as declared before is remembered"));
        else if (others.Count == 0 && s.Settled != InstanceDrift.Wanted(goal, s)) others.Add(new(Kind.Settled, "", "that it is as declared is not remembered yet"));
        return others;
    }

    /// <summary>Of a domain that was taken over only its power is managed.</summary>
    private static IEnumerable<Difference> OfAdopted(InstanceGoal goal, InstanceState s)
    {
        if (s.Hypervisor != Hypervisor.Ok) yield return new(Kind.Hypervisor, "", FactValue.IsUnseen(s.Hypervisor) ? "libvirt cannot be asked" : s.Hypervisor);
        else if (s.Domain == Owner.Missing) yield return new(Kind.Owner, "", $"libvirt has no domain {goal.Adopt}: correct spec.adopt.domain (virsh list --all)");
        foreach (var power in OfPower(goal, s)) yield return power;
    }

    /// <summary>One group: a delete that cannot be finished does not begin.</summary>
    private static IEnumerable<Difference> OfTeardown(InstanceState s)
    {
        // Once libvirt has forgotten the machine nothing would say whose its disks are, and what was signed for them would be void.
        if (s.Domain == Owner.Ours && s.Dir == DirIs.Unmarked) yield return new(Kind.Dir, "", "its directory does not say yet whose it is") { Group = Teardown };
        if (s.Domain == Owner.Ours || FactValue.IsUnseen(s.Domain))
        {
            if (s.Power != Power.Off) yield return new(Kind.Present, Part.Power, "it runs and is to go") { Group = Teardown };
            yield return new(Kind.Present, Part.Definition, "libvirt knows it, and it is to go") { Group = Teardown };
        }
        foreach (var (snapshot, _) in s.Snapshots) yield return new(Kind.After, snapshot, $"snapshot {snapshot} is in a volume too, which stays, and is to go") { Group = Teardown };
        if (s.Offer != FactValue.Absent) yield return new(Kind.Present, Part.Offer, "what another host was offered of it is to go") { Group = Teardown };
        if (s.Receipt != FactValue.Absent) yield return new(Kind.Present, Part.Receipt, "what came of it from another host is to go") { Group = Teardown };
        if (s.Data != Stored.None) yield return new(Kind.Present, Part.Data, $"its disks are to go{(s.SnapshotCount > 0 ? $", with {s.SnapshotCount} snapshot{(s.SnapshotCount > 1 ? "s" : "")} in them" : "")}") { Group = Teardown };
        foreach (var address in OfAddresses(null, Aspect.None, s)) yield return address with { Group = Teardown };
        // Another's of this name is not its own to remove.
        if (s.Dir is not (FactValue.Absent or DirIs.Others)) yield return new(Kind.Present, Part.Files, "its files are to go") { Group = Teardown };
    }
}
