using System.Buffers.Binary;
using System.Security.Cryptography;

namespace AgentMetal.Runtime.Trust;

/// <summary>A key pair that lives for one console session: Diffie-Hellman on P-256 (NIST SP 800-56A), so that no key that lasts can open a recorded session.</summary>
public sealed class ConsoleSessionKey : IDisposable
{
    private readonly ECDiffieHellman _key = ECDiffieHellman.Create(ECCurve.NamedCurves.nistP256);

    /// <summary>SubjectPublicKeyInfo, DER.</summary>
    public byte[] Spki => _key.ExportSubjectPublicKeyInfo();

    /// <summary>What is wrong with the other side's public key; null = nothing.</summary>
    public static string? ProblemOf(ReadOnlySpan<byte> spki)
    {
        var key = P256.ImportPublic(spki);
        if (key.Problem is { } problem)
            return problem.Message;
        key.Value.Dispose();
        return null;
    }

    /// <summary>The operator's end of the session.</summary>
    public ConsoleSeal ForOperator(ConsoleOpening opening, ConsoleAnswer answer)
    {
        ArgumentNullException.ThrowIfNull(answer);
        return Derive(answer.SessionKey, opening, answer, send: "to-host", receive: "to-operator");
    }

    /// <summary>The host's end of the session.</summary>
    public ConsoleSeal ForHost(ConsoleOpening opening, ConsoleAnswer answer)
    {
        ArgumentNullException.ThrowIfNull(opening);
        return Derive(opening.SessionKey, opening, answer, send: "to-operator", receive: "to-host");
    }

    public void Dispose() => _key.Dispose();

    // HKDF-SHA256 (RFC 5869) with the hash of everything that was said so far as salt: who was told something else has other keys.
    private ConsoleSeal Derive(byte[] otherSpki, ConsoleOpening opening, ConsoleAnswer answer, string send, string receive)
    {
        using var other = ECDiffieHellman.Create();
        other.ImportSubjectPublicKeyInfo(otherSpki, out _);
        using var otherPublic = other.PublicKey;
        var secret = _key.DeriveRawSecretAgreement(otherPublic);
        var salt = SHA256.HashData(new SignedBytes("agentmetal/console-keys/v1").Add(answer.BytesToSign(opening)).Add(answer.Signature).ToArray());
        var (sending, receiving) = (KeyFor(send), KeyFor(receive));
        try
        {
            return new ConsoleSeal(sending, receiving);
        }
        finally
        {
            CryptographicOperations.ZeroMemory(secret);
            CryptographicOperations.ZeroMemory(sending);
            CryptographicOperations.ZeroMemory(receiving);
        }

        byte[] KeyFor(string direction) => HKDF.DeriveKey(HashAlgorithmName.SHA256, secret, ConsoleSeal.KeyLength, salt, System.Text.Encoding.ASCII.GetBytes("agentmetal/console/v1 " + direction));
    }
}

/// <summary>
/// One end of a session: AES-256-GCM with a key for each direction and a counter as nonce that is never sent. A frame that was changed, left out, sent
/// again or in another order does not open, and after one that did not nothing does. Not for two threads in one direction.
/// </summary>
public sealed class ConsoleSeal : IDisposable
{
    /// <summary>Bytes that a seal adds.</summary>
    public const int Overhead = 16;

    internal const int KeyLength = 32;

    private const int NonceLength = 12;

    /// <summary>Frames of one direction: NIST SP 800-38D, section 8.3.</summary>
    private const ulong MaxFrames = 1UL << 32;

    private readonly AesGcm _sending;
    private readonly AesGcm _receiving;
    private ulong _sent;
    private ulong _received;
    private bool _broken;

    internal ConsoleSeal(ReadOnlySpan<byte> sendingKey, ReadOnlySpan<byte> receivingKey)
    {
        _sending = new AesGcm(sendingKey, Overhead);
        _receiving = new AesGcm(receivingKey, Overhead);
    }

    /// <summary>The next frame of this side.</summary>
    public byte[] Seal(ReadOnlySpan<byte> frame)
    {
        if (_sent == MaxFrames)
            throw new InvalidOperationException("the session has had all the frames that its keys allow");
        Span<byte> nonce = stackalloc byte[NonceLength];
        BinaryPrimitives.WriteUInt64BigEndian(nonce[4..], _sent++);
        var sealedFrame = new byte[frame.Length + Overhead];
        _sending.Encrypt(nonce, frame, sealedFrame.AsSpan(0, frame.Length), sealedFrame.AsSpan(frame.Length));
        return sealedFrame;
    }

    /// <summary>The next frame of the other side.</summary>
    public Verdict<byte[]> Open(ReadOnlySpan<byte> sealedFrame)
    {
        if (_broken || _received == MaxFrames || sealedFrame.Length < Overhead)
            return Broken();
        Span<byte> nonce = stackalloc byte[NonceLength];
        BinaryPrimitives.WriteUInt64BigEndian(nonce[4..], _received++);
        var frame = new byte[sealedFrame.Length - Overhead];
        try
        {
            _receiving.Decrypt(nonce, sealedFrame[..frame.Length], sealedFrame[frame.Length..], frame);
            return frame;
        }
        catch (AuthenticationTagMismatchException)
        {
            return Broken();
        }
    }

    public void Dispose()
    {
        _sending.Dispose();
        _receiving.Dispose();
    }

    private Verdict<byte[]> Broken()
    {
        _broken = true;
        return Verdict<byte[]>.Refuse(TrustProblemCode.Tampered, "a frame of the console was changed, left out or sent again on its way");
    }
}
