using System.Runtime.CompilerServices;

namespace AgentMetal.NodeAgent.Host.Systemd;

/// <summary>Reads units over D-Bus.</summary>
internal sealed class UnitReader(SystemdLink link) : IUnitReader
{
    /// <summary>Units in one watch: the bus allows 512 match rules a connection (dbus-daemon(1), max_match_rules_per_connection).</summary>
    internal const int MaxWatched = 400;

    public async Task<Observed<UnitState>> GetUnitAsync(string name, CancellationToken ct)
    {
        UnitName.Require(name);
        try
        {
            return Observed<UnitState>.Seen(await link.GetPropertiesAsync(name, link.Options.CallDeadline, ct).ConfigureAwait(false));
        }
        catch (SystemdException error)
        {
            // Even a refusal is not absence: an absent unit has properties, with LoadState "not-found".
            return Observed<UnitState>.Unseen($"systemd did not describe {name}: {error.Message}");
        }
    }

    public IReadOnlyList<UnitEnd> TakeEnds(string name) => link.Ends.Take(name);

    public IAsyncEnumerable<UnitSignal> WatchAsync(IReadOnlyCollection<string> names, CancellationToken ct)
    {
        foreach (var name in names)
            UnitName.Require(name);
        if (names.Count is 0 or > MaxWatched)
            throw new ArgumentException($"A watch takes 1 to {MaxWatched} units, not {names.Count}.", nameof(names));

        return WatchCore(new UnitWatch(names), ct);
    }

    private async IAsyncEnumerable<UnitSignal> WatchCore(UnitWatch watch, [EnumeratorCancellation] CancellationToken ct)
    {
        link.Add(watch);
        try
        {
            while (true)
            {
                foreach (var signal in await watch.Box.TakeAsync(ct).ConfigureAwait(false))
                    yield return signal;
            }
        }
        finally
        {
            link.Remove(watch);
        }
    }
}
