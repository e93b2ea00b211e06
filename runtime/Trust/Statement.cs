using System.Collections.Immutable;
using System.Globalization;
using System.Security.Cryptography;

namespace AgentMetal.Runtime.Trust;

/// <summary>What a <see cref="SignedStatement"/> says.</summary>
public static class StatementPurpose
{
    /// <summary>Fields: node uid, node name, then "resource-uid/ordinal" of each member that was there, ordered: that host is gone for good, and what it held with it.</summary>
    public const string StrikeOff = "strike-off";

    /// <summary>Fields: store id, epoch, revision at which the epoch began, then node uids, ordered: these hosts follow this store from there on, whatever they saw before.</summary>
    public const string AcceptStore = "accept-store";

    /// <summary>Fields: time (Unix ms), then node uids, ordered: no time above this one has been proved to these hosts.</summary>
    public const string SetTime = "set-time";

    /// <summary>Fields: node uid, first and last record: the coordinator lost these records of that host's audit, and people know it. Hosts have no part in it.</summary>
    public const string AcceptGap = "accept-gap";
}

/// <summary>
/// An operator's word about the fleet itself, where the coordinator's does not suffice: that a host is gone, that a store which is older than what hosts
/// have seen is the one to follow. Coordinators carry it, each host judges it against the approver set that the root signed.
/// </summary>
public sealed record SignedStatement
{
    /// <summary>Fields of one statement; more are refused.</summary>
    public const int MaxFields = 4_096;

    private const string Domain = "agentmetal/statement/v1";
    private const int MaxField = 256;
    private const long LargestNumber = 9_007_199_254_740_991;

    /// <summary>See <see cref="StatementPurpose"/>.</summary>
    public required string Purpose { get; init; }

    /// <summary>What is said, in the order that the purpose asks for.</summary>
    public required ImmutableArray<string> Fields { get; init; }

    /// <summary>32 lower-case hexadecimal digits, made for this signature: a host lets each serve once.</summary>
    public required string Nonce { get; init; }

    /// <summary>When it was signed, Unix milliseconds by the signer's clock; for people.</summary>
    public required long IssuedUnixMs { get; init; }

    /// <summary>When it stops counting, Unix milliseconds; 0 = never.</summary>
    public required long ExpiresUnixMs { get; init; }

    /// <summary>For people and the audit.</summary>
    public required string Reason { get; init; }

    /// <summary>See <see cref="P256.KeyId(ReadOnlySpan{byte})"/>.</summary>
    public required string KeyId { get; init; }

    /// <summary>64 bytes, see <see cref="P256"/>.</summary>
    public required byte[] Signature { get; init; }

    /// <summary>Statements that say the same count together towards the threshold.</summary>
    public string Says => Purpose + "\n" + string.Join('\n', Fields);

    /// <summary>Signs; the key's id is filled in.</summary>
    /// <exception cref="ArgumentException">It has not the form it must have.</exception>
    public static SignedStatement Sign(ECDsa key, SignedStatement unsigned)
    {
        ArgumentNullException.ThrowIfNull(unsigned);
        var ready = unsigned with { KeyId = P256.KeyId(key), Signature = new byte[P256.SignatureLength] };
        if (ready.FormError() is { } error)
            throw new ArgumentException("statement: " + error, nameof(unsigned));
        return ready with { Signature = P256.Sign(key, ready.BytesToSign()) };
    }

    /// <summary>Checks this one signature: form, key, signature, end. Says nothing about the threshold.</summary>
    /// <param name="set">The approver set in force.</param>
    /// <param name="now">Trusted time.</param>
    public Verdict<ApproverKey> Verify(ApproverSet set, DateTimeOffset now)
    {
        ArgumentNullException.ThrowIfNull(set);
        if (FormError() is { } error)
            return Verdict<ApproverKey>.Refuse(TrustProblemCode.Malformed, "statement: " + error);
        if (ExpiresUnixMs > 0 && now.ToUnixTimeMilliseconds() >= ExpiresUnixMs)
            return Verdict<ApproverKey>.Refuse(TrustProblemCode.Expired, $"the signature ended {DateTimeOffset.FromUnixTimeMilliseconds(ExpiresUnixMs):yyyy-MM-dd HH:mm:ss}Z; sign again");
        var holder = set.Holder(KeyId, now);
        return holder.Problem is { } stranger ? stranger : holder.Value.Signed(BytesToSign(), Signature, Purpose);
    }

    /// <summary>What is wrong with its form, naming the field; null = nothing. A good form says nothing about the signature.</summary>
    public string? FormError()
    {
        if (Fields.IsDefault || Fields.Length > MaxFields)
            return $"fields: more than {MaxFields}";
        foreach (var field in Fields)
            if (field.Length is 0 or > MaxField || field.Any(char.IsControl))
                return "fields: one is empty, too long, or not text";
        if (Purpose is not (StatementPurpose.StrikeOff or StatementPurpose.AcceptStore or StatementPurpose.SetTime or StatementPurpose.AcceptGap))
            return "purpose: not known to this build";
        if (Nonce.Length != 32 || !TrustNames.IsLowerHex(Nonce))
            return "nonce: not 32 lower-case hex characters";
        if (IssuedUnixMs is < 0 or > LargestNumber || ExpiresUnixMs is < 0 or > LargestNumber)
            return "issued, expires: not between 0 and 2^53 - 1 milliseconds";
        if (Reason.Length > MaxField)
            return $"reason: longer than {MaxField} characters";
        if (KeyId.Length != 64 || !TrustNames.IsLowerHex(KeyId))
            return "keyId: not 64 lower-case hex characters";
        return Signature.Length == P256.SignatureLength ? null : $"signature: {Signature.Length} bytes, not {P256.SignatureLength}";
    }

    private byte[] BytesToSign() => new SignedBytes(Domain).Add(Purpose).Add(Fields).Add(Nonce).Add(IssuedUnixMs).Add(ExpiresUnixMs).Add(Reason).Add(KeyId).ToArray();
}

/// <summary>Enough distinct approvers said the same.</summary>
/// <param name="By">Their names, in ordinal order.</param>
/// <param name="Counted">What counted: each nonce has served with it.</param>
public sealed record StatementOutcome(ImmutableArray<string> By, ImmutableArray<SignedStatement> Counted);

/// <summary>Decides whether a statement holds: as many distinct approvers of the set as its threshold asks for said the same.</summary>
public static class StatementRule
{
    /// <summary>Null = it does not hold. Pure.</summary>
    /// <param name="says"><see cref="SignedStatement.Says"/> of what is asked.</param>
    /// <param name="found">From anybody.</param>
    /// <param name="set">The approver set in force; null = none is known, and nothing holds.</param>
    /// <param name="now">Trusted time.</param>
    public static StatementOutcome? Holds(string says, IEnumerable<SignedStatement> found, ApproverSet? set, DateTimeOffset now)
    {
        ArgumentNullException.ThrowIfNull(found);
        if (set is null)
            return null;
        var counted = new SortedDictionary<string, (string Name, SignedStatement Statement)>(StringComparer.Ordinal);
        foreach (var statement in found)
            if (statement.FormError() is null && statement.Says == says && statement.Verify(set, now) is { IsTrusted: true } verdict)
                counted[verdict.Value.KeyId] = (verdict.Value.Name, statement);
        return counted.Count < set.Threshold ? null
            : new([.. counted.Values.Select(c => c.Name).Order(StringComparer.Ordinal)], [.. counted.Values.Select(c => c.Statement)]);
    }
}

/// <summary>That hosts follow this store from there on, whatever they have seen before, as operators said it.</summary>
/// <param name="StoreId">The store's id.</param>
/// <param name="Epoch">A run of a coordinator on it, in whose history it is accepted.</param>
/// <param name="From">The revision at which that run began.</param>
/// <param name="Nodes">Uids of the hosts that it is said to.</param>
public sealed record StoreAcceptance(string StoreId, string Epoch, long From, ImmutableArray<string> Nodes)
{
    /// <summary>What is signed.</summary>
    public ImmutableArray<string> Fields => [StoreId, Epoch, From.ToString(CultureInfo.InvariantCulture), .. Nodes.Order(StringComparer.Ordinal)];

    /// <summary>Null = the statement says something else.</summary>
    public static StoreAcceptance? Read(SignedStatement statement)
    {
        ArgumentNullException.ThrowIfNull(statement);
        return statement.Purpose == StatementPurpose.AcceptStore && statement.Fields.Length >= 4 && long.TryParse(statement.Fields[2], NumberStyles.None, CultureInfo.InvariantCulture, out var from)
            ? new(statement.Fields[0], statement.Fields[1], from, [.. statement.Fields.Skip(3)]) : null;
    }
}

/// <summary>That it is no later than this, as operators said it: the way back from a floor of trusted time that rests on a wrong proof.</summary>
/// <param name="At">The time.</param>
/// <param name="Nodes">Uids of the hosts that it is said to.</param>
public sealed record SignedTime(DateTimeOffset At, ImmutableArray<string> Nodes)
{
    /// <summary>What is signed.</summary>
    public ImmutableArray<string> Fields => [At.ToUnixTimeMilliseconds().ToString(CultureInfo.InvariantCulture), .. Nodes.Order(StringComparer.Ordinal)];

    /// <summary>Null = the statement says something else.</summary>
    public static SignedTime? Read(SignedStatement statement)
    {
        ArgumentNullException.ThrowIfNull(statement);
        return statement.Purpose == StatementPurpose.SetTime && statement.Fields.Length >= 2 && long.TryParse(statement.Fields[0], NumberStyles.None, CultureInfo.InvariantCulture, out var ms) && ms < 253_402_300_799_999
            ? new(DateTimeOffset.FromUnixTimeMilliseconds(ms), [.. statement.Fields.Skip(1)]) : null;
    }
}

/// <summary>That records of a host's audit are missing at the coordinator for good, as operators said it: the gap stays one, and is no alarm any more.</summary>
/// <param name="NodeUid">The host.</param>
/// <param name="From">The first record that is missing.</param>
/// <param name="To">The last one.</param>
public sealed record AcceptedGap(string NodeUid, long From, long To)
{
    /// <summary>What is signed.</summary>
    public ImmutableArray<string> Fields => [NodeUid, From.ToString(CultureInfo.InvariantCulture), To.ToString(CultureInfo.InvariantCulture)];

    /// <summary>Null = the statement says something else.</summary>
    public static AcceptedGap? Read(SignedStatement statement)
    {
        ArgumentNullException.ThrowIfNull(statement);
        return statement is { Purpose: StatementPurpose.AcceptGap, Fields.Length: 3 } && Trust.NodeUid.IsValid(statement.Fields[0])
            && long.TryParse(statement.Fields[1], NumberStyles.None, CultureInfo.InvariantCulture, out var from)
            && long.TryParse(statement.Fields[2], NumberStyles.None, CultureInfo.InvariantCulture, out var to) ? new(statement.Fields[0], from, to) : null;
    }
}

/// <summary>That a host is gone for good, as operators said it.</summary>
/// <param name="NodeUid">The host's uid, which no other host will ever have.</param>
/// <param name="NodeName">For people.</param>
/// <param name="Members">"resource-uid/ordinal" of what was there.</param>
public sealed record StrikeOff(string NodeUid, string NodeName, ImmutableArray<string> Members)
{
    /// <summary>
    /// Name of the gRPC trailer beside the refusal of a host that was struck off: a protobuf message agentmetal.v1.CoordinatorMessage with the approver set and the
    /// statements by which it was. The host judges them as any.
    /// </summary>
    public const string Trailer = "agentmetal-strike-off-bin";

    /// <summary>What is signed.</summary>
    public ImmutableArray<string> Fields => [NodeUid, NodeName, .. Members.Order(StringComparer.Ordinal)];

    /// <summary>Null = the statement says something else.</summary>
    public static StrikeOff? Read(SignedStatement statement)
    {
        ArgumentNullException.ThrowIfNull(statement);
        if (statement.Purpose != StatementPurpose.StrikeOff || statement.Fields.Length < 2 || !Trust.NodeUid.IsValid(statement.Fields[0])) return null;
        return new(statement.Fields[0], statement.Fields[1], [.. statement.Fields.Skip(2)]);
    }

    /// <summary>As it is in <see cref="Members"/>.</summary>
    public static string MemberOf(string resourceUid, int ordinal) => string.Create(CultureInfo.InvariantCulture, $"{resourceUid}/{ordinal}");
}
