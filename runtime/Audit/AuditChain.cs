using AgentMetal.Runtime.Planning;

namespace AgentMetal.Runtime.Audit;

/// <summary>What the engine wants recorded; the store gives it its place in the chain.</summary>
/// <param name="Kind">CamelCase: Planned, Held, StepIntent, StepDone, StepFailed, StepUndone, UndoStopped, ApprovalRefused, QuestionsBeyondLimit.</param>
/// <param name="Body">JSON object; secrets never get here.</param>
public sealed record AuditEntry(string Kind, string Body);

/// <summary>A link of a hash chain.</summary>
/// <param name="Chain">Node uid or "coordinator".</param>
/// <param name="Seq">From 1, no gaps.</param>
/// <param name="At">When, milliseconds precision.</param>
/// <param name="Kind">See <see cref="AuditEntry"/>.</param>
/// <param name="ResourceKey">"Redis default/sessions"; may be empty.</param>
/// <param name="Body">JSON object.</param>
/// <param name="Previous">Hash of the record before; <see cref="AuditChain.Genesis"/> for the first.</param>
/// <param name="Hash">Over everything before it.</param>
public sealed record AuditRecord(string Chain, long Seq, DateTimeOffset At, string Kind, string ResourceKey, string Body, string Previous, string Hash);

/// <summary>The rules of the chain.</summary>
public static class AuditChain
{
    /// <summary>The previous hash of the first record.</summary>
    public const string Genesis = "0000000000000000000000000000000000000000000000000000000000000000";

    private const string Domain = "agentmetal/audit/v1";

    /// <summary>The next record after (seq, hash).</summary>
    public static AuditRecord Next(string chain, long lastSeq, string lastHash, DateTimeOffset at, string kind, string resourceKey, string body)
    {
        var when = DateTimeOffset.FromUnixTimeMilliseconds(at.ToUnixTimeMilliseconds());
        return new(chain, lastSeq + 1, when, kind, resourceKey, body, lastHash, HashOf(chain, lastSeq + 1, when, kind, resourceKey, body, lastHash));
    }

    /// <summary>Null when the records follow one another from (seq, hash); else what is wrong and where.</summary>
    public static string? Verify(IEnumerable<AuditRecord> records, long lastSeq = 0, string lastHash = Genesis)
    {
        foreach (var r in records)
        {
            if (r.Seq != lastSeq + 1) return $"record {r.Seq} follows {lastSeq}: {(r.Seq > lastSeq + 1 ? "records are missing" : "records repeat")}";
            if (r.Previous != lastHash) return $"record {r.Seq} does not continue record {lastSeq}";
            if (r.Hash != HashOf(r.Chain, r.Seq, r.At, r.Kind, r.ResourceKey, r.Body, r.Previous)) return $"record {r.Seq} was changed";
            (lastSeq, lastHash) = (r.Seq, r.Hash);
        }
        return null;
    }

    private static string HashOf(string chain, long seq, DateTimeOffset at, string kind, string resourceKey, string body, string previous) =>
        new FieldHash(Domain).Add(chain).Add(seq).Add(at.ToUnixTimeMilliseconds()).Add(kind).Add(resourceKey).Add(body).Add(previous).Hex();
}
