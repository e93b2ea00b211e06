using System.Buffers;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text.Json;

namespace AgentMetal.Runtime.Trust;

/// <summary>One key that may approve.</summary>
public sealed record ApproverKey
{
    /// <summary>Who holds it; unique within a set, so that two approvals are two people's.</summary>
    public required string Name { get; init; }

    /// <summary>SubjectPublicKeyInfo (DER), P-256.</summary>
    public required byte[] Spki { get; init; }

    public string KeyId => P256.KeyId(Spki);

    /// <summary>This key, where the signature is its own.</summary>
    /// <param name="message">What is signed.</param>
    /// <param name="signature">See <see cref="P256"/>.</param>
    /// <param name="what">What it is, for people: "this approval".</param>
    internal Verdict<ApproverKey> Signed(ReadOnlySpan<byte> message, ReadOnlySpan<byte> signature, string what)
    {
        var key = P256.ImportPublic(Spki);
        if (key.Problem is { } problem)
            return problem;
        using var publicKey = key.Value;
        return P256.Verify(publicKey, message, signature)
            ? this
            : Verdict<ApproverKey>.Refuse(TrustProblemCode.BadSignature, $"the signature is not {Name}'s over {what}");
    }
}

/// <summary>
/// The keys whose signatures a host obeys, signed by the root. A host takes only the bytes of <see cref="RootAuthority.Sign"/>, refuses a version lower
/// than the highest it ever took, and refuses every approval once the set has ended.
/// Wire form: canonical JSON <c>{"set":{"keys":[{"keyId","name","spki"}],"notAfter","threshold","version"},"signature"}</c>; keys ordered by keyId,
/// bytes in base64, time in Unix milliseconds. One set has one encoding; any other spelling is refused.
/// </summary>
public sealed record ApproverSet
{
    public const int MaxKeys = 64;
    public const int MaxBytes = 64 * 1024;

    private const string Domain = "agentmetal/approver-set/v1";
    private const long LargestNumber = 9_007_199_254_740_991;

    /// <summary>From 1; every change of the set is a higher version.</summary>
    public required long Version { get; init; }

    /// <summary>End of validity, Unix milliseconds.</summary>
    public required long NotAfterUnixMs { get; init; }

    /// <summary>How many distinct keys must approve a step.</summary>
    public required int Threshold { get; init; }

    /// <summary>1 to <see cref="MaxKeys"/>.</summary>
    public required IReadOnlyList<ApproverKey> Keys { get; init; }

    /// <summary>The key of this id, or null.</summary>
    public ApproverKey? Find(string keyId)
    {
        foreach (var key in Keys)
            if (key.KeyId == keyId)
                return key;
        return null;
    }

    /// <summary>The key of this id, where it counts at that time.</summary>
    public Verdict<ApproverKey> Holder(string keyId, DateTimeOffset now)
    {
        if (IsOver(now))
            return Verdict<ApproverKey>.Refuse(TrustProblemCode.Expired, $"the approver set of version {Version} has ended; sign a new one with the root key");
        return Find(keyId) is { } approver ? approver
            : Verdict<ApproverKey>.Refuse(TrustProblemCode.UnknownKey, $"key {keyId} is not in the approver set of version {Version}");
    }

    /// <summary>Every error at once, each naming its field; empty when there is none.</summary>
    public IReadOnlyList<string> Errors()
    {
        var errors = new List<string>();
        if (Version is < 1 or > LargestNumber)
            errors.Add("version: not between 1 and 2^53 - 1");
        if (NotAfterUnixMs is < 0 or > LargestNumber)
            errors.Add("notAfter: not between 0 and 2^53 - 1 milliseconds");
        if (Keys.Count is < 1 or > MaxKeys)
            errors.Add($"keys: {Keys.Count}, not between 1 and {MaxKeys}");
        if (Threshold < 1 || Threshold > Keys.Count)
            errors.Add($"threshold: {Threshold} cannot be met by {Keys.Count} keys");
        var seen = new HashSet<string>(StringComparer.Ordinal);
        for (var i = 0; i < Keys.Count; i++)
        {
            if (!TrustNames.IsName(Keys[i].Name))
                errors.Add($"keys[{i}].name: not 1 to 63 of a-z, 0-9, '-' and '.'");
            else if (!seen.Add("name " + Keys[i].Name))
                errors.Add($"keys[{i}].name: {Keys[i].Name} is there twice");
            if (!seen.Add("key " + Keys[i].KeyId))
                errors.Add($"keys[{i}].spki: the key is there twice");
            var key = P256.ImportPublic(Keys[i].Spki);
            if (key.Problem is { } problem)
                errors.Add($"keys[{i}].spki: {problem.Message}");
            else
                key.Value.Dispose();
        }
        return errors;
    }

    /// <summary>Checks form, signature, version and end, in this order.</summary>
    /// <param name="bytes">The wire form, from anybody.</param>
    /// <param name="root">The pinned root certificate.</param>
    /// <param name="now">Trusted time.</param>
    /// <param name="lowestAcceptableVersion">The highest version ever taken here; 0 when there was none.</param>
    public static Verdict<ApproverSet> Verify(ReadOnlySpan<byte> bytes, X509Certificate2 root, DateTimeOffset now, long lowestAcceptableVersion)
    {
        ArgumentNullException.ThrowIfNull(root);
        var parsed = Parse(bytes);
        if (parsed.Problem is { } malformed)
            return malformed;
        var (set, signature) = parsed.Value;
        using var key = root.GetECDsaPublicKey();
        if (key is null || !P256.Verify(key, set.BytesToSign(), signature))
            return Verdict<ApproverSet>.Refuse(TrustProblemCode.BadSignature, "the approver set is not signed by the pinned root");
        if (set.Version < lowestAcceptableVersion)
            return Verdict<ApproverSet>.Refuse(TrustProblemCode.VersionTooLow, $"the approver set has version {set.Version}, but version {lowestAcceptableVersion} was accepted before");
        if (set.IsOver(now))
            return Verdict<ApproverSet>.Refuse(TrustProblemCode.Expired, $"the approver set of version {set.Version} has ended; sign a new one with the root key");
        return set;
    }

    /// <summary>Whether the set has ended. It is asked again at every use: a host may run for longer than a set lives.</summary>
    public bool IsOver(DateTimeOffset now) => now.ToUnixTimeMilliseconds() >= NotAfterUnixMs;

    internal byte[] SignWith(ECDsa rootKey)
    {
        if (Errors() is [var error, ..])
            throw new ArgumentException("approver set: " + error);
        return Encode(P256.Sign(rootKey, BytesToSign()));
    }

    private byte[] BytesToSign() => new SignedBytes(Domain).Add(Encode(null)).ToArray();

    private static Verdict<Tuple<ApproverSet, byte[]>> Parse(ReadOnlySpan<byte> bytes)
    {
        if (bytes.Length > MaxBytes)
            return Malformed($"larger than {MaxBytes} bytes");
        ApproverSet set;
        byte[] signature;
        try
        {
            var reader = new Utf8JsonReader(bytes, new JsonReaderOptions { MaxDepth = 6 });
            using var document = JsonDocument.ParseValue(ref reader);
            (set, signature) = (Read(document.RootElement.GetProperty("set")), document.RootElement.GetProperty("signature").GetBytesFromBase64());
        }
        catch (Exception e) when (e is JsonException or FormatException or InvalidOperationException or KeyNotFoundException)
        {
            return Malformed("not an approver set in JSON");
        }
        if (set.Errors() is [var error, ..])
            return Malformed(error);
        // Unknown fields, other orders, white space, a keyId that is not the key's: all of them end here.
        return set.Encode(signature).AsSpan().SequenceEqual(bytes) ? Tuple.Create(set, signature) : Malformed("not in canonical form");

        static Verdict<Tuple<ApproverSet, byte[]>> Malformed(string why) =>
            Verdict<Tuple<ApproverSet, byte[]>>.Refuse(TrustProblemCode.Malformed, "approver set: " + why);
    }

    private static ApproverSet Read(JsonElement set)
    {
        var keys = new List<ApproverKey>();
        foreach (var key in set.GetProperty("keys").EnumerateArray())
            keys.Add(new ApproverKey { Name = key.GetProperty("name").GetString() ?? "", Spki = key.GetProperty("spki").GetBytesFromBase64() });
        return new ApproverSet
        {
            Version = set.GetProperty("version").GetInt64(),
            NotAfterUnixMs = set.GetProperty("notAfter").GetInt64(),
            Threshold = set.GetProperty("threshold").GetInt32(),
            Keys = keys,
        };
    }

    /// <summary>The wire form, or without a signature only what is signed. The names hold nothing that JSON would have to escape.</summary>
    private byte[] Encode(byte[]? signature)
    {
        var buffer = new ArrayBufferWriter<byte>();
        using (var writer = new Utf8JsonWriter(buffer, new JsonWriterOptions { Encoder = System.Text.Encodings.Web.JavaScriptEncoder.UnsafeRelaxedJsonEscaping }))
        {
            writer.WriteStartObject();
            if (signature is not null)
                writer.WriteStartObject("set");
            writer.WriteStartArray("keys");
            foreach (var key in Keys.OrderBy(k => k.KeyId, StringComparer.Ordinal))
            {
                writer.WriteStartObject();
                writer.WriteString("keyId", key.KeyId);
                writer.WriteString("name", key.Name);
                writer.WriteBase64String("spki", key.Spki);
                writer.WriteEndObject();
            }
            writer.WriteEndArray();
            writer.WriteNumber("notAfter", NotAfterUnixMs);
            writer.WriteNumber("threshold", Threshold);
            writer.WriteNumber("version", Version);
            writer.WriteEndObject();
            if (signature is not null)
            {
                writer.WriteBase64String("signature", signature);
                writer.WriteEndObject();
            }
        }
        return buffer.WrittenSpan.ToArray();
    }
}
