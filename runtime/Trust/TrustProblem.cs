namespace AgentMetal.Runtime.Trust;

/// <summary>Why something is not trusted: a closed set, so that callers can act on it and tests can name it.</summary>
public enum TrustProblemCode
{
    /// <summary>The bytes do not have the form they must have.</summary>
    Malformed,
    /// <summary>The key is not on P-256, or not encoded as an uncompressed point.</summary>
    UnsupportedKey,
    /// <summary>The signature does not match the bytes and the key.</summary>
    BadSignature,
    /// <summary>The signer is not in the set that may sign.</summary>
    UnknownKey,
    /// <summary>It was valid once and is not any more.</summary>
    Expired,
    /// <summary>It is valid from a later time on, or for longer than is allowed.</summary>
    NotYetValid,
    /// <summary>It is meant for another node, resource, step or name.</summary>
    WrongScope,
    /// <summary>The certificate belongs to another kind of peer.</summary>
    WrongRole,
    /// <summary>No chain to the pinned root.</summary>
    UntrustedRoot,
    /// <summary>The issuer was not allowed to name what it named.</summary>
    NameConstraint,
    /// <summary>A newer version was accepted before.</summary>
    VersionTooLow,
    /// <summary>Fewer distinct approvers than the set asks for.</summary>
    ThresholdNotMet,
    /// <summary>An approver said no.</summary>
    Denied,
    /// <summary>An encrypted value was changed, or moved to another name.</summary>
    Tampered,
    /// <summary>The value was encrypted with another key, or the passphrase is wrong.</summary>
    WrongKey,
}

/// <summary>A refusal: a code for programs and a sentence that names the field and the fix for people.</summary>
/// <param name="Code">What kind of refusal.</param>
/// <param name="Message">One line, never containing a secret.</param>
public sealed record TrustProblem(TrustProblemCode Code, string Message)
{
    public override string ToString() => $"{Code}: {Message}";
}

/// <summary>Either a value that passed every check, or the reason why there is none. Never both.</summary>
public sealed class Verdict<T> where T : class
{
    private readonly T? _value;

    private Verdict(T? value, TrustProblem? problem)
    {
        _value = value;
        Problem = problem;
    }

    /// <summary>Null when the value is trusted.</summary>
    public TrustProblem? Problem { get; }

    public bool IsTrusted => Problem is null;

    /// <summary>The value. Reading it without looking at <see cref="IsTrusted"/> first is a bug, and throws.</summary>
    public T Value => _value ?? throw new InvalidOperationException($"not trusted: {Problem}");

    public static implicit operator Verdict<T>(TrustProblem problem) => new(null, problem);

    public static implicit operator Verdict<T>(T value) => new(value, null);

    public static Verdict<T> Refuse(TrustProblemCode code, string message) => new(null, new TrustProblem(code, message));

    public override string ToString() => Problem?.ToString() ?? "trusted";
}
