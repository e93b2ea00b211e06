using System.Collections.Immutable;
using System.Text;
using AgentMetal.NodeAgent.Host;
using AgentMetal.NodeAgent.Host.Libvirt;
using AgentMetal.Runtime.Planning;

namespace AgentMetal.NodeAgent.Agents.Instance;

/// <summary>The part that reads which addresses libvirt's networks keep for the machine's cards. An instance that wants none and had none asks nobody.</summary>
internal sealed partial class InstanceObserver
{
    private const int MaxReserved = 4096;

    /// <summary>Cards that an address was kept for; a person may have changed the file, and then it names none.</summary>
    /// <exception cref="WorldException">It cannot be read.</exception>
    public static ImmutableSortedSet<string> Reserved(InstanceReaders readers, InstanceLayout layout)
    {
        var file = readers.Files.Read(layout.Reserved, MaxReserved);
        if (!file.IsSeen) throw new WorldException(file.WhyUnseen!);
        return file.Value.State.Exists ? [.. Encoding.UTF8.GetString(file.Value.Bytes.Span).Split('\n').Where(l => l.Split(' ') is [{ Length: > 0 }, { Length: 17 }])] : [];
    }

    private async Task<InstanceState> WithAddressedAsync(InstanceState state, CancellationToken stop)
    {
        var wanted = scope.Goal is { } goal ? InstancePins.Of(goal, state).Addresses : Aspect.None;
        var cards = state.Dir == DirIs.Others ? [.. wanted.Keys] : Reserved(readers, _layout).Union(wanted.Keys);
        if (cards.IsEmpty) return state;
        var (addressed, problems) = (Aspect.None.ToBuilder(), Aspect.None.ToBuilder());
        foreach (var network in cards.GroupBy(Card.NetworkOf, StringComparer.Ordinal))
        {
            var leases = await readers.Domains.LeasesAsync(network.Key, stop);
            if (!leases.IsSeen) throw new WorldException(leases.WhyUnseen!);
            foreach (var card in network)
            {
                addressed[card] = leases.Value.Reserved.FirstOrDefault(r => r.Mac == Card.MacOf(card)).Address ?? FactValue.Absent;
                if (leases.Value.Exists && wanted.TryGetValue(card, out var address) && addressed[card] != address && WhyNot(leases.Value, network.Key, Card.MacOf(card), address) is { } problem) problems[card] = problem;
            }
        }
        return state with { Addressed = addressed.ToImmutable(), AddressProblems = problems.ToImmutable() };
    }

    /// <summary>Why a network cannot keep an address for a card; null when it can.</summary>
    internal static string? WhyNot(NetworkLeases network, string name, string mac, string address)
    {
        var lending = network.Subnets.Where(s => s.Lends).ToList();
        if (lending.Count == 0) return $"network {name} lends no addresses, so it can keep none: leave ip out, or name a network with DHCP";
        if (!lending.Any(s => s.Holds(address))) return $"{address} is no address that network {name} can lend, which has {string.Join(", ", lending.Select(s => $"{s.Address}/{s.Prefix}"))}";
        if (network.Reserved.FirstOrDefault(r => r.Address == address && r.Mac != mac) is { Mac: not null } other) return $"{address} of network {name} is kept for {(other.Mac.Length > 0 ? other.Mac : "somebody else")}: give it up there, or choose another";
        return network.Lent.FirstOrDefault(l => l.Address == address && l.Mac != mac) is { Mac: not null } has ? $"{address} of network {name} is lent to {has.Mac} now: choose another, or end that lease" : null;
    }
}
