using System.Security.Cryptography;

namespace AgentMetal.Runtime.Trust;

/// <summary>A node is its first key: the uid is the first 16 bytes of SHA-256 over that key's SubjectPublicKeyInfo, in lower-case hex.</summary>
public static class NodeUid
{
    /// <summary>Length in characters.</summary>
    public const int Length = 32;

    /// <param name="spki">SubjectPublicKeyInfo (DER) of the key with which the node joined; a renewal with another key keeps the uid.</param>
    public static string From(ReadOnlySpan<byte> spki) => Convert.ToHexStringLower(SHA256.HashData(spki).AsSpan(0, Length / 2));

    public static bool IsValid(string? text) => text is { Length: Length } && TrustNames.IsLowerHex(text);
}
