using System.Collections.Concurrent;
using System.Text.Json;
using AgentMetal.Coordinator.AuditLog;
using AgentMetal.Coordinator.Events;
using AgentMetal.Coordinator.Fleet;
using AgentMetal.Coordinator.Identity;
using AgentMetal.Proto.V1;
using AgentMetal.Runtime.Store;
using AgentMetal.Runtime.Trust;
using AgentMetal.WireMaps;
using Google.Protobuf;

namespace AgentMetal.Coordinator.Nodes;

/// <summary>What came of a statement.</summary>
/// <param name="Refused">Why it was not kept; null = it was.</param>
/// <param name="Message">For people.</param>
/// <param name="By">Who counts, once it holds; else empty.</param>
internal sealed record StatementResult(string? Refused, string Message, IReadOnlyList<string> By);

/// <summary>People know of a gap in an audit.</summary>
/// <param name="By">Their names.</param>
/// <param name="Signed">What they signed.</param>
internal sealed record GapAcceptance(string By, IReadOnlyList<Statement> Signed);

/// <summary>
/// Operators' statements on their way to the hosts, and what the coordinator itself does by them. It carries them and cannot make them: a host that is
/// struck off here is gone for another host only once that host has judged the signatures itself.
/// </summary>
internal sealed class StatementShelf(IStore store, FleetModel model, FleetWriter writer, NodeRegistry registry, EventLog events, StoreBook book, AuditSegments audit, Func<ApproverSet?> approvers, TimeProvider clock)
{
    private const int MaxKept = 10_000;

    /// <summary>It travels in trailers, and clients take 64 KiB of them.</summary>
    private const int MaxFarewell = 32 * 1024;

    private readonly ConcurrentDictionary<AcceptedGap, GapAcceptance> _gaps = new();
    private readonly ConcurrentDictionary<string, bool> _toldOff = new(StringComparer.Ordinal);

    /// <summary>What a host that attaches is told.</summary>
    public async Task<IReadOnlyList<Statement>> OfNodeAsync(string node, CancellationToken stop) => [.. (await AllAsync(stop)).Where(s => Concerns(s, node) && !IsOver(s))];

    /// <summary>What a host that was struck off and calls all the same is told: by which signatures it was, and whom it may believe.</summary>
    public async Task<byte[]?> FarewellAsync(string node, byte[] approverSet, CancellationToken stop)
    {
        var said = (await AllAsync(stop)).Where(s => s.Purpose == StatementPurpose.StrikeOff && s.Fields.Count > 0 && s.Fields[0] == node).ToList();
        if (said.Count == 0) return null;
        if (_toldOff.TryAdd(node, true))
            events.Warn(model.Current.NodeName(node), "", "StruckOffHostCalls", $"{model.Current.NodeName(node)} was struck off and is back: it is told so, does nothing any more to what it had, and keeps its data");
        var message = new CoordinatorMessage { ApproverSet = ByteString.CopyFrom(approverSet) };
        message.Statements.AddRange(said);
        return message.CalculateSize() <= MaxFarewell ? message.ToByteArray() : null;
    }

    /// <summary>Keeps it, does what it says where enough approvers said so, and relays it.</summary>
    public async Task<StatementResult> TakeAsync(Statement wire, CancellationToken stop)
    {
        var statement = TrustWire.Read(wire);
        if (approvers() is not { } set) return Refuse("this coordinator has no approver set that the root signed");
        if (statement.Verify(set, clock.GetUtcNow()).Problem is { } problem) return Refuse(problem.Message);
        var struck = StrikeOff.Read(statement);
        var accepts = StoreAcceptance.Read(statement);
        var time = SignedTime.Read(statement);
        var gap = AcceptedGap.Read(statement);
        if (struck is null && accepts is null && time is null && gap is null) return Refuse($"a statement to {statement.Purpose} is not one that this build acts on");
        if ((struck is not null ? WhyNot(struck) : accepts is not null ? WhyNot(accepts) : gap is not null ? WhyNot(gap) : null) is { } why) return Refuse(why);
        var all = await AllAsync(stop);
        if (all.Count >= MaxKept) return Refuse($"{MaxKept} statements are kept already");
        var outcome = StatementRule.Holds(statement.Says, all.Select(TrustWire.Read).Append(statement), set, clock.GetUtcNow());
        await writer.ChangeAsync(view => new FleetChange<bool>(true) { Writes = [Put(wire), .. outcome is null || struck is null ? [] : Strike(view, struck, outcome, statement)] }, stop);
        if (outcome is null) return new(null, $"kept; {set.Threshold} approvers must say the same", []);
        if (gap is not null) return new(null, Accepted(gap, [.. outcome.Counted.Select(TrustWire.Write)], outcome), outcome.By);
        var message = struck is not null ? Struck(struck, outcome) : accepts is not null ? Accepted(accepts, outcome) : $"it is told to {time!.Nodes.Length} hosts; one that cannot attach takes it by hand";
        foreach (var session in registry.Serving.Where(s => Concerns(wire, s.Uid))) session.Put(wire);
        return new(null, message, outcome.By);
    }

    private string Struck(StrikeOff struck, StatementOutcome outcome)
    {
        events.Warn(struck.NodeName, "", "NodeStruckOff", $"{struck.NodeName} was struck off by {string.Join(", ", outcome.By)}: {struck.Members.Length} members count as gone and are made anew where there is room; its certificate is refused from now on");
        return $"{struck.NodeName} is struck off";
    }

    private string Accepted(StoreAcceptance accepts, StatementOutcome outcome)
    {
        var names = accepts.Nodes.Select(n => model.Current.NodeName(n)).Order(StringComparer.Ordinal).ToList();
        events.Warn("", "", "StoreAccepted", $"{string.Join(", ", outcome.By)} signed that {string.Join(", ", names.Take(8))}{(names.Count > 8 ? $" and {names.Count - 8} more" : "")} follow this store from revision {accepts.From} on");
        // All of them heard that it was put back, and attach anew.
        if (book.Accept(model.Current.At.Number))
            foreach (var session in registry.Serving) session.Leave("operators signed for this store: attach anew", retry: true);
        return $"{names.Count} hosts are told to follow this store; those that are away hear it when they attach, until the signature ends";
    }

    private string Accepted(AcceptedGap gap, IReadOnlyList<Statement> signed, StatementOutcome outcome)
    {
        _gaps[gap] = new(string.Join(", ", outcome.By), signed);
        var name = model.Current.NodeName(gap.NodeUid);
        events.Warn(name, "", "AuditGapAccepted", $"{string.Join(", ", outcome.By)} signed that records {gap.From} to {gap.To} of the audit of {name} are missing here for good");
        return $"the gap of records {gap.From} to {gap.To} of {name} stays in its audit, and is known";
    }

    /// <summary>Who signed that they know of a gap; null = nobody.</summary>
    public GapAcceptance? AcceptanceOf(string node, ChainGap gap) => _gaps.GetValueOrDefault(new(node, gap.From, gap.To));

    /// <summary>Judges anew what people signed about gaps; before anybody asks.</summary>
    public async Task LoadAsync(CancellationToken stop)
    {
        var all = (await AllAsync(stop)).Select(TrustWire.Read).Where(s => AcceptedGap.Read(s) is not null).ToList();
        foreach (var says in all.GroupBy(s => s.Says, StringComparer.Ordinal))
            if (StatementRule.Holds(says.Key, says, approvers(), clock.GetUtcNow()) is { } outcome)
                _gaps[AcceptedGap.Read(says.First())!] = new(string.Join(", ", outcome.By), [.. outcome.Counted.Select(TrustWire.Write)]);
    }

    /// <summary>Forgets what has ended; at most 100 a call.</summary>
    public async Task PruneAsync(CancellationToken stop)
    {
        var over = (await AllAsync(stop)).Where(IsOver).Take(100).ToList();
        if (over.Count > 0) await writer.ChangeAsync(_ => new FleetChange<bool>(true) { Writes = [.. over.Select(s => StoreWrite.Delete(StoreKeys.Statement(s.Purpose, s.Nonce)))] }, stop);
    }

    private async Task<IReadOnlyList<Statement>> AllAsync(CancellationToken stop) =>
        [.. (await store.ListAsync(StoreKeys.Statements, stop)).Entries.Select(e => Statement.Parser.ParseFrom(e.Value.Span))];

    private string? WhyNot(StrikeOff struck)
    {
        var view = model.Current;
        if (!view.Joined.TryGetValue(struck.NodeUid, out var node)) return $"there is no node {struck.NodeUid}";
        if (node.StruckOffBy is { } by) return $"{node.Name} was struck off by {by} already";
        if (node.Name != struck.NodeName) return $"node {struck.NodeUid} is called {node.Name}";
        // Whoever runs its members anew while it runs them too makes two of each.
        if (registry.Session(struck.NodeUid) is not null) return $"{node.Name} is attached: it is not gone. Switch it off for good first";
        var unnamed = view.OfNode(struck.NodeUid).Where(r => !struck.Members.Contains(StrikeOff.MemberOf(r.Value.ResourceUid, r.Value.Ordinal))).Select(r => r.Value).ToList();
        return unnamed.Count == 0 ? null : $"the signature does not name {string.Join(", ", unnamed.Take(3).Select(a => $"{a.Kind} {a.Project}/{a.Name} #{a.Ordinal}"))}, which is there by now; look and sign again";
    }

    private string? WhyNot(AcceptedGap gap) => !model.Current.Joined.TryGetValue(gap.NodeUid, out var node) ? $"there is no node {gap.NodeUid}"
        : audit.GapsOf(gap.NodeUid).Contains(new(gap.From, gap.To)) ? null : $"records {gap.From} to {gap.To} of {node.Name} are no gap here; look and sign again";

    private string? WhyNot(StoreAcceptance accepts)
    {
        if (accepts.StoreId != store.StoreId) return $"the signature is for the store {accepts.StoreId}, and this one is {store.StoreId}";
        if (!book.Has(accepts.Epoch, accepts.From)) return "the signature is for a history that this store has not; look and sign again";
        return accepts.Nodes.FirstOrDefault(n => !model.Current.Joined.ContainsKey(n)) is { } stranger ? $"there is no node {stranger}" : null;
    }

    private List<StoreWrite> Strike(FleetView view, StrikeOff struck, StatementOutcome outcome, SignedStatement statement)
    {
        var node = view.Joined[struck.NodeUid] with { RevokedUnixMs = clock.GetUtcNow().ToUnixTimeMilliseconds(), RevokedReason = statement.Reason, StruckOffBy = string.Join(", ", outcome.By) };
        List<StoreWrite> writes = [StoreWrite.Put(IdentityKeys.Node(node.Uid), JsonSerializer.SerializeToUtf8Bytes(node, IdentityJson.Default.NodeRecord)), StoreWrite.Delete(IdentityKeys.Name(node.Name))];
        writes.AddRange(view.OfNode(struck.NodeUid).Select(r => StoreWrite.Delete(StoreKeys.Assignment(r.Value.Key))));
        return writes;
    }

    private bool IsOver(Statement s) => s.ExpiresUnixMs > 0 && s.ExpiresUnixMs <= clock.GetUtcNow().ToUnixTimeMilliseconds();

    private static bool Concerns(Statement s, string node) => s.Purpose == StatementPurpose.StrikeOff || (s.Purpose != StatementPurpose.AcceptGap && s.Fields.Contains(node));

    private static StoreWrite Put(Statement s) => StoreWrite.Put(StoreKeys.Statement(s.Purpose, s.Nonce), s.ToByteArray());

    private static StatementResult Refuse(string why) => new(why, why, []);
}
