using System.Collections.Immutable;
using System.Text;
using AgentMetal.NodeAgent.Agents.Instance.Tools;
using AgentMetal.Runtime.Planning;
using static AgentMetal.NodeAgent.Host.Must;

namespace AgentMetal.NodeAgent.Agents.Instance;

/// <summary>The part that has libvirt's networks keep addresses. Which cards they are kept for is written down first, and forgotten last: so nothing of ours is left in a network.</summary>
internal sealed partial class InstanceActuator
{
    /// <summary>A lease runs out by itself: a libvirt that does not answer is not waited for.</summary>
    private static readonly TimeSpan EndOfLease = TimeSpan.FromSeconds(3);

    public async ValueTask ReserveAsync(AddressArgs args, CancellationToken stop)
    {
        Remember(InstanceObserver.Reserved(readers, _layout).Add(args.Card));
        var now = await KeptAsync(args.Card, stop);
        if (now != args.Address) Done(await writers.Domains.ReserveAsync(Card.NetworkOf(args.Card), Card.MacOf(args.Card), args.Address, replace: now is not null, Brief, stop));
    }

    public async ValueTask ReleaseAddressAsync(AddressArgs args, CancellationToken stop)
    {
        if (await KeptAsync(args.Card, stop) is { } now) DoneOrGone(await writers.Domains.UnreserveAsync(Card.NetworkOf(args.Card), Card.MacOf(args.Card), now, Brief, stop));
        Remember(InstanceObserver.Reserved(readers, _layout).Remove(args.Card));
    }

    /// <summary>What networks lent to its cards ends with it. One that cannot be given back is no reason to keep a machine: it runs out by itself.</summary>
    private async ValueTask EndLeasesAsync(CancellationToken stop)
    {
        if (await readers.Domains.DomainAsync(scope.Uuid, stop) is not { IsSeen: true, Value: { Exists: true } domain } || DomainXml.Parse(domain.InactiveXml).Config is not { } config) return;
        foreach (var nic in config.Nics.Where(n => n.Kind == "network")) await writers.Domains.EndLeasesAsync(nic.Source, nic.Mac, EndOfLease, stop);
    }

    private async ValueTask<string?> KeptAsync(string card, CancellationToken stop)
    {
        var leases = await readers.Domains.LeasesAsync(Card.NetworkOf(card), stop);
        if (!leases.IsSeen) throw new WorldException(leases.WhyUnseen!);
        return leases.Value.Reserved.FirstOrDefault(r => r.Mac == Card.MacOf(card)).Address;
    }

    private void Remember(ImmutableSortedSet<string> cards) =>
        Done(cards.IsEmpty ? writers.Files.Delete(_layout.Reserved) : writers.Files.Write(_layout.Reserved, Encoding.UTF8.GetBytes(string.Join('\n', cards) + "\n"), Root(0x180)));
}
