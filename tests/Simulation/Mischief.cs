namespace AgentMetal.Simulation;

/// <summary>The bad day: crashes, reboots, partitions, drift, a store that goes away, and a person who cannot make up their mind.</summary>
internal sealed class Mischief(Fleet fleet)
{
    private int _config = 1;

    internal void Begin()
    {
        Every(2000, 8000, Change);
        Every(4000, 20_000, () => Any().Die());
        Every(15_000, 60_000, () => Any().Reboot());
        Every(10_000, 40_000, fleet.Coordinator.Die);
        Every(10_000, 40_000, fleet.Coordinator.StoreGoesAway);
        Every(5000, 25_000, Partition);
        Every(3000, 15_000, Drift);
    }

    private Node Any() => fleet.Nodes[Fleet.Names[fleet.Dice.Below(Fleet.Names.Length)]];

    private void Every(int from, int to, Action what) => fleet.Time.After(fleet.Dice.Ms(from, to), () =>
    {
        if (!fleet.BadDay) return;
        what();
        Every(from, to, what);
    });

    private void Change()
    {
        if (fleet.Coordinator.Wanted() is not { } wanted) return;
        var (primary, config, present) = wanted;
        var node = Fleet.Names[fleet.Dice.Below(Fleet.Names.Length)];
        switch (fleet.Dice.Below(5))
        {
            case 0: config = ++_config; break;
            case 1 when node != primary && present.Count > 1: present.Remove(node); break;
            case 2 when !present.Contains(node): present.Add(node); break;
            default: primary = present[fleet.Dice.Below(present.Count)]; break;
        }
        fleet.Coordinator.Change(primary, config, present);
    }

    private void Partition()
    {
        var node = Any();
        if (node.Isolated) return;
        fleet.Counts.Partitions++;
        node.Isolated = true;
        fleet.Trace.Say(node.Name, "is cut off");
        fleet.Time.After(fleet.Dice.Ms(500, 15_000), () =>
        {
            node.Isolated = false;
            fleet.Trace.Say(node.Name, "is back");
        });
    }

    private void Drift()
    {
        var node = Any();
        // A change of ours under way is not drifted into: what then is left would be nobody's doing.
        if (fleet.Servers[node.Name] is not { Exists: true, Up: true } server || node.Changing) return;
        fleet.Counts.Drifts++;
        node.Drift(fleet.Dice.Chance(50) ? server with { Up = false } : server with { Config = 99 });
    }
}
