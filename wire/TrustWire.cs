using AgentMetal.Runtime.Trust;
using Google.Protobuf;
using V1 = AgentMetal.Proto.V1;

namespace AgentMetal.WireMaps;

/// <summary>What people signed, as it travels and as it is judged: one mapper for those who make it, carry it and obey it, so that no field is lost between them.</summary>
public static class TrustWire
{
    /// <summary>Null = its decision is neither approve nor deny.</summary>
    public static SignedApproval? Read(V1.Approval a)
    {
        ArgumentNullException.ThrowIfNull(a);
        return SignedApproval.ParseDecision(a.Decision) is not { } decision ? null : new()
        {
            StepHashes = [.. a.StepHashes],
            ResourceUid = a.ResourceUid,
            NodeUid = a.NodeUid,
            Decision = decision,
            IssuedUnixMs = a.IssuedUnixMs,
            ExpiresUnixMs = a.ExpiresUnixMs,
            Reason = a.Reason,
            KeyId = a.KeyId,
            Signature = a.Signature.ToByteArray(),
        };
    }

    /// <summary>As it travels.</summary>
    public static V1.Approval Write(SignedApproval a)
    {
        ArgumentNullException.ThrowIfNull(a);
        return new()
        {
            StepHashes = { a.StepHashes },
            ResourceUid = a.ResourceUid,
            NodeUid = a.NodeUid,
            Decision = SignedApproval.Word(a.Decision),
            IssuedUnixMs = a.IssuedUnixMs,
            ExpiresUnixMs = a.ExpiresUnixMs,
            Reason = a.Reason,
            KeyId = a.KeyId,
            Signature = ByteString.CopyFrom(a.Signature),
        };
    }

    /// <summary>Not judged: its form may be wrong.</summary>
    public static SignedStatement Read(V1.Statement s)
    {
        ArgumentNullException.ThrowIfNull(s);
        return new()
        {
            Purpose = s.Purpose,
            Fields = [.. s.Fields],
            Nonce = s.Nonce,
            IssuedUnixMs = s.IssuedUnixMs,
            ExpiresUnixMs = s.ExpiresUnixMs,
            Reason = s.Reason,
            KeyId = s.KeyId,
            Signature = s.Signature.ToByteArray(),
        };
    }

    /// <summary>As it travels.</summary>
    public static V1.Statement Write(SignedStatement s)
    {
        ArgumentNullException.ThrowIfNull(s);
        return new()
        {
            Purpose = s.Purpose,
            Fields = { s.Fields },
            Nonce = s.Nonce,
            IssuedUnixMs = s.IssuedUnixMs,
            ExpiresUnixMs = s.ExpiresUnixMs,
            Reason = s.Reason,
            KeyId = s.KeyId,
            Signature = ByteString.CopyFrom(s.Signature),
        };
    }
}
