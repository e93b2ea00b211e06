using System.Numerics;
using System.Security.Cryptography;

namespace AgentMetal.Runtime.Trust;

/// <summary>
/// The one key type of the fleet: ECDSA on NIST P-256 with SHA-256. Signatures are 64 bytes, r then s (IEEE P1363), with s in the lower half of the
/// group order: of the two values that would verify exactly one is accepted, so nobody can turn a signature into a second one without the key.
/// </summary>
public static class P256
{
    /// <summary>Length of a signature in bytes.</summary>
    public const int SignatureLength = 64;

    // SEQUENCE { SEQUENCE { id-ecPublicKey, prime256v1 }, BIT STRING { 04 ...64 bytes } } (RFC 5480). Comparing the prefix admits one encoding per
    // key: the compressed form of the same point would have another hash, and hashes are what keys are known by.
    private static readonly byte[] s_spkiPrefix = Convert.FromHexString("3059301306072a8648ce3d020106082a8648ce3d03010703420004");

    // The order of the group, SEC 2 section 2.4.2.
    private static readonly BigInteger s_order = new(
        Convert.FromHexString("ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551"), isUnsigned: true, isBigEndian: true);

    private static readonly BigInteger s_halfOrder = s_order >> 1;

    /// <summary>A new key pair from the platform's own generator.</summary>
    public static ECDsa Generate() => ECDsa.Create(ECCurve.NamedCurves.nistP256);

    /// <summary>Hex SHA-256 of the SubjectPublicKeyInfo: the name of a key.</summary>
    public static string KeyId(ReadOnlySpan<byte> spki) => Convert.ToHexStringLower(SHA256.HashData(spki));

    /// <inheritdoc cref="KeyId(ReadOnlySpan{byte})"/>
    public static string KeyId(ECDsa key)
    {
        ArgumentNullException.ThrowIfNull(key);
        return KeyId(key.ExportSubjectPublicKeyInfo());
    }

    /// <summary>A public key from its SubjectPublicKeyInfo; the caller disposes it.</summary>
    public static Verdict<ECDsa> ImportPublic(ReadOnlySpan<byte> spki)
    {
        if (spki.Length != s_spkiPrefix.Length + 64 || !spki.StartsWith(s_spkiPrefix))
            return Verdict<ECDsa>.Refuse(TrustProblemCode.UnsupportedKey, "the public key is not an uncompressed P-256 key; make a new P-256 key");
        var key = ECDsa.Create();
        try
        {
            key.ImportSubjectPublicKeyInfo(spki, out _);
            return key;
        }
        catch (CryptographicException)
        {
            key.Dispose();
            return Verdict<ECDsa>.Refuse(TrustProblemCode.UnsupportedKey, "the public key is not a point on P-256");
        }
    }

    /// <summary>Signs with SHA-256. 64 bytes, low s.</summary>
    public static byte[] Sign(ECDsa key, ReadOnlySpan<byte> message)
    {
        ArgumentNullException.ThrowIfNull(key);
        var signature = key.SignData(message, HashAlgorithmName.SHA256, DSASignatureFormat.IeeeP1363FixedFieldConcatenation);
        if (signature.Length != SignatureLength)
            throw new CryptographicException("the signing key is not on P-256");
        var s = new BigInteger(signature.AsSpan(32), isUnsigned: true, isBigEndian: true);
        if (s > s_halfOrder)
        {
            var low = (s_order - s).ToByteArray(isUnsigned: true, isBigEndian: true);
            signature.AsSpan(32).Clear();
            low.CopyTo(signature.AsSpan(SignatureLength - low.Length));
        }
        return signature;
    }

    /// <summary>True only for a 64-byte signature with low s that the key made over exactly these bytes.</summary>
    public static bool Verify(ECDsa key, ReadOnlySpan<byte> message, ReadOnlySpan<byte> signature)
    {
        ArgumentNullException.ThrowIfNull(key);
        if (signature.Length != SignatureLength)
            return false;
        if (new BigInteger(signature[32..], isUnsigned: true, isBigEndian: true) > s_halfOrder)
            return false;
        return key.VerifyData(message, signature, HashAlgorithmName.SHA256, DSASignatureFormat.IeeeP1363FixedFieldConcatenation);
    }
}
