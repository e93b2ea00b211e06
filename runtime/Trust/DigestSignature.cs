using System.Security.Cryptography;

namespace AgentMetal.Runtime.Trust;

/// <summary>
/// An operator's signature over the digest of something that a host would execute: an image, a boot command line, what cloud-init is told. It names what
/// the bytes are for and not where they run, and it has no end of its own: what runs must go on running. Who may sign, and how many must, is what the
/// approver set of the host says at the time it looks.
/// </summary>
public sealed record DigestSignature
{
    /// <summary>Longest purpose, in characters.</summary>
    public const int MaxPurpose = 32;

    private const string Domain = "agentmetal/digest/v1";
    private const long LargestNumber = 9_007_199_254_740_991;

    /// <summary>What the bytes are for: image, boot, cloud-init. 1 to <see cref="MaxPurpose"/> of a-z, 0-9 and -, not at the ends.</summary>
    public required string Purpose { get; init; }

    /// <summary>64 lower-case hexadecimal digits.</summary>
    public required string Sha256 { get; init; }

    /// <summary>When it was signed, Unix milliseconds by the signer's clock; for people and the audit.</summary>
    public required long IssuedUnixMs { get; init; }

    /// <summary>See <see cref="P256.KeyId(ReadOnlySpan{byte})"/>.</summary>
    public required string KeyId { get; init; }

    /// <summary>64 bytes, see <see cref="P256"/>.</summary>
    public required byte[] Signature { get; init; }

    /// <summary>Signs; the key's id is filled in.</summary>
    /// <exception cref="ArgumentException">Purpose or digest have not the form they must have.</exception>
    public static DigestSignature Sign(ECDsa key, string purpose, string sha256, DateTimeOffset issued)
    {
        var unsigned = new DigestSignature { Purpose = purpose, Sha256 = sha256, IssuedUnixMs = issued.ToUnixTimeMilliseconds(), KeyId = P256.KeyId(key), Signature = new byte[P256.SignatureLength] };
        if (unsigned.FormError() is { } error)
            throw new ArgumentException("digest signature: " + error);
        return unsigned with { Signature = P256.Sign(key, unsigned.BytesToSign()) };
    }

    /// <summary>Checks this one signature: form, key, signature. Says nothing about the threshold.</summary>
    /// <param name="set">The approver set in force on this host.</param>
    /// <param name="now">Trusted time: a set that has ended allows nothing.</param>
    public Verdict<ApproverKey> Verify(ApproverSet set, DateTimeOffset now)
    {
        ArgumentNullException.ThrowIfNull(set);
        if (FormError() is { } error)
            return Verdict<ApproverKey>.Refuse(TrustProblemCode.Malformed, "digest signature: " + error);
        var holder = set.Holder(KeyId, now);
        return holder.Problem is { } stranger ? stranger : holder.Value.Signed(BytesToSign(), Signature, $"{Purpose} {Sha256}");
    }

    /// <summary>What is wrong with its form, naming the field; null = nothing. A good form says nothing about the signature.</summary>
    public string? FormError()
    {
        if (PurposeError(Purpose) is { } purpose)
            return purpose;
        if (Sha256.Length != 64 || !TrustNames.IsLowerHex(Sha256))
            return "sha256: not 64 lower-case hex characters";
        if (IssuedUnixMs is < 0 or > LargestNumber)
            return "issued: not between 0 and 2^53 - 1 milliseconds";
        if (KeyId.Length != 64 || !TrustNames.IsLowerHex(KeyId))
            return "keyId: not 64 lower-case hex characters";
        return Signature.Length == P256.SignatureLength ? null : $"signature: {Signature.Length} bytes, not {P256.SignatureLength}";
    }

    private static string? PurposeError(string purpose)
    {
        if (purpose.Length is 0 or > MaxPurpose)
            return $"purpose: not between 1 and {MaxPurpose} characters";
        foreach (var c in purpose)
            if (!char.IsAsciiLetterLower(c) && !char.IsAsciiDigit(c) && c != '-')
                return "purpose: not of a-z, 0-9 and -";
        return purpose[0] == '-' || purpose[^1] == '-' ? "purpose: begins or ends with -" : null;
    }

    private byte[] BytesToSign() => new SignedBytes(Domain).Add(Purpose).Add(Sha256).Add(IssuedUnixMs).Add(KeyId).ToArray();
}

/// <summary>Whether a digest may be executed.</summary>
public sealed record DigestOutcome
{
    public required bool IsTrusted { get; init; }

    /// <summary>Names of the approvers who count, in ordinal order; empty unless trusted.</summary>
    public required IReadOnlyList<string> By { get; init; }

    /// <summary>Why not, one line for people that names the digest and what to do; empty when trusted.</summary>
    public required string Problem { get; init; }

    /// <summary>Nothing is trusted without an approver set.</summary>
    public static DigestOutcome NoSet(string purpose, string sha256) =>
        Refused(purpose, sha256, "this host has no approver set that the root signed");

    internal static DigestOutcome Refused(string purpose, string sha256, string why) =>
        new() { IsTrusted = false, By = [], Problem = $"{purpose} {(sha256.Length > 12 ? sha256[..12] + "…" : sha256)} is not signed as this host wants it: {why}" };
}

/// <summary>Decides whether a digest is trusted: enough distinct approvers of the set signed it for this purpose.</summary>
public static class DigestRule
{
    /// <summary>Signatures over one digest that are looked at; more are not.</summary>
    public const int MaxSignatures = 256;

    /// <summary>Judges what is at hand; pure.</summary>
    /// <param name="purpose">What the bytes would be used for here.</param>
    /// <param name="sha256">Of what would be executed, computed or declared: 64 lower-case hexadecimal digits.</param>
    /// <param name="signatures">From anybody; those over other digests or for other purposes do not count.</param>
    /// <param name="set">The approver set in force on this host.</param>
    /// <param name="now">Trusted time.</param>
    public static DigestOutcome IsTrusted(string purpose, string sha256, IReadOnlyList<DigestSignature> signatures, ApproverSet set, DateTimeOffset now)
    {
        ArgumentNullException.ThrowIfNull(signatures);
        ArgumentNullException.ThrowIfNull(set);
        var problems = new List<string>();
        var counted = new SortedDictionary<string, string>(StringComparer.Ordinal);
        var looked = 0;
        foreach (var signature in signatures)
        {
            if (signature.Purpose != purpose || signature.Sha256 != sha256)
                continue;
            if (++looked > MaxSignatures)
                break;
            var verdict = signature.Verify(set, now);
            if (verdict.Problem is { } problem)
                problems.Add(problem.Message);
            else
                counted[verdict.Value.KeyId] = verdict.Value.Name;
        }
        if (counted.Count >= set.Threshold)
            return new() { IsTrusted = true, By = [.. counted.Values.Order(StringComparer.Ordinal)], Problem = "" };
        var tooFew = $"{counted.Count} of {set.Threshold} approvers have signed it; sign it with agentmetal apply, where an approver's key is";
        var ended = $"the approver set of version {set.Version} has ended; sign a new one with the root key";
        return DigestOutcome.Refused(purpose, sha256, string.Join("; ", problems.Append(set.IsOver(now) ? ended : tooFew).Distinct(StringComparer.Ordinal).TakeLast(4)));
    }
}
