using System.Collections.Immutable;
using AgentMetal.NodeAgent.Pipeline;
using AgentMetal.Runtime.Audit;
using AgentMetal.Runtime.Trust;
using AgentMetal.WireMaps;
using Microsoft.Extensions.Logging;
using V1 = AgentMetal.Proto.V1;

namespace AgentMetal.NodeAgent.Edge;

/// <summary>
/// Operators' words about the fleet, judged by this host itself: the coordinator relays them and cannot make them. A host that was struck off stays so,
/// because no other host ever has its uid.
/// </summary>
internal sealed partial class FleetWords(LocalStore store, string nodeUid, Func<ApproverSet?> approvers, Func<DateTimeOffset> now, ILogger<FleetWords> log)
{
    private const int MaxPending = 256;

    private readonly Lock _lock = new();
    private readonly List<SignedStatement> _pending = [];
    private ImmutableDictionary<string, StrikeOff> _struck = ImmutableDictionary.Create<string, StrikeOff>(StringComparer.Ordinal);

    /// <summary>Which store is offered, and whether it is followed; null = nothing is to be accepted.</summary>
    public StoreGuard? Guard { get; set; }

    /// <summary>Set back by a signature; null = there is no clock to set.</summary>
    public HostClock? Time { get; set; }

    /// <summary>Called when a host was struck off: members see their peers with other eyes.</summary>
    public Action<StrikeOff>? Struck { get; set; }

    public bool IsStruckOff(string nodeUid) => _struck.ContainsKey(nodeUid);

    /// <summary>This host itself was struck off: by whom and why, in words; null = it was not.</summary>
    public string? Own { get; private set; }

    public async Task LoadAsync(CancellationToken stop)
    {
        foreach (var statement in await store.StruckOffAsync(stop))
            if (StrikeOff.Read(statement) is { } struck) Know(struck, approvers()?.Find(statement.KeyId)?.Name ?? "an approver of before", statement.Reason);
    }

    private void Know(StrikeOff struck, string by, string reason)
    {
        _struck = _struck.SetItem(struck.NodeUid, struck);
        if (struck.NodeUid == nodeUid)
            Own = $"this host was struck off by {by}{(reason.Length > 0 ? $" ({reason})" : "")}: what it had may run elsewhere by now, so nothing is done to it here any more, and its data stays where it is. "
                + "To use this host again: remove its identity directory and local.db, then agentmetald join with a new token";
    }

    /// <summary>Judges a statement that was relayed; one that does not hold yet waits for others that say the same.</summary>
    public async Task TakeAsync(SignedStatement statement, CancellationToken stop)
    {
        if (statement.FormError() is { } error)
        {
            LogRefused(log, error);
            return;
        }
        if (await store.IsSpentAsync(statement.Nonce, stop)) return;
        lock (_lock)
        {
            _pending.RemoveAll(p => p.Nonce == statement.Nonce);
            if (_pending.Count >= MaxPending) _pending.RemoveAt(0); // They are relayed again at each attach.
            _pending.Add(statement);
        }
        if (StrikeOff.Read(statement) is { } struck) await StrikeAsync(statement, struck);
        else if (statement.Purpose == StatementPurpose.AcceptStore) await AcceptAsync(statement);
        else if (statement.Purpose == StatementPurpose.SetTime) await SetTimeAsync(statement);
    }

    /// <summary>One that was carried here by hand: why it changes nothing, or null.</summary>
    public async Task<string?> TakeCarriedAsync(byte[] bytes, CancellationToken stop)
    {
        SignedStatement statement;
        try { statement = TrustWire.Read(V1.Statement.Parser.ParseFrom(bytes)); }
        catch (Google.Protobuf.InvalidProtocolBufferException) { return "this is not an operator's statement"; }
        if (statement.FormError() is { } error) return "statement: " + error;
        if (await store.IsSpentAsync(statement.Nonce, stop)) return "this signature has served here already";
        if (approvers() is not { } set) return "this host has no approver set that the root signed";
        var at = SignedTime.Read(statement)?.At ?? now();
        if (statement.Verify(set, at).Problem is { } problem) return problem.Message;
        if (statement.Purpose != StatementPurpose.StrikeOff && !statement.Fields.Contains(nodeUid)) return "it is for other hosts than this one";
        await TakeAsync(statement, stop);
        return await store.IsSpentAsync(statement.Nonce, stop) ? null : "kept, and not in force: more approvers must say the same, or what it speaks of is not here";
    }

    /// <summary>The member with what this host knows of its peers by signatures.</summary>
    public MemberInput Mark(MemberInput input)
    {
        var struck = _struck;
        if (struck.IsEmpty) return input;
        var peers = input.Peers.Select(p => p.StruckOff == Covers(p.NodeUid, input.ResourceUid, p.Ordinal) ? p : p with { StruckOff = !p.StruckOff });
        var gone = struck.Values.SelectMany(s => s.Members.Where(m => m.StartsWith(input.ResourceUid + "/", StringComparison.Ordinal))
            .Select(m => int.TryParse(m.AsSpan(input.ResourceUid.Length + 1), out var ordinal) ? new StruckPeer(ordinal, s.NodeUid, s.NodeName) : null)).OfType<StruckPeer>();
        return input with { Peers = [.. peers], StruckOff = [.. gone.OrderBy(g => g.Ordinal).ThenBy(g => g.NodeUid, StringComparer.Ordinal)] };

        bool Covers(string node, string resource, int ordinal) => struck.TryGetValue(node, out var s) && s.Members.Contains(StrikeOff.MemberOf(resource, ordinal));
    }

    /// <summary>A signature for a store serves once, also where it is not needed: a later copy of that store could bring it again.</summary>
    private async Task AcceptAsync(SignedStatement statement)
    {
        if (StoreAcceptance.Read(statement) is not { } accepts || !accepts.Nodes.Contains(nodeUid) || Guard?.Answers(accepts.StoreId, accepts.Epoch, accepts.From) is not { } mark) return;
        SignedStatement[] found;
        lock (_lock) found = [.. _pending];
        if (StatementRule.Holds(statement.Says, found, approvers(), now()) is not { } outcome) return;
        var refused = Guard.Refused;
        var by = string.Join(", ", outcome.By);
        var audit = AuditBody.Of(("store", mark.StoreId), ("epoch", mark.Epoch), ("from", mark.Revision.ToString(System.Globalization.CultureInfo.InvariantCulture)),
            ("seen", $"{Guard.Mark.StoreId} {Guard.Mark.Epoch} {Guard.Mark.Revision}"), ("refused", refused), ("by", by), ("reason", statement.Reason));
        if (refused.Length == 0)
        {
            await store.SpendAsync(outcome, now(), audit);
            return;
        }
        await store.AcceptStoreAsync(outcome, mark, now(), audit);
        Guard.Accept(mark);
        LogAccepted(log, mark.StoreId, mark.Revision, by);
    }

    /// <summary>Judged at the time that it states: the one that holds here is what is wrong, and may have ended the approver set itself.</summary>
    private async Task SetTimeAsync(SignedStatement statement)
    {
        if (Time is null || SignedTime.Read(statement) is not { } signed || !signed.Nodes.Contains(nodeUid)) return;
        SignedStatement[] found;
        lock (_lock) found = [.. _pending];
        if (StatementRule.Holds(statement.Says, found, approvers(), signed.At) is not { } outcome) return;
        var by = string.Join(", ", outcome.By);
        var before = Time.Floor;
        await store.SetTimeAsync(outcome, signed.At, AuditBody.Of(("time", signed.At.ToString("u")), ("before", before.ToString("u")), ("by", by), ("reason", statement.Reason)));
        Time.Set(signed.At);
        LogTime(log, before, signed.At, by);
    }

    private async Task StrikeAsync(SignedStatement statement, StrikeOff struck)
    {
        if (_struck.ContainsKey(struck.NodeUid)) return;
        SignedStatement[] found;
        lock (_lock) found = [.. _pending];
        if (StatementRule.Holds(statement.Says, found, approvers(), now()) is not { } outcome)
        {
            LogWaits(log, struck.NodeName, statement.Verify(approvers() ?? new() { Version = 0, NotAfterUnixMs = 0, Threshold = 1, Keys = [] }, now()).Problem?.Message ?? "more approvers must say the same");
            return;
        }
        var by = string.Join(", ", outcome.By);
        await store.StrikeOffAsync(outcome, struck, now(), AuditBody.Of(("node", struck.NodeUid), ("name", struck.NodeName), ("by", by), ("reason", statement.Reason), ("members", string.Join('\n', struck.Members))));
        Know(struck, by, statement.Reason);
        LogStruck(log, struck.NodeName, struck.NodeUid, by);
        Struck?.Invoke(struck);
    }

    [LoggerMessage(EventId = 1451, Level = LogLevel.Warning, Message = "{Name} ({Uid}) was struck off by {By}: its members are counted as gone")]
    private static partial void LogStruck(ILogger log, string name, string uid, string by);

    [LoggerMessage(EventId = 1454, Level = LogLevel.Warning, Message = "{By} signed that the store {Store} is followed from revision {From} on")]
    private static partial void LogAccepted(ILogger log, string store, long from, string by);

    [LoggerMessage(EventId = 1455, Level = LogLevel.Warning, Message = "the floor of trusted time is set from {Before} to {Time}: signed by {By}")]
    private static partial void LogTime(ILogger log, DateTimeOffset before, DateTimeOffset time, string by);

    [LoggerMessage(EventId = 1452, Level = LogLevel.Warning, Message = "an operator's statement about {Name} does not hold here: {Why}")]
    private static partial void LogWaits(ILogger log, string name, string why);

    [LoggerMessage(EventId = 1453, Level = LogLevel.Warning, Message = "ignored: a statement without the form it must have: {Why}")]
    private static partial void LogRefused(ILogger log, string why);
}
