using AgentMetal.Runtime.Audit;
using V1 = AgentMetal.Proto.V1;

namespace AgentMetal.Coordinator.AuditLog;

/// <summary>Audit records on the wire and in the engine's words.</summary>
internal static class AuditWire
{
    public static AuditRecord Read(V1.AuditRecord wire) => new(wire.Chain, wire.Seq, DateTimeOffset.FromUnixTimeMilliseconds(Math.Clamp(wire.AtUnixMs, 0, 253_402_300_799_999)), wire.Kind,
        wire.ResourceKey, wire.Body, wire.Previous, wire.Hash);

    public static V1.AuditRecord Write(AuditRecord record) => new()
    {
        Chain = record.Chain,
        Seq = record.Seq,
        AtUnixMs = record.At.ToUnixTimeMilliseconds(),
        Kind = record.Kind,
        ResourceKey = record.ResourceKey,
        Body = record.Body,
        Previous = record.Previous,
        Hash = record.Hash,
    };
}
