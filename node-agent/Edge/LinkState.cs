using AgentMetal.Runtime.Audit;
using AgentMetal.Runtime.Store;
using AgentMetal.Runtime.Trust;
using V1 = AgentMetal.Proto.V1;

namespace AgentMetal.NodeAgent.Edge;

/// <param name="StoreId">The store the assignments came from; empty = none yet.</param>
/// <param name="Revision">Everything up to here is stored.</param>
internal sealed record LinkCursor(string StoreId, long Revision);

/// <summary>What this host remembers of one member, also when it has it no more.</summary>
/// <param name="Generation">The highest that it was told.</param>
/// <param name="HandedTo">Uid of the host that it handed the member over to; empty = none.</param>
/// <param name="HandedName">Its name.</param>
internal sealed record SeenMember(long Generation, string HandedTo = "", string HandedName = "");

/// <summary>What the link keeps on disk, so that a host that boots with no network converges from it.</summary>
internal interface ILinkState
{
    ValueTask<LinkCursor> CursorAsync(CancellationToken stop);

    /// <summary>One transaction: changed assignments with their generations, dropped ones, the cursor, and how far the store was followed.</summary>
    ValueTask SaveAsync(IReadOnlyList<V1.Assignment> changed, IReadOnlyList<string> dropped, LinkCursor cursor, StoreMark mark, CancellationToken stop);

    /// <summary>How far the store was followed; a host of before says its cursor.</summary>
    ValueTask<StoreMark> MarkAsync(CancellationToken stop);

    ValueTask SaveMarkAsync(StoreMark mark, CancellationToken stop);

    /// <summary>By assignment.</summary>
    ValueTask<IReadOnlyDictionary<string, SeenMember>> SeenAsync(CancellationToken stop);

    ValueTask SaveHandedAsync(string key, SeenMember seen, CancellationToken stop);

    /// <summary>Since when each orphan is one, by assignment.</summary>
    ValueTask<IReadOnlyDictionary<string, DateTimeOffset>> OrphansAsync(CancellationToken stop);

    ValueTask SaveOrphansAsync(IReadOnlyDictionary<string, DateTimeOffset> orphans, CancellationToken stop);

    /// <summary>The coordinator has the audit up to here.</summary>
    ValueTask<long> AuditAckedSeqAsync(CancellationToken stop);

    ValueTask<IReadOnlyList<V1.Assignment>> AssignmentsAsync(CancellationToken stop);

    ValueTask AddApprovalAsync(SignedApproval approval, CancellationToken stop);

    ValueTask<IReadOnlyList<AuditRecord>> AuditAfterAsync(long seq, int limit, CancellationToken stop);

    ValueTask<long> LastAuditSeqAsync(CancellationToken stop);

    /// <summary>The coordinator has these; they may be pruned here.</summary>
    ValueTask AuditAckedAsync(long seq, CancellationToken stop);
}
