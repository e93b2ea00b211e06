using System.Security.Cryptography;

namespace AgentMetal.Runtime.Trust;

/// <summary>
/// Envelope encryption for values at rest. Each value has its own data key (AES-256-GCM), and the key-encryption key wraps only data keys, so it can be
/// changed without reading a value. The value's name is bound in: a ciphertext moved to another name does not open.
/// Form: version (1) | key id (8) | nonce (12) | wrapped data key (32) | tag (16) | nonce (12) | tag (16) | ciphertext.
/// </summary>
public static class SecretBox
{
    public const int KeyLength = 32;

    /// <summary>Bytes that sealing adds.</summary>
    public const int Overhead = HeaderLength + NonceLength + TagLength;

    /// <summary>Longest plaintext: a sealed value still fits a store value of 64 KiB.</summary>
    public const int MaxPlaintext = 64 * 1024 - Overhead;

    private const byte Version = 1;
    private const int KeyIdLength = 8;
    private const int NonceLength = 12;
    private const int TagLength = 16;
    private const int HeaderLength = 1 + KeyIdLength + NonceLength + KeyLength + TagLength;

    public static byte[] Seal(string name, ReadOnlySpan<byte> plaintext, ReadOnlySpan<byte> keyEncryptionKey, RandomFill random)
    {
        ArgumentNullException.ThrowIfNull(random);
        if (plaintext.Length > MaxPlaintext)
            throw new ArgumentException($"a secret is at most {MaxPlaintext} bytes", nameof(plaintext));
        Span<byte> dataKey = stackalloc byte[KeyLength];
        try
        {
            random(dataKey);
            var box = new byte[Overhead + plaintext.Length];
            WriteHeader(box, name, dataKey, keyEncryptionKey, random);
            var nonce = box.AsSpan(HeaderLength, NonceLength);
            random(nonce);
            using var aes = new AesGcm(dataKey, TagLength);
            aes.Encrypt(nonce, plaintext, box.AsSpan(Overhead), box.AsSpan(HeaderLength + NonceLength, TagLength), Associated("value", name));
            return box;
        }
        finally
        {
            CryptographicOperations.ZeroMemory(dataKey);
        }
    }

    public static Verdict<byte[]> Open(string name, ReadOnlySpan<byte> box, ReadOnlySpan<byte> keyEncryptionKey)
    {
        Span<byte> dataKey = stackalloc byte[KeyLength];
        try
        {
            if (Unwrap(name, box, keyEncryptionKey, dataKey) is { } problem)
                return problem;
            var plaintext = new byte[box.Length - Overhead];
            using var aes = new AesGcm(dataKey, TagLength);
            aes.Decrypt(box.Slice(HeaderLength, NonceLength), box[Overhead..], box.Slice(HeaderLength + NonceLength, TagLength), plaintext, Associated("value", name));
            return plaintext;
        }
        catch (AuthenticationTagMismatchException)
        {
            return Verdict<byte[]>.Refuse(TrustProblemCode.Tampered, $"the secret {name} was changed since it was sealed");
        }
        finally
        {
            CryptographicOperations.ZeroMemory(dataKey);
        }
    }

    /// <summary>The same value under another key-encryption key; the value itself is not decrypted.</summary>
    public static Verdict<byte[]> Rewrap(string name, ReadOnlySpan<byte> box, ReadOnlySpan<byte> oldKey, ReadOnlySpan<byte> newKey, RandomFill random)
    {
        ArgumentNullException.ThrowIfNull(random);
        Span<byte> dataKey = stackalloc byte[KeyLength];
        try
        {
            if (Unwrap(name, box, oldKey, dataKey) is { } problem)
                return problem;
            var fresh = box.ToArray();
            WriteHeader(fresh, name, dataKey, newKey, random);
            return fresh;
        }
        finally
        {
            CryptographicOperations.ZeroMemory(dataKey);
        }
    }

    private static void WriteHeader(Span<byte> box, string name, ReadOnlySpan<byte> dataKey, ReadOnlySpan<byte> keyEncryptionKey, RandomFill random)
    {
        box[0] = Version;
        WriteKeyId(keyEncryptionKey, box.Slice(1, KeyIdLength));
        var nonce = box.Slice(1 + KeyIdLength, NonceLength);
        random(nonce);
        using var aes = new AesGcm(keyEncryptionKey, TagLength);
        var wrapped = box.Slice(1 + KeyIdLength + NonceLength, KeyLength);
        aes.Encrypt(nonce, dataKey, wrapped, box.Slice(HeaderLength - TagLength, TagLength), Associated("key", name));
    }

    private static TrustProblem? Unwrap(string name, ReadOnlySpan<byte> box, ReadOnlySpan<byte> keyEncryptionKey, Span<byte> dataKey)
    {
        if (keyEncryptionKey.Length != KeyLength)
            throw new ArgumentException($"a key-encryption key has {KeyLength} bytes", nameof(keyEncryptionKey));
        if (box.Length < Overhead)
            return new TrustProblem(TrustProblemCode.Malformed, $"the secret {name} is cut short");
        if (box[0] != Version)
            return new TrustProblem(TrustProblemCode.Malformed, $"the secret {name} has format {box[0]}; this build reads format {Version}");
        Span<byte> keyId = stackalloc byte[KeyIdLength];
        WriteKeyId(keyEncryptionKey, keyId);
        if (!box.Slice(1, KeyIdLength).SequenceEqual(keyId))
            return new TrustProblem(TrustProblemCode.WrongKey, $"the secret {name} was sealed with another key-encryption key");
        try
        {
            using var aes = new AesGcm(keyEncryptionKey, TagLength);
            aes.Decrypt(box.Slice(1 + KeyIdLength, NonceLength), box.Slice(1 + KeyIdLength + NonceLength, KeyLength),
                box.Slice(HeaderLength - TagLength, TagLength), dataKey, Associated("key", name));
            return null;
        }
        catch (AuthenticationTagMismatchException)
        {
            return new TrustProblem(TrustProblemCode.Tampered, $"the secret {name} was changed since it was sealed");
        }
    }

    private static byte[] Associated(string part, string name) => new SignedBytes("agentmetal/secret/v1").Add(part).Add(name).ToArray();

    // Names the key without telling anything about it: a hash with its own domain.
    private static void WriteKeyId(ReadOnlySpan<byte> keyEncryptionKey, Span<byte> keyId) =>
        SHA256.HashData(new SignedBytes("agentmetal/kek-id/v1").Add(keyEncryptionKey).ToArray()).AsSpan(0, KeyIdLength).CopyTo(keyId);
}
