using System.Globalization;
using System.Security.Cryptography;
using AgentMetal.Runtime.Audit;
using AgentMetal.Runtime.Store;
using AgentMetal.Runtime.Trust;
using AgentMetal.WireMaps;
using Google.Protobuf;
using Microsoft.Data.Sqlite;
using V1 = AgentMetal.Proto.V1;

namespace AgentMetal.NodeAgent.Edge;

/// <summary>What the link to the coordinator keeps: its cursor, assignments, approvals, and how far the audit chain has been fetched.</summary>
internal sealed partial class LocalStore
{
    private const string AuditSeq = "audit_seq", AuditHash = "audit_hash", AuditAcked = "audit_acked", StoreIdName = "store_id", RevisionName = "revision";

    public ValueTask<LinkCursor> CursorAsync(CancellationToken stop) => thread.ReadAsync(() => new LinkCursor(Meta(StoreIdName) ?? "", Number(RevisionName)), stop);

    public async ValueTask SaveAsync(IReadOnlyList<V1.Assignment> changed, IReadOnlyList<string> dropped, LinkCursor cursor, StoreMark mark, CancellationToken stop) => await thread.WriteAsync(() =>
    {
        foreach (var a in changed)
        {
            Run("INSERT INTO assignments VALUES($0, $1, $2, 0) ON CONFLICT DO UPDATE SET revision = $1, body = $2, acked = 0", a.Key, a.Revision, a.ToByteArray());
            Run("INSERT INTO seen VALUES($0, $1, '', '') ON CONFLICT DO UPDATE SET generation = max(generation, $1)", a.Key, a.Generation);
        }
        foreach (var key in dropped)
        {
            Run("DELETE FROM assignments WHERE key = $0", key);
            Run("DELETE FROM attempts WHERE key = $0", key);
            Run("DELETE FROM meta WHERE name = $0", "story/" + key);
            Run("DELETE FROM destroyed WHERE key = $0", key);
            Run("DELETE FROM pauses WHERE key = $0", key);
        }
        SetMark(mark);
        SetMeta(StoreIdName, cursor.StoreId);
        return SetMeta(RevisionName, cursor.Revision.ToString(CultureInfo.InvariantCulture));
    }, stop).ConfigureAwait(false);

    public ValueTask<IReadOnlyList<V1.Assignment>> AssignmentsAsync(CancellationToken stop) => thread.ReadAsync<IReadOnlyList<V1.Assignment>>(() =>
        Rows("SELECT body FROM assignments ORDER BY key", r => V1.Assignment.Parser.ParseFrom(r.GetFieldValue<byte[]>(0))), stop);

    public ValueTask<IReadOnlyList<LocalAssignment>> RawAssignmentsAsync(CancellationToken stop) => thread.ReadAsync<IReadOnlyList<LocalAssignment>>(() =>
        Rows("SELECT key, revision, body, acked FROM assignments ORDER BY key", r => new LocalAssignment(r.GetString(0), r.GetInt64(1), r.GetFieldValue<byte[]>(2), r.GetInt64(3) != 0)), stop);

    /// <summary>The coordinator knows that this host has this revision of the assignment; a newer one stays unacknowledged.</summary>
    public ValueTask<int> AckAssignmentAsync(string key, long revision, CancellationToken stop) =>
        thread.WriteAsync(() => Run("UPDATE assignments SET acked = 1 WHERE key = $0 AND revision = $1", key, revision), stop);

    /// <summary>Keeps an approval for its steps. One that comes again changes nothing, and one for a consumed step finds it consumed.</summary>
    public async ValueTask AddApprovalAsync(SignedApproval approval, CancellationToken stop)
    {
        var (id, body) = Record(approval);
        await thread.WriteAsync(() =>
        {
            if (Run("INSERT INTO approvals VALUES($0, $1, $2) ON CONFLICT DO NOTHING", id, body, approval.ExpiresUnixMs) == 0) return 0;
            foreach (var step in approval.StepHashes) Run("INSERT INTO approved_steps VALUES($0, $1) ON CONFLICT DO NOTHING", step, id);
            return approval.StepHashes.Count;
        }, stop).ConfigureAwait(false);
    }

    public ValueTask<IReadOnlyList<AuditRecord>> AuditAfterAsync(long seq, int limit, CancellationToken stop) => thread.ReadAsync<IReadOnlyList<AuditRecord>>(() =>
        Rows("SELECT chain, seq, at, kind, resource, body, previous, hash FROM audit WHERE seq > $0 ORDER BY seq LIMIT $1", Record, seq, limit), stop);

    public ValueTask<long> LastAuditSeqAsync(CancellationToken stop) => thread.ReadAsync(() => Number(AuditSeq), stop);

    /// <summary>Prunes up to here, never beyond what was written; the head of the chain is kept apart, so that the chain goes on from it.</summary>
    public async ValueTask AuditAckedAsync(long seq, CancellationToken stop) => await thread.WriteAsync(() =>
    {
        var acked = Math.Min(seq, Number(AuditSeq));
        if (acked <= Number(AuditAcked)) return 0;
        SetMeta(AuditAcked, acked.ToString(CultureInfo.InvariantCulture));
        return Run("DELETE FROM audit WHERE seq <= $0", acked);
    }, stop).ConfigureAwait(false);

    private static AuditRecord Record(SqliteDataReader r) =>
        new(r.GetString(0), r.GetInt64(1), DateTimeOffset.FromUnixTimeMilliseconds(r.GetInt64(2)), r.GetString(3), r.GetString(4), r.GetString(5), r.GetString(6), r.GetString(7));

    private static (string Id, byte[] Body) Record(SignedApproval approval)
    {
        var body = TrustWire.Write(approval).ToByteArray();
        return (Convert.ToHexStringLower(SHA256.HashData(body)), body);
    }

    private void Append(DateTimeOffset at, string kind, string resourceKey, string body)
    {
        var next = AuditChain.Next(chain, Number(AuditSeq), Meta(AuditHash) ?? AuditChain.Genesis, at, kind, resourceKey, body);
        Run("INSERT INTO audit VALUES($0, $1, $2, $3, $4, $5, $6, $7)", next.Seq, next.Chain, Ms(next.At), next.Kind, next.ResourceKey, next.Body, next.Previous, next.Hash);
        SetMeta(AuditSeq, next.Seq.ToString(CultureInfo.InvariantCulture));
        SetMeta(AuditHash, next.Hash);
    }

    private string? VerifyAudit()
    {
        var (seq, hash) = (Number(AuditAcked), "");
        string? problem = null;
        // Read in parts: a host that was alone for long has more records than should be in memory at once.
        while (problem is null)
        {
            var part = Rows("SELECT chain, seq, at, kind, resource, body, previous, hash FROM audit WHERE seq > $0 ORDER BY seq LIMIT $1", Record, seq, 256);
            if (part.Count == 0) break;
            problem = AuditChain.Verify(part, seq, seq == 0 ? AuditChain.Genesis : hash.Length > 0 ? hash : part[0].Previous);
            (seq, hash) = (part[^1].Seq, part[^1].Hash);
        }
        if (problem is not null) return problem;
        if (seq != Number(AuditSeq)) return $"the chain ends at record {seq}, its head is {Number(AuditSeq)}: records are missing";
        return hash.Length > 0 && hash != Meta(AuditHash) ? $"record {seq} is not the head of the chain" : null;
    }
}
