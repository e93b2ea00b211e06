using AgentMetal.Runtime.Audit;
using AgentMetal.Runtime.Trust;
using V1 = AgentMetal.Proto.V1;

namespace AgentMetal.NodeAgent.Edge;

/// <param name="StoreId">The store the assignments came from; empty = none yet.</param>
/// <param name="Revision">Everything up to here is stored.</param>
internal sealed record LinkCursor(string StoreId, long Revision);

/// <summary>What the link keeps on disk, so that a host that boots with no network converges from it.</summary>
internal interface ILinkState
{
    ValueTask<LinkCursor> CursorAsync(CancellationToken stop);

    /// <summary>One transaction: changed assignments, dropped ones, and the cursor.</summary>
    ValueTask SaveAsync(IReadOnlyList<V1.Assignment> changed, IReadOnlyList<string> dropped, LinkCursor cursor, CancellationToken stop);

    ValueTask<IReadOnlyList<V1.Assignment>> AssignmentsAsync(CancellationToken stop);

    ValueTask AddApprovalAsync(SignedApproval approval, CancellationToken stop);

    ValueTask<IReadOnlyList<AuditRecord>> AuditAfterAsync(long seq, int limit, CancellationToken stop);

    ValueTask<long> LastAuditSeqAsync(CancellationToken stop);

    /// <summary>The coordinator has these; they may be pruned here.</summary>
    ValueTask AuditAckedAsync(long seq, CancellationToken stop);
}
