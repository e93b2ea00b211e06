using System.Buffers.Text;
using System.Security.Cryptography;

namespace AgentMetal.Runtime.Trust;

/// <summary>
/// What a new host is given to join: <c>am1.{id}.{secret}.{sha256 of the root}</c>. The secret proves the host to the coordinator, the hash proves the
/// coordinator to the host. Single-use and short-lived; the coordinator keeps only <see cref="SecretHash"/>.
/// </summary>
public sealed class JoinToken
{
    public const string Prefix = "am1";

    private const int IdBytes = 8;
    private const int SecretBytes = 32;

    private readonly byte[] _secret;

    private JoinToken(string id, byte[] secret, string rootSha256)
    {
        Id = id;
        _secret = secret;
        RootSha256 = rootSha256;
    }

    /// <summary>16 lower-case hex characters; no secret.</summary>
    public string Id { get; }

    /// <summary>Lower-case hex, see <see cref="PinnedRoot.Sha256"/>.</summary>
    public string RootSha256 { get; }

    /// <summary>The secret as it goes on the wire (base64url, 43 characters). Never to a log.</summary>
    public string Secret => Base64Url.EncodeToString(_secret);

    /// <summary>What the coordinator stores: hex SHA-256 over domain, id and secret.</summary>
    public string SecretHash => HashSecret(Id, Secret);

    public static JoinToken Create(string rootSha256, RandomFill random)
    {
        ArgumentNullException.ThrowIfNull(random);
        if (rootSha256 is not { Length: 64 } || !TrustNames.IsLowerHex(rootSha256))
            throw new ArgumentException("not a SHA-256 in lower-case hex", nameof(rootSha256));
        Span<byte> id = stackalloc byte[IdBytes];
        var secret = new byte[SecretBytes];
        random(id);
        random(secret);
        return new JoinToken(Convert.ToHexStringLower(id), secret, rootSha256);
    }

    /// <summary>Reads a token as a person pastes it: white space around it is forgiven, nothing else is.</summary>
    public static Verdict<JoinToken> Parse(string? text)
    {
        var parts = (text ?? "").Trim().Split('.');
        if (parts[0] != Prefix)
            return Bad($"it does not begin with \"{Prefix}.\"; copy the whole line that `agentmetal join-token` printed");
        if (parts.Length != 4)
            return Bad($"it has {parts.Length} parts instead of 4 (am1.id.secret.root); it may have been cut when it was copied");
        if (parts[1].Length != IdBytes * 2 || !TrustNames.IsLowerHex(parts[1]))
            return Bad($"its 2nd part (id) is not {IdBytes * 2} lower-case hex characters");
        if (DecodeSecret(parts[2]) is not { } secret)
            return Bad($"its 3rd part (secret) is not {SecretBytes} bytes of base64url");
        if (parts[3].Length != 64 || !TrustNames.IsLowerHex(parts[3]))
            return Bad("its 4th part (hash of the root certificate) is not 64 lower-case hex characters");
        return new JoinToken(parts[1], secret, parts[3]);

        static Verdict<JoinToken> Bad(string why) => Verdict<JoinToken>.Refuse(TrustProblemCode.Malformed, "join token: " + why);
    }

    public static string HashSecret(string id, string secret) =>
        Convert.ToHexStringLower(SHA256.HashData(new SignedBytes("agentmetal/join-token/v1").Add(id).Add(secret).ToArray()));

    /// <summary>Whether the secret belongs to the stored hash, in time that does not depend on how much of it is right.</summary>
    public static bool Matches(string storedHash, string id, string secret)
    {
        ArgumentNullException.ThrowIfNull(storedHash);
        return CryptographicOperations.FixedTimeEquals(System.Text.Encoding.ASCII.GetBytes(storedHash), System.Text.Encoding.ASCII.GetBytes(HashSecret(id, secret)));
    }

    /// <summary>The whole token, secret included: for the person who asked for it.</summary>
    public string Reveal() => $"{Prefix}.{Id}.{Secret}.{RootSha256}";

    /// <summary>Without the secret, so that a token in a log line tells nothing.</summary>
    public override string ToString() => $"{Prefix}.{Id}.<secret>.{RootSha256}";

    private static byte[]? DecodeSecret(string text)
    {
        var secret = new byte[SecretBytes];
        if (text.Length != 43 || !Base64Url.IsValid(text, out var length) || length != SecretBytes)
            return null;
        return Base64Url.TryDecodeFromChars(text, secret, out _) && Base64Url.EncodeToString(secret) == text ? secret : null;
    }
}
