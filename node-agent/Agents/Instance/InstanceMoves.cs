using System.Globalization;
using AgentMetal.NodeAgent.Host.Transfer;
using AgentMetal.Runtime.Planning;
using AgentMetal.Runtime.Resources;

namespace AgentMetal.NodeAgent.Agents.Instance;

/// <summary>The words of a machine's way between hosts: a phase and the other host's uid.</summary>
internal static class Way
{
    public const string Offered = "offered", Released = "released", Settled = "settled", Receiving = "receiving", Held = "held", Owned = "owned", Dropped = "dropped", Holds = "holds", Declined = "declined";

    public static string PhaseOf(string fact) => fact.IndexOf(' ', StringComparison.Ordinal) is > 0 and var space ? fact[..space] : "";

    public static string NodeOf(string fact) => fact.IndexOf(' ', StringComparison.Ordinal) is > 0 and var space ? fact[(space + 1)..] : "";

    public static string Of(string phase, string node) => phase + " " + node;

    public static string Of(OfferView? offer) => offer is null ? FactValue.Absent : Of(offer.Record.Phase == OfferPhase.Offered ? Offered : Released, offer.Record.Target);

    public static string Of(ReceiptView? receipt) => receipt is null ? FactValue.Absent
        : Of(receipt.Record.Phase switch { ReceiptPhase.Receiving or ReceiptPhase.Held => Receiving, ReceiptPhase.Owned => Owned, _ => Dropped }, receipt.Record.Source);

    public static string PeerOf(OfferView? offer, ReceiptView? receipt) => offer is not null
        ? offer.Record.Phase == OfferPhase.Settled ? Settled : offer.IsHeld ? Holds : FactValue.Absent
        : receipt is { Record.Phase: ReceiptPhase.Held, IsDeclined: true } ? Declined : receipt is { IsReleased: true } ? Released : receipt is { Record.Phase: ReceiptPhase.Held } ? Held : FactValue.Absent;

    public static string Said(OfferView o) => o.Record.Phase switch
    {
        OfferPhase.Settled => $"handed over to {o.Record.TargetName}",
        OfferPhase.Released => $"handed over to {o.Record.TargetName}, which has not yet said that it knows",
        _ when o.Problem.Length > 0 => $"offered to {o.Record.TargetName}: {o.Problem}",
        _ when o.IsReading => $"off; its files are read, {Part(o.Done, o.Total)}",
        _ => o.IsHeld ? $"{o.Record.TargetName} has all of it" : $"off; {o.Record.TargetName} has {Part(o.Done, o.Total)}",
    };

    public static string Said(ReceiptView r) => r.Record.Phase switch
    {
        ReceiptPhase.Owned => "",
        ReceiptPhase.Dropped => $"not taken from {r.Record.SourceName}",
        ReceiptPhase.Held => r.IsReleased ? $"{r.Record.SourceName} has let go" : $"all of it is here; {r.Record.SourceName} has not let go yet{(r.Problem.Length > 0 ? ": " + r.Problem : "")}",
        _ => $"it is still on {r.Record.SourceName}{(r.Total > 0 ? $", {Part(r.Done, r.Total)} received{(r.BytesPerSecond > 0 ? $", {r.BytesPerSecond >> 20} MiB/s" : "")}" : "")}{(r.Problem.Length > 0 ? ": " + r.Problem : "")}",
    };

    private static string Part(long done, long total) => total == 0 ? "nothing yet" : string.Create(CultureInfo.InvariantCulture, $"{100 * done / total}% of {(total + (1 << 20) - 1) >> 20} MiB");
}

/// <summary>
/// Moving a machine between hosts. It is run by the host whose record says that it may: by its source until that has written "released", by its target from
/// when that has written "owned", which it does only after the source said that it released. A host never goes by what the coordinator says of the other.
/// </summary>
internal static class InstanceMoves
{
    private static readonly TimeSpan LookAgain = TimeSpan.FromSeconds(30);

    /// <summary>Why it is not defined or started on this host; null = it may be.</summary>
    public static string? WhyNotHere(InstanceGoal? goal, InstanceState s) => s.WayOut switch
    {
        Way.Offered => "another host reads it",
        Way.Released or Way.Settled => "it was handed over to another host",
        _ when IsComing(goal, s) => s.OnItsWay.Length > 0 ? s.OnItsWay : "it is still on another host",
        _ => s.WayIn == Way.Dropped ? "it was not taken from another host" : null,
    };

    /// <summary>Nothing of it is wanted on this host now but what its way here or away needs.</summary>
    public static bool IsAway(InstanceGoal goal, InstanceState s) => IsComing(goal, s) || s.WayIn == Way.Dropped || s.WayOut is Way.Released or Way.Settled;

    /// <summary>It is away, or another host reads it: nothing else is done to it.</summary>
    public static bool IsOnItsWay(InstanceGoal goal, InstanceState s) => goal.Adopt.Length == 0 && (IsAway(goal, s) || s.Offer != FactValue.Absent);

    /// <summary>It is another host's, and on its way here.</summary>
    public static bool IsComing(InstanceGoal? goal, InstanceState s) => s.WayIn is Way.Receiving or Way.Held
        || (goal?.MoveFrom is not null && s is { Receipt: FactValue.Absent, Offer: FactValue.Absent, Domain: not Owner.Ours, Data: Stored.None });

    /// <summary>What is here of its disks is another host's too.</summary>
    public static bool IsCopy(InstanceState s) => s.WayIn == Way.Dropped || s.WayOut == Way.Settled;

    /// <summary>An invariant: what is not this host's is neither made known to libvirt nor started.</summary>
    public static string? TwoHosts(InstanceGoal? goal, InstanceState before, InstanceState after) =>
        (after.IsUp && !before.IsUp) || (after.Domain == Owner.Ours && before.Domain == FactValue.Absent) ? WhyNotHere(goal, after) : null;

    public static IEnumerable<Difference> Of(InstanceGoal goal, InstanceState s)
    {
        if (goal.Adopt.Length > 0) yield break;
        var (offer, node) = (s.WayOut, Way.NodeOf(s.Offer));
        if (offer.Length == 0 && goal.MoveTo is { } to && !IsAway(goal, s)) yield return new(Kind.HandOver, to.NodeUid, $"it belongs on {to.NodeName}");
        if (offer == Way.Offered && goal.MoveTo?.NodeUid != node) yield return new(Kind.Withdraw, node, "another host was offered it, and it stays");
        else if (offer == Way.Offered) yield return new(Kind.Release, node, Said(s, "another host reads it"));
        if (offer == Way.Released) yield return new(Kind.Elsewhere, node, Said(s, "it was handed over")) { ClearsAfter = InstanceDifferences.Soon };
        if (offer == Way.Settled && (s.Dir is not (FactValue.Absent or DirIs.Others) || s.Data != Stored.None)) yield return new(Kind.Leftover, node, "it was handed over, and its files here are left over");
        else if (offer == Way.Settled && goal.MoveTo?.NodeUid != node) yield return new(Kind.Elsewhere, node, Said(s, "it was handed over")) { ClearsAfter = LookAgain };
        foreach (var arriving in OfArrival(goal, s)) yield return arriving;
    }

    private static IEnumerable<Difference> OfArrival(InstanceGoal goal, InstanceState s)
    {
        var (receipt, node) = (s.WayIn, Way.NodeOf(s.Receipt));
        if (receipt.Length == 0 && goal.MoveFrom is { } from) yield return new(Kind.Receive, from.NodeUid, $"it is on {from.NodeName}, and belongs here");
        if (receipt is Way.Receiving or Way.Held) yield return new(Kind.Arrive, node, Said(s, "it is still on another host"));
        if (receipt == Way.Dropped || (receipt == Way.Owned && goal.MoveFrom is null)) yield return new(Kind.Receipt, node, "how it came here is remembered, and over");
    }

    private static string Said(InstanceState s, string otherwise) => s.OnItsWay.Length > 0 ? s.OnItsWay : otherwise;
}
