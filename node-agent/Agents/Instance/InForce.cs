using System.Collections.Immutable;
using System.Security.Cryptography;
using System.Text;
using AgentMetal.Runtime.Planning;
using AgentMetal.Runtime.Resources;

namespace AgentMetal.NodeAgent.Agents.Instance;

/// <summary>
/// What the next start of a machine uses. A guest may switch itself off, and a host may boot: what only a restart brings is therefore not in the definition
/// before that restart, which brings it. So what nobody signed is in force by no other start, and what was denied neither.
/// </summary>
internal static class InForce
{
    private const int MaxSaid = 5;

    /// <summary>What runs, or would be started: by aspect.</summary>
    public static ImmutableSortedDictionary<string, string> Of(InstanceState s) => s.Live.IsEmpty ? s.Config : s.Live;

    /// <summary>The definition that belongs there now: what is declared, without what waits for a restart.</summary>
    public static DomainConfig Definition(InstanceGoal goal, InstanceState s)
    {
        var full = goal.Config!;
        if (s.Domain != Owner.Ours) return full;
        if (s.Live.IsEmpty) return goal.Power == Power.Off || !Waits(goal, s) ? full : With(full, s.Config) with { Type = full.Type };
        var (wanted, kept) = (full.Aspects(), s.Live.ToBuilder());
        foreach (var aspect in Aspect.Between(s.Live, wanted))
            if (InstanceDifferences.CanBeLive(goal, s, aspect) || IsByHand(goal, s, aspect, wanted)) Set(kept, aspect, wanted.GetValueOrDefault(aspect));
        return With(full, kept.ToImmutable());
    }

    /// <summary>Whether the declared definition differs from what may be there now.</summary>
    public static bool IsHeldBack(InstanceGoal goal, InstanceState s) =>
        s.Domain == Owner.Ours && goal.Config is { } full && Aspect.Between(Definition(goal, s).Aspects(), full.Aspects()).Any();

    /// <summary>What of a machine that is off was to wait for a signature: its data would be out of use, or it was held while it ran.</summary>
    public static bool Waits(InstanceGoal goal, InstanceState s) => OutOfUse(goal.Own, s.Config, goal.Config!).Any() || (!IsFree(goal) && WasHeld(s, goal.Config!));

    /// <summary>The spec says that a restart needs no signature, and nothing else asks for one.</summary>
    public static bool IsFree(InstanceGoal goal) => goal.Spec.RestartAllowed && !goal.Spec.AutoRevert.Enabled;

    /// <summary>A change from what is there to this definition that somebody was asked about, and did not sign.</summary>
    public static bool WasHeld(InstanceState s, DomainConfig to)
    {
        if (s.Held == FactValue.Absent || FactValue.IsUnseen(s.Held)) return FactValue.IsUnseen(s.Held);
        var (held, wanted) = (s.Held.Split(','), to.Aspects());
        return Aspect.Between(s.Config, wanted).Where(a => a != Aspect.Type).Any(a => held.Contains(Mark(a, wanted.GetValueOrDefault(a))));
    }

    /// <summary>What is to be remembered as waiting: every aspect that only the restart brings.</summary>
    public static string Held(InstanceGoal goal, InstanceState s)
    {
        if (s.Live.IsEmpty || s.Domain != Owner.Ours || goal.Power == Power.Off || Trials.IsTakenBack(goal, s) || !NeedsSignature(goal, s)) return FactValue.Absent;
        var wanted = goal.Config!.Aspects();
        var waiting = Aspect.Between(s.Live, wanted).Where(a => a != Aspect.Others && !InstanceDifferences.CanBeLive(goal, s, a) && !IsByHand(goal, s, a, wanted))
            .Select(a => Mark(a, wanted.GetValueOrDefault(a))).ToList();
        return waiting.Count == 0 ? FactValue.Absent : string.Join(',', waiting);
    }

    /// <summary>The restart that brings what is declared is one for a person to sign.</summary>
    public static bool NeedsSignature(InstanceGoal goal, InstanceState s) =>
        !goal.Spec.RestartAllowed || Trials.IsNeeded(goal, s) || OutOfUse(goal.Own, Of(s), goal.Config!).Any();

    /// <summary>
    /// Disks that would be out of use although their machine goes on having disks: another takes the place of one, or the guest would find them in another
    /// order. One that is only left out of the list is what a person took out.
    /// </summary>
    public static IEnumerable<DomainDisk> OutOfUse(OwnFiles own, ImmutableSortedDictionary<string, string> now, DomainConfig to)
    {
        var there = Aspect.DisksOf(now).Where(d => !d.ReadOnly && own.Has(d.Path)).ToList();
        if (there.Count == 0) yield break;
        var wanted = to.Disks.Where(d => !d.IsSeed).ToDictionary(d => d.Path, StringComparer.Ordinal);
        var come = wanted.Values.Where(w => !there.Any(t => t.Path == w.Path)).ToList();
        for (var i = 0; i < there.Count; i++)
            if (wanted.TryGetValue(there[i].Path, out var stays) ? stays.Target != there[i].Target || come.Any(c => IsBefore(c, there[i])) : come.Count > 0 || (i == 0 && wanted.Count > 0)) yield return there[i];
    }

    /// <summary>A guest's kernel names disks in the order of their places, whatever places are free between them.</summary>
    private static bool IsBefore(DomainDisk a, DomainDisk b) => a.Target.Length != b.Target.Length ? a.Target.Length < b.Target.Length : string.CompareOrdinal(a.Target, b.Target) < 0;

    /// <summary>For people: "boot is …, wants …".</summary>
    public static string Brings(ImmutableSortedDictionary<string, string> now, DomainConfig to)
    {
        var wanted = to.Aspects();
        var all = Aspect.Between(now, wanted).Where(a => a != Aspect.Type).Select(a => Said(a, now, wanted)).ToList();
        return string.Join("; ", all.Take(MaxSaid)) + (all.Count > MaxSaid ? $"; and {all.Count - MaxSaid} more" : "");
    }

    /// <summary>For people: which file, how large, and that it stays.</summary>
    public static string Leaves(InstanceGoal goal, InstanceState s) => string.Join("; ", OutOfUse(goal.Own, Of(s), goal.Config!).Select(d =>
    {
        var size = s.OtherDisks.TryGetValue(d.Path, out var disk) || goal.Disks.FirstOrDefault(g => g.Path == d.Path) is { } g && s.DiskStates.TryGetValue(g.Name, out disk)
            ? $", {Quantity.Format(disk.Size)}" : "";
        return goal.Config!.Disks.FirstOrDefault(n => n.Path == d.Path) is { } moved ? $"{d.Path} ({d.Format}{size}) {(moved.Target == d.Target ? "comes after a disk that is put before it" : $"is {moved.Target} in the guest, and was {d.Target}")}"
            : $"{d.Path} ({d.Format}{size}) is in use no more, and stays where it is";
    }));

    public static string Said(string aspect, ImmutableSortedDictionary<string, string> now, ImmutableSortedDictionary<string, string> wanted) =>
        $"{Named(aspect)} is {now.GetValueOrDefault(aspect, "absent")}, wants {wanted.GetValueOrDefault(aspect, "none")}";

    /// <summary>A disk by its file's name alone.</summary>
    public static string Named(string aspect) =>
        aspect.StartsWith(Aspect.Disk, StringComparison.Ordinal) && aspect.LastIndexOf('/') is var at && at > Aspect.Disk.Length ? "disk " + aspect[(at + 1)..] : aspect;

    /// <summary>
    /// What somebody changed of what runs, where the definition is as declared: no start would bring it. What nobody can change while it runs was there at the
    /// start, so that it is what was in force, also where the definition has been written ahead of a restart.
    /// </summary>
    private static bool IsByHand(InstanceGoal goal, InstanceState s, string aspect, ImmutableSortedDictionary<string, string> wanted) => aspect == Aspect.Others
        || (aspect.StartsWith(Aspect.Disk, StringComparison.Ordinal) ? !goal.Own.Has(aspect[Aspect.Disk.Length..])
            : (aspect == Aspect.Cpus || aspect.StartsWith(Aspect.Nic, StringComparison.Ordinal)) && s.Config.GetValueOrDefault(aspect) == wanted.GetValueOrDefault(aspect));

    /// <summary>The definition with these aspects instead of its own.</summary>
    private static DomainConfig With(DomainConfig full, ImmutableSortedDictionary<string, string> aspects)
    {
        var (memory, cpus) = (Aspect.Pair(aspects[Aspect.Memory]), Aspect.Pair(aspects[Aspect.Cpus]));
        var (kernel, initrd, cmdline) = Boot(aspects.GetValueOrDefault(Aspect.Boot, ""));
        var serials = full.Disks.ToDictionary(d => d.Path, d => d.Serial, StringComparer.Ordinal);
        return full with
        {
            Type = aspects.GetValueOrDefault(Aspect.Type, full.Type),
            MemoryKiB = memory.Now,
            MaxMemoryKiB = memory.Max,
            Cpus = (int)cpus.Now,
            MaxCpus = (int)cpus.Max,
            Kernel = kernel,
            Initrd = initrd,
            Cmdline = cmdline,
            GuestAgent = aspects.GetValueOrDefault(Aspect.Agent) == "yes",
            ConsoleLog = aspects.GetValueOrDefault(Aspect.Console, ""),
            Disks = [.. Aspect.DisksOf(aspects).Select(d => d with { Serial = serials.GetValueOrDefault(d.Path, "") }),
                .. aspects.TryGetValue(Aspect.Seed, out var seed) ? [new DomainDisk("vdz", seed, "raw", ReadOnly: true)] : Array.Empty<DomainDisk>()],
            Nics = [.. full.Nics.Where(n => aspects.ContainsKey(Aspect.Nic + n.Mac)).Select(n => Aspect.NicOf(Aspect.Nic + n.Mac, aspects[Aspect.Nic + n.Mac])),
                .. Aspect.NicsOf(aspects).Where(n => !full.Nics.Any(f => f.Mac == n.Mac))],
        };
    }

    /// <summary>As <see cref="DomainConfig.Aspects"/> says it; paths of ours hold no spaces, and the command line is last.</summary>
    private static (string Kernel, string Initrd, string Cmdline) Boot(string text)
    {
        const string kernel = "kernel ", initrd = " initrd ", cmdline = " cmdline ";
        if (!text.StartsWith(kernel, StringComparison.Ordinal) || text.IndexOf(initrd, StringComparison.Ordinal) is not (> 0 and var first)) return ("", "", "");
        var second = text.IndexOf(cmdline, first + initrd.Length - 1, StringComparison.Ordinal);
        return second < 0 ? ("", "", "") : (text[kernel.Length..first], first + initrd.Length <= second ? text[(first + initrd.Length)..second] : "", text[(second + cmdline.Length)..]);
    }

    private static void Set(ImmutableSortedDictionary<string, string>.Builder aspects, string aspect, string? value)
    {
        if (value is null) aspects.Remove(aspect);
        else aspects[aspect] = value;
    }

    private static string Mark(string aspect, string? value) => Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(aspect + "=" + (value ?? FactValue.Absent))))[..12];
}
