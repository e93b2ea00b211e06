using System.Globalization;
using AgentMetal.Runtime.Store;
using AgentMetal.Runtime.Trust;
using AgentMetal.WireMaps;
using Google.Protobuf;
using V1 = AgentMetal.Proto.V1;

namespace AgentMetal.NodeAgent.Edge;

/// <summary>What operators said about the fleet, as far as this host has judged it: it holds also when the coordinator's store forgets it.</summary>
internal sealed partial class LocalStore
{
    private const string MarkStore = "mark_store", MarkEpoch = "mark_epoch", MarkToken = "mark_token", MarkRevision = "mark_revision";

    /// <summary>Hosts that operators struck off, as this host judged it then.</summary>
    public ValueTask<IReadOnlyList<SignedStatement>> StruckOffAsync(CancellationToken stop) => thread.ReadAsync<IReadOnlyList<SignedStatement>>(() =>
        [.. Rows("SELECT body FROM struck ORDER BY at", r => r.GetFieldValue<byte[]>(0)).Select(b => TrustWire.Read(V1.Statement.Parser.ParseFrom(b)))], stop);

    /// <summary>Whether a signature has served here.</summary>
    public ValueTask<bool> IsSpentAsync(string nonce, CancellationToken stop) => thread.ReadAsync(() => Rows("SELECT 1 FROM spent WHERE nonce = $0", r => r.GetInt64(0), nonce).Count > 0, stop);

    /// <summary>One transaction: the host is struck off, the signatures have served, and the audit says by whom.</summary>
    public async ValueTask StrikeOffAsync(StatementOutcome outcome, StrikeOff struck, DateTimeOffset at, string audit) => await thread.WriteAsync(() =>
    {
        Spend(outcome, at);
        Append(at, "NodeStruckOff", "", audit);
        return Run("INSERT INTO struck VALUES($0, $1, $2) ON CONFLICT DO NOTHING", struck.NodeUid, TrustWire.Write(outcome.Counted[0]).ToByteArray(), Ms(at));
    }, CancellationToken.None).ConfigureAwait(false);

    public ValueTask<StoreMark> MarkAsync(CancellationToken stop) => thread.ReadAsync(() =>
        new StoreMark(Meta(MarkStore) ?? Meta(StoreIdName) ?? "", Meta(MarkEpoch) ?? "", Number(MarkToken), Math.Max(Number(MarkRevision), Meta(MarkStore) is null ? Number(RevisionName) : 0)), stop);

    public async ValueTask SaveMarkAsync(StoreMark mark, CancellationToken stop) => await thread.WriteAsync(() => SetMark(mark), stop).ConfigureAwait(false);

    public ValueTask<IReadOnlyDictionary<string, SeenMember>> SeenAsync(CancellationToken stop) => thread.ReadAsync<IReadOnlyDictionary<string, SeenMember>>(() =>
        Rows("SELECT key, generation, handed, handed_name FROM seen", r => (Key: r.GetString(0), Seen: new SeenMember(r.GetInt64(1), r.GetString(2), r.GetString(3)))).ToDictionary(r => r.Key, r => r.Seen, StringComparer.Ordinal), stop);

    public async ValueTask SaveHandedAsync(string key, SeenMember seen, CancellationToken stop) => await thread.WriteAsync(() =>
        Run("INSERT INTO seen VALUES($0, $1, $2, $3) ON CONFLICT DO UPDATE SET handed = $2, handed_name = $3", key, seen.Generation, seen.HandedTo, seen.HandedName), stop).ConfigureAwait(false);

    public ValueTask<IReadOnlyDictionary<string, DateTimeOffset>> OrphansAsync(CancellationToken stop) => thread.ReadAsync<IReadOnlyDictionary<string, DateTimeOffset>>(() =>
        Rows("SELECT key, since FROM orphans", r => (Key: r.GetString(0), Since: DateTimeOffset.FromUnixTimeMilliseconds(r.GetInt64(1)))).ToDictionary(r => r.Key, r => r.Since, StringComparer.Ordinal), stop);

    public async ValueTask SaveOrphansAsync(IReadOnlyDictionary<string, DateTimeOffset> orphans, CancellationToken stop) => await thread.WriteAsync(() =>
    {
        Run("DELETE FROM orphans");
        foreach (var (key, since) in orphans) Run("INSERT INTO orphans VALUES($0, $1)", key, Ms(since));
        return orphans.Count;
    }, stop).ConfigureAwait(false);

    public ValueTask<long> AuditAckedSeqAsync(CancellationToken stop) => thread.ReadAsync(() => Number(AuditAcked), stop);

    /// <summary>
    /// One transaction: this store is followed from here on, from its list on; generations that were seen before say nothing about it. What was handed over
    /// stays handed over: a signature for a store is none for running a machine twice.
    /// </summary>
    public async ValueTask AcceptStoreAsync(StatementOutcome outcome, StoreMark mark, DateTimeOffset at, string audit) => await thread.WriteAsync(() =>
    {
        Spend(outcome, at);
        Append(at, "StoreAccepted", "", audit);
        Run("INSERT INTO seen SELECT key, 0, '', '' FROM assignments WHERE true ON CONFLICT DO UPDATE SET generation = 0");
        Run("UPDATE seen SET generation = 0");
        SetMark(mark);
        SetMeta(StoreIdName, mark.StoreId);
        return SetMeta(RevisionName, "0");
    }, CancellationToken.None).ConfigureAwait(false);

    /// <summary>The signatures have served, and changed nothing.</summary>
    public async ValueTask SpendAsync(StatementOutcome outcome, DateTimeOffset at, string audit) => await thread.WriteAsync(() =>
    {
        Spend(outcome, at);
        Append(at, "StoreFollowedAlready", "", audit);
        return 0;
    }, CancellationToken.None).ConfigureAwait(false);

    /// <summary>One transaction: the floor of trusted time is what operators signed.</summary>
    public async ValueTask SetTimeAsync(StatementOutcome outcome, DateTimeOffset at, string audit) => await thread.WriteAsync(() =>
    {
        Spend(outcome, at);
        Append(at, "TimeSet", "", audit);
        return SetMeta(HostClock.Meta, Ms(at).ToString(CultureInfo.InvariantCulture));
    }, CancellationToken.None).ConfigureAwait(false);

    public async ValueTask AuditAsync(string kind, DateTimeOffset at, string audit) => await thread.WriteAsync(() => { Append(at, kind, "", audit); return 0; }, CancellationToken.None).ConfigureAwait(false);

    private int SetMark(StoreMark mark)
    {
        SetMeta(MarkStore, mark.StoreId);
        SetMeta(MarkEpoch, mark.Epoch);
        SetMeta(MarkToken, mark.Token.ToString(CultureInfo.InvariantCulture));
        return SetMeta(MarkRevision, mark.Revision.ToString(CultureInfo.InvariantCulture));
    }

    private void Spend(StatementOutcome outcome, DateTimeOffset at)
    {
        foreach (var statement in outcome.Counted) Run("INSERT INTO spent VALUES($0, $1) ON CONFLICT DO NOTHING", statement.Nonce, Ms(at));
    }
}
