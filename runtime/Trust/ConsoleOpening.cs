using System.Security.Cryptography;

namespace AgentMetal.Runtime.Trust;

/// <summary>Which console would be opened, and by which session.</summary>
/// <param name="NodeUid">This node.</param>
/// <param name="ResourceUid">The resource whose machine it is.</param>
/// <param name="Nonce">What this host minted for this session, and for no other: 64 lower-case hexadecimal digits.</param>
public sealed record ConsoleScope(string NodeUid, string ResourceUid, string Nonce);

/// <summary>
/// An operator's signature that opens one console in one session. A console may be a root shell, so it is judged as an approval is, by the host itself;
/// because the signature covers the key that the session's keys are agreed with, whoever carries it cannot use it.
/// </summary>
public sealed record ConsoleOpening
{
    /// <summary>An opening is an answer to a host that waits for it: nobody signs for longer.</summary>
    public static readonly TimeSpan LongestLife = TimeSpan.FromSeconds(60);

    private const string Domain = "agentmetal/console/v1";

    public required string NodeUid { get; init; }

    public required string ResourceUid { get; init; }

    /// <summary>SubjectPublicKeyInfo of the key that the operator made for this session, see <see cref="ConsoleSessionKey"/>.</summary>
    public required byte[] SessionKey { get; init; }

    /// <summary>See <see cref="ConsoleScope"/>.</summary>
    public required string Nonce { get; init; }

    public required long ExpiresUnixMs { get; init; }

    /// <summary>Takes the console from whoever has it.</summary>
    public required bool Force { get; init; }

    /// <summary>See <see cref="P256.KeyId(ReadOnlySpan{byte})"/>.</summary>
    public required string KeyId { get; init; }

    /// <summary>64 bytes, see <see cref="P256"/>.</summary>
    public required byte[] Signature { get; init; }

    /// <summary>A nonce from 32 random bytes.</summary>
    public static string NonceOf(ReadOnlySpan<byte> random) => Convert.ToHexStringLower(random);

    /// <summary>Signs; the key's id is filled in.</summary>
    /// <exception cref="ArgumentException">A field has not the form it must have.</exception>
    public static ConsoleOpening Sign(ECDsa key, ConsoleScope scope, byte[] sessionKey, bool force, DateTimeOffset expires)
    {
        ArgumentNullException.ThrowIfNull(scope);
        var unsigned = new ConsoleOpening
        {
            NodeUid = scope.NodeUid,
            ResourceUid = scope.ResourceUid,
            SessionKey = sessionKey,
            Nonce = scope.Nonce,
            ExpiresUnixMs = expires.ToUnixTimeMilliseconds(),
            Force = force,
            KeyId = P256.KeyId(key),
            Signature = new byte[P256.SignatureLength],
        };
        if (unsigned.FormError() is { } error)
            throw new ArgumentException("console opening: " + error);
        return unsigned with { Signature = P256.Sign(key, unsigned.BytesToSign()) };
    }

    /// <summary>Whether this opens the console of the scope: form, scope, time, key, signature. Any one approver of the set may.</summary>
    /// <param name="scope">The session of this host that asks; its nonce must be used for one judgement only.</param>
    /// <param name="set">The approver set in force on this host; null = none, and nobody may.</param>
    /// <param name="now">Trusted time.</param>
    public Verdict<ApproverKey> Verify(ConsoleScope scope, ApproverSet? set, DateTimeOffset now)
    {
        ArgumentNullException.ThrowIfNull(scope);
        if (FormError() is { } error)
            return Verdict<ApproverKey>.Refuse(TrustProblemCode.Malformed, "console opening: " + error);
        if (NodeUid != scope.NodeUid)
            return Verdict<ApproverKey>.Refuse(TrustProblemCode.WrongScope, $"the console opening is for node {NodeUid}");
        if (ResourceUid != scope.ResourceUid)
            return Verdict<ApproverKey>.Refuse(TrustProblemCode.WrongScope, $"the console opening is for resource {ResourceUid}");
        if (Nonce != scope.Nonce)
            return Verdict<ApproverKey>.Refuse(TrustProblemCode.WrongScope, "the console opening was signed for another session; a signature opens one console once");
        var nowMs = now.ToUnixTimeMilliseconds();
        if (ExpiresUnixMs <= nowMs)
            return Verdict<ApproverKey>.Refuse(TrustProblemCode.Expired, "the console opening has expired; open it again, and compare the clocks of host and operator if that helps nothing");
        if (ExpiresUnixMs - nowMs > (long)LongestLife.TotalMilliseconds)
            return Verdict<ApproverKey>.Refuse(TrustProblemCode.NotYetValid, $"the console opening would be valid for more than {LongestLife.TotalSeconds:0} s from now; compare the clocks of host and operator");
        var holder = Holder(KeyId, set, now);
        if (holder.Problem is { } stranger)
            return stranger;
        return holder.Value.Signed(BytesToSign(), Signature, "this console opening");
    }

    /// <summary>Who holds a key that may open consoles now. Asked again while a session lasts: it does not outlive the right to it.</summary>
    public static Verdict<ApproverKey> Holder(string keyId, ApproverSet? set, DateTimeOffset now) =>
        set?.Holder(keyId, now) ?? Verdict<ApproverKey>.Refuse(TrustProblemCode.UnknownKey, "this host has no approver set that the root signed");

    internal byte[] BytesToSign() => new SignedBytes(Domain)
        .Add(NodeUid).Add(ResourceUid).Add(SessionKey).Add(Nonce).Add(ExpiresUnixMs).Add(Force ? 1L : 0L).Add(KeyId).ToArray();

    private string? FormError()
    {
        if (!Trust.NodeUid.IsValid(NodeUid))
            return "nodeUid: not 32 lower-case hex characters";
        if (ResourceUid.Length is 0 or > 128)
            return "resourceUid: not between 1 and 128 characters";
        if (Nonce.Length != 64 || !TrustNames.IsLowerHex(Nonce))
            return "nonce: not 64 lower-case hex characters";
        if (ExpiresUnixMs < 0)
            return "expires: before 1970";
        if (KeyId.Length != 64 || !TrustNames.IsLowerHex(KeyId))
            return "keyId: not 64 lower-case hex characters";
        if (ConsoleSessionKey.ProblemOf(SessionKey) is { } key)
            return "sessionKey: " + key;
        return Signature.Length == P256.SignatureLength ? null : $"signature: {Signature.Length} bytes, not {P256.SignatureLength}";
    }
}
