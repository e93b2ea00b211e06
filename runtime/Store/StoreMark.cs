namespace AgentMetal.Runtime.Store;

/// <summary>
/// How far somebody has followed a store. Kept outside that store, because what lies in it goes back with it: a copy that is put back has its own numbers
/// again, and gives them to other things.
/// </summary>
/// <param name="StoreId">Of the store; empty = none was followed yet.</param>
/// <param name="Epoch">The run of a coordinator in which the revision was seen; empty = seen by a build that knew of none.</param>
/// <param name="Token">Of that run's CoordinatorLease.</param>
/// <param name="Revision">The highest that was seen.</param>
public sealed record StoreMark(string StoreId, string Epoch, long Token, long Revision)
{
    public static StoreMark None { get; } = new("", "", 0, 0);
}

/// <summary>One run of a coordinator on a store, as the store has it. Each start mints one, so two histories that part never share the later ones.</summary>
/// <param name="Id">32 lower-case hexadecimal digits, random.</param>
/// <param name="Token">Of its CoordinatorLease.</param>
/// <param name="From">The revision that recorded it.</param>
/// <param name="Until">The revision that recorded the next one; 0 = it goes on.</param>
public sealed record StoreEpoch(string Id, long Token, long From, long Until);

/// <summary>Whether a store is the one that was followed, and no older.</summary>
public static class StoreHistory
{
    /// <summary>Null = it goes on from what was seen; else why not, for people. Pure.</summary>
    /// <param name="who">Who has seen it: "this host", "this coordinator".</param>
    /// <param name="seen">What was seen.</param>
    /// <param name="storeId">What the store says it is.</param>
    /// <param name="epochs">Of the store, in their order; empty where a build knows of none.</param>
    /// <param name="head">Its newest revision; 0 where a build does not say.</param>
    public static string? WhyNot(string who, StoreMark seen, string storeId, IReadOnlyList<StoreEpoch> epochs, long head)
    {
        ArgumentNullException.ThrowIfNull(seen);
        ArgumentNullException.ThrowIfNull(epochs);
        if (seen.StoreId.Length == 0) return null;
        if (storeId != seen.StoreId)
            return $"it is another store ({Short(storeId)}) than the one that {who} follows ({Short(seen.StoreId)}, to revision {seen.Revision}): restored, migrated, or another coordinator's";
        if (head > 0 && head < seen.Revision) return $"it is at revision {head}, and {who} has followed it to {seen.Revision}: an older copy was put back";
        if (epochs.Count == 0) return null;
        if (epochs[^1].Token < seen.Token) return $"its leader has token {epochs[^1].Token}, and {who} has followed token {seen.Token}: an older copy was put back";
        return seen.Epoch.Length == 0 || Has(epochs, seen.Epoch, seen.Revision) ? null
            : $"it is at revision {head}, but does not know what {who} followed to revision {seen.Revision}: an older copy was put back and written on";
    }

    /// <summary>Whether that run wrote that revision in this history.</summary>
    public static bool Has(IEnumerable<StoreEpoch> epochs, string epoch, long revision) =>
        epochs.Any(e => e.Id == epoch && e.From <= revision && (e.Until == 0 || revision < e.Until));

    private static string Short(string id) => id.Length > 8 ? id[..8] : id;
}
