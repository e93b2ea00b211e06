using System.Collections.Immutable;

namespace AgentMetal.NodeAgent.Agents.Instance;

/// <summary>
/// A spec lists disks and cards; a guest knows them by what they were given once. A disk keeps its place on the bus and a card its address for as long as
/// they are declared, whatever comes before them in the list or goes from it. What is new gets what is free.
/// </summary>
internal static class InstancePins
{
    /// <summary>vdz is the seed's.</summary>
    private const int MaxDisks = 25;

    /// <summary>The goal with the places and addresses that this machine's disks and cards have.</summary>
    public static InstanceGoal Of(InstanceGoal goal, InstanceState s)
    {
        if (goal.Config is not { } config) return goal;
        var there = InForce.Of(s);
        var nics = Nics(goal, config.Nics, there.IsEmpty ? s.Cards : there);
        var moved = config.Nics.Zip(nics).Where(p => p.First.Kind == "network").DistinctBy(p => Card.Of(p.First.Source, p.First.Mac))
            .ToDictionary(p => Card.Of(p.First.Source, p.First.Mac), p => Card.Of(p.Second.Source, p.Second.Mac), StringComparer.Ordinal);
        return goal with
        {
            Config = config with { Disks = Disks(config.Disks, there), Nics = nics },
            Addresses = goal.Addresses.ToImmutableSortedDictionary(a => moved.GetValueOrDefault(a.Key, a.Key), a => a.Value, StringComparer.Ordinal),
        };
    }

    /// <summary>
    /// Their order is the order in which the guest finds them. Where it can be kept without moving one that is there, it is; else all stand as they are listed,
    /// which is another order for the guest, and for a person to sign.
    /// </summary>
    private static ImmutableArray<DomainDisk> Disks(ImmutableArray<DomainDisk> disks, ImmutableSortedDictionary<string, string> there)
    {
        var has = Aspect.DisksOf(there).Where(d => Index(d.Target) >= 0).ToDictionary(d => d.Path, d => Index(d.Target), StringComparer.Ordinal);
        var own = disks.Where(d => !d.IsSeed).ToList();
        var (places, last) = (new int[own.Count], -1);
        for (var i = 0; i < own.Count; i++)
        {
            places[i] = last = has.TryGetValue(own[i].Path, out var place) ? place <= last ? MaxDisks : place : last + 1;
            if (last >= MaxDisks) return disks;
        }
        var by = own.Zip(places).ToDictionary(p => p.First.Path, p => p.Second, StringComparer.Ordinal);
        return [.. disks.Select(d => d.IsSeed ? d : d with { Target = "vd" + (char)('a' + by[d.Path]) })];
    }

    /// <summary>First the cards that are just so, then those of the same network, then the one that stood there and goes to another network.</summary>
    private static ImmutableArray<DomainNic> Nics(InstanceGoal goal, ImmutableArray<DomainNic> nics, ImmutableSortedDictionary<string, string> there)
    {
        var declared = goal.Spec.Nics.Select(n => n.Mac).Where(m => m.Length > 0).ToHashSet(StringComparer.Ordinal);
        var free = Aspect.NicsOf(there).Where(n => goal.OwnMacs.Contains(n.Mac) && !declared.Contains(n.Mac)).OrderBy(n => goal.OwnMacs.IndexOf(n.Mac)).ToList();
        var used = free.Select(n => n.Mac).Concat(declared).ToHashSet(StringComparer.Ordinal);
        var given = new string?[nics.Length];
        for (var i = 0; i < nics.Length; i++) given[i] = goal.Spec.Nics[i].Mac.Length > 0 ? nics[i].Mac : null;
        Take(static (card, n, _) => (card.Kind, card.Source, card.Filter) == (n.Kind, n.Source, n.Filter));
        Take(static (card, n, _) => (card.Kind, card.Source) == (n.Kind, n.Source));
        Take((card, _, i) => i < goal.OwnMacs.Length && card.Mac == goal.OwnMacs[i]);
        return [.. nics.Select((n, i) => n with { Mac = given[i] ??= Fresh(n.Mac) })];

        void Take(Func<DomainNic, DomainNic, int, bool> fits)
        {
            for (var i = 0; i < nics.Length; i++)
            {
                if (given[i] is not null || free.FindIndex(c => fits(c, nics[i], i)) is not (>= 0 and var at)) continue;
                given[i] = free[at].Mac;
                free.RemoveAt(at);
            }
        }

        string Fresh(string otherwise)
        {
            var mac = there.IsEmpty ? otherwise : goal.OwnMacs.FirstOrDefault(m => !used.Contains(m), otherwise);
            used.Add(mac);
            return mac;
        }
    }

    private static int Index(string target) => target is ['v', 'd', >= 'a' and <= 'y' and var letter] ? letter - 'a' : -1;
}
