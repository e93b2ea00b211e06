using System.Text.Json;
using AgentMetal.Cli.Rendering;
using AgentMetal.Proto.V1;

namespace AgentMetal.Cli.Output;

/// <summary>Wire messages as documents.</summary>
internal static class DocumentsOf
{
    private static readonly JsonElement s_empty = Parse("{}"u8);

    internal static ResourceDocument Resource(Resource r)
    {
        var meta = r.Metadata ?? new Metadata();
        var status = r.Status ?? new Status();
        return new ResourceDocument(r.ApiVersion, r.Kind,
            new MetadataDocument(meta.Project, meta.Name, meta.Uid, meta.Generation, meta.Labels, meta.Annotations, meta.Protect, When.Stamp(meta.CreatedUnixMs), When.Stamp(meta.DeletedUnixMs)),
            r.Spec.IsEmpty ? s_empty : Parse(r.Spec.Span),
            new StatusDocument(Resources.IsReady(r), status.ObservedGeneration, [.. status.Conditions.Select(Condition)], [.. status.Members.Select(Member)], status.Outputs,
                r.Digests.Count == 0 ? null : [.. r.Digests.Select(d => new SignatureDocument(d.Purpose, d.Sha256, When.Stamp(d.IssuedUnixMs), d.KeyId))]));
    }

    internal static NodeDocument Node(Node n) => new(n.Uid, n.Name, n.Version, n.Liveness, n.Labels, n.Facts, n.Addresses, When.Stamp(n.LastSeenUnixMs), When.Stamp(n.JoinedUnixMs),
        When.Stamp(n.CertificateExpiresUnixMs), n.Members, n.Converged, n.Assignments, n.AuditSeq, n.MemoryReserved, n.MemoryAllocatable, n.CpuMillisReserved, n.CpuMillisAllocatable,
        Some(n.StoreRefused), [.. n.Known.Where(m => m.Stand == "orphan").Select(m => new OrphanDocument(m.ResourceKey, m.ResourceUid, m.Ordinal, n.Name, m.Generation, When.Stamp(m.SinceUnixMs), m.Summary))]);

    internal static EventDocument Event(Event e) => new(e.Seq, When.Stamp(e.AtUnixMs), e.NodeName, e.ResourceKey, e.Type, e.Reason, e.Message);

    internal static AuditDocument Audit(AuditRecord a) => new(a.Chain, a.Seq, When.Stamp(a.AtUnixMs), a.Kind, a.ResourceKey, Body(a.Body), a.Previous, a.Hash);

    internal static PlanDocument Plan(PlanReply p) => new(p.Hash, When.Stamp(p.ExpiresUnixMs), [.. p.Resources.Select(r => new ResourcePlanDocument(
        Resources.Key(r.Resource), r.Action, r.FromGeneration, r.Resource?.Metadata?.Generation ?? 0,
        [.. r.Changes.Select(c => new FieldChangeDocument(c.Path, c.Before, c.After))], [.. r.Members.Select(MemberPlan)], [.. r.FleetSteps.Select(Step)]))]);

    internal static MemberPlanDocument MemberPlan(PlanSummary p) => new(p.Hash, p.NodeName, p.NodeUid, p.Ordinal, p.Outcome, p.Error.Length == 0 ? null : p.Error, p.Questions,
        [.. p.Differences.Select(d => new DriftDocument(d.Key, d.Text))], [.. p.Steps.Select(Step)],
        [.. p.Blocked.Select(b => new BlockedDocument(b.Difference, b.Reasons, b.RetryAfterMs, b.Exhausted))], p.Notes.Count == 0 ? null : p.Notes);

    internal static StepDocument Step(Step s)
    {
        var undo = s.Undo ?? new Undo();
        return new StepDocument(s.Hash, s.NodeName, s.NodeUid, s.ResourceUid, s.Generation, s.Nonce, s.Wave, s.Tool, s.ToolVersion, s.Args, s.Text, s.Risk, s.RiskReasons, s.LosesData,
            new UndoDocument(undo.Kind, Some(undo.Tool), Some(undo.Args), Some(undo.Why)), s.UndoText, s.Why, s.Difference,
            [.. s.Basis.Select(f => new FactDocument(f.Key, f.Value))], [.. s.Expect.Select(f => new FactDocument(f.Key, f.Value))]);
    }

    private static ConditionDocument Condition(Condition c) =>
        new(c.Type, c.Status, c.Reason, c.Message, When.Stamp(c.SinceUnixMs), When.Stamp(c.RetryUnixMs), Some(c.NextCommand));

    private static MemberDocument Member(MemberStatus m) => new(m.Ordinal, m.NodeUid, m.NodeName, m.Address, m.Phase, m.Summary, m.ObservedGeneration, When.Stamp(m.ReportedUnixMs),
        [.. m.Conditions.Select(Condition)], [.. m.Drift.Select(d => new DriftDocument(d.Key, d.Text))],
        m.Details.Count == 0 ? null : new SortedDictionary<string, string>(m.Details, StringComparer.Ordinal));

    private static string? Some(string text) => text.Length == 0 ? null : text;

    private static JsonElement Body(string json)
    {
        try
        {
            return Parse(System.Text.Encoding.UTF8.GetBytes(json));
        }
        catch (JsonException)
        {
            // Shown as it came: a body that is no JSON is a finding, not a reason to show nothing.
            return Parse(System.Text.Encoding.UTF8.GetBytes($"\"{JsonEncodedText.Encode(json)}\""));
        }
    }

    private static JsonElement Parse(ReadOnlySpan<byte> json)
    {
        var reader = new Utf8JsonReader(json);
        return JsonElement.ParseValue(ref reader);
    }
}
