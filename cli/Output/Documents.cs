using System.Text.Json;
using System.Text.Json.Serialization;

namespace AgentMetal.Cli.Output;

/// <summary>The documents that programs read: camelCase, times in RFC 3339, absent where there is nothing. Fields are added, never renamed.</summary>
internal sealed record ListDocument<T>(IReadOnlyList<T> Items);

internal sealed record MetadataDocument(string Project, string Name, string Uid, long Generation, IReadOnlyDictionary<string, string> Labels,
    IReadOnlyDictionary<string, string> Annotations, bool Protect, string? CreatedAt, string? DeletedAt);

internal sealed record ConditionDocument(string Type, string Status, string Reason, string Message, string? Since, string? RetryAt, string? NextCommand);

internal sealed record MemberDocument(int Ordinal, string NodeUid, string NodeName, string Address, string Phase, string Summary, long ObservedGeneration,
    string? ReportedAt, IReadOnlyList<ConditionDocument> Conditions, IReadOnlyList<DriftDocument> Drift, IReadOnlyDictionary<string, string>? Details);

internal sealed record DriftDocument(string Key, string Text);

internal sealed record StatusDocument(bool Ready, long ObservedGeneration, IReadOnlyList<ConditionDocument> Conditions, IReadOnlyList<MemberDocument> Members,
    IReadOnlyDictionary<string, string> Outputs, IReadOnlyList<SignatureDocument>? Signatures);

internal sealed record SignatureDocument(string Purpose, string Sha256, string? IssuedAt, string KeyId);

internal sealed record ResourceDocument(string ApiVersion, string Kind, MetadataDocument Metadata, JsonElement Spec, StatusDocument Status);

internal sealed record ChangeDocument(string Type, ResourceDocument Resource);

internal sealed record ApplyDocument(string Action, ResourceDocument Resource);

internal sealed record NodeDocument(string Uid, string Name, string Version, string Liveness, IReadOnlyDictionary<string, string> Labels,
    IReadOnlyDictionary<string, string> Facts, IReadOnlyList<string> Addresses, string? LastSeenAt, string? JoinedAt, string? CertificateExpiresAt,
    int Members, int Converged, IReadOnlyList<string> Assignments, long AuditSeq, long MemoryReserved, long MemoryAllocatable, int CpuMillisReserved, int CpuMillisAllocatable,
    string? StoreRefused = null, IReadOnlyList<OrphanDocument>? Orphans = null);

internal sealed record OrphanDocument(string Resource, string Uid, int Ordinal, string Node, long Generation, string? Since, string Summary);

internal sealed record EventDocument(long Seq, string? At, string Node, string Resource, string Type, string Reason, string Message);

internal sealed record AuditDocument(string Chain, long Seq, string? At, string Kind, string Resource, JsonElement Body, string Previous, string Hash);

internal sealed record AuditVerdictDocument(string Chain, long Records, bool Intact, string? Problem, string? Known = null);

/// <summary>What came of a signed statement about the fleet.</summary>
internal sealed record StatementDocument(string Purpose, bool Holds, IReadOnlyList<string> By, string Message);

internal sealed record FactDocument(string Key, string Value);

internal sealed record UndoDocument(string Kind, string? Tool, string? Args, string? Why);

internal sealed record StepDocument(string Hash, string Node, string NodeUid, string ResourceUid, long Generation, string Nonce, int Wave, string Tool, int ToolVersion, string Args,
    string Text, string Risk, IReadOnlyList<string> RiskReasons, bool LosesData, UndoDocument Undo, string UndoText, string Why, string Difference,
    IReadOnlyList<FactDocument> Basis, IReadOnlyList<FactDocument> Expect);

internal sealed record BlockedDocument(string Difference, IReadOnlyList<string> Reasons, long RetryAfterMs, bool Exhausted);

internal sealed record MemberPlanDocument(string Hash, string Node, string NodeUid, int Ordinal, string Outcome, string? Error, int Questions,
    IReadOnlyList<DriftDocument> Differences, IReadOnlyList<StepDocument> Steps, IReadOnlyList<BlockedDocument> Blocked, IReadOnlyList<string>? Notes);

internal sealed record FieldChangeDocument(string Path, string Before, string After);

internal sealed record ResourcePlanDocument(string Resource, string Action, long FromGeneration, long Generation, IReadOnlyList<FieldChangeDocument> Changes,
    IReadOnlyList<MemberPlanDocument> Members, IReadOnlyList<StepDocument> FleetSteps);

internal sealed record PlanDocument(string Hash, string? ExpiresAt, IReadOnlyList<ResourcePlanDocument> Resources);

internal sealed record HeldDocument(string Id, string Assignment, string Resource, string? CreatedAt, string? ExpiresAt, bool Verified, string? Problem, string Standing, MemberPlanDocument Plan);

internal sealed record DecisionDocument(string NodeUid, bool Delivered, bool Refused, string Message);

internal sealed record TokenDocument(string Token, string? ExpiresAt);

internal sealed record VersionDocument(string Client, string? Server, string? Store, string? StoreId, long? Revision, int? Nodes);

[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase, DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull, WriteIndented = true)]
[JsonSerializable(typeof(ListDocument<ResourceDocument>))]
[JsonSerializable(typeof(ListDocument<NodeDocument>))]
[JsonSerializable(typeof(ListDocument<OrphanDocument>))]
[JsonSerializable(typeof(ListDocument<EventDocument>))]
[JsonSerializable(typeof(ListDocument<AuditDocument>))]
[JsonSerializable(typeof(ListDocument<AuditVerdictDocument>))]
[JsonSerializable(typeof(StatementDocument))]
[JsonSerializable(typeof(ListDocument<HeldDocument>))]
[JsonSerializable(typeof(ListDocument<ApplyDocument>))]
[JsonSerializable(typeof(ListDocument<DecisionDocument>))]
[JsonSerializable(typeof(ResourceDocument))]
[JsonSerializable(typeof(ChangeDocument))]
[JsonSerializable(typeof(NodeDocument))]
[JsonSerializable(typeof(EventDocument))]
[JsonSerializable(typeof(PlanDocument))]
[JsonSerializable(typeof(TokenDocument))]
[JsonSerializable(typeof(VersionDocument))]
[JsonSerializable(typeof(Dictionary<string, string>))]
internal sealed partial class DocumentJson : JsonSerializerContext;
