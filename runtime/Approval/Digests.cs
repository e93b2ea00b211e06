using AgentMetal.Runtime.Trust;

namespace AgentMetal.Runtime.Approval;

/// <summary>Decides whether operators have signed the digest of something that would be executed; the host's own, never the coordinator's.</summary>
public interface IDigestVerifier
{
    /// <summary>Verifies against the approver set that the pinned root signed, at trusted time.</summary>
    /// <param name="purpose">What the bytes would be used for here.</param>
    /// <param name="sha256">64 lower-case hexadecimal digits.</param>
    /// <param name="found">What came with the assignment; hostile.</param>
    DigestOutcome IsTrusted(string purpose, string sha256, IReadOnlyList<DigestSignature> found);
}

/// <summary>The rule of the fleet, with this host's approver set.</summary>
/// <param name="current">The approver set in force, verified against the pinned root; null = none is known, and nothing is trusted.</param>
/// <param name="clock">Trusted time.</param>
public sealed class DigestVerifier(Func<ApproverSet?> current, TimeProvider clock) : IDigestVerifier
{
    /// <summary>Trusts nothing: where no approver set is at hand.</summary>
    public static IDigestVerifier None { get; } = new DigestVerifier(static () => null, TimeProvider.System);

    /// <inheritdoc />
    public DigestOutcome IsTrusted(string purpose, string sha256, IReadOnlyList<DigestSignature> found) =>
        current() is { } set ? DigestRule.IsTrusted(purpose, sha256, found, set, clock.GetUtcNow()) : DigestOutcome.NoSet(purpose, sha256);
}
