using System.Numerics;
using System.Security.Cryptography;
using AgentMetal.Runtime.Trust;
using Xunit;

namespace AgentMetal.Runtime.Tests.Trust;

public sealed class P256Tests
{
    private static readonly byte[] s_message = "what is signed"u8.ToArray();

    [Fact]
    public void Sign_ManyTimes_IsAlways64BytesWithLowS()
    {
        using var key = P256.Generate();
        for (var i = 0; i < 200; i++)
        {
            var signature = P256.Sign(key, s_message);
            Assert.Equal(64, signature.Length);
            Assert.True(signature[32] < 0x80);
            Assert.True(P256.Verify(key, s_message, signature));
        }
    }

    [Fact]
    public void Verify_SignatureWithTheOtherS_IsRefusedThoughTheCurveAcceptsIt()
    {
        using var key = P256.Generate();
        var signature = P256.Sign(key, s_message);
        var order = new BigInteger(Convert.FromHexString("ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551"), true, true);
        var other = (order - new BigInteger(signature.AsSpan(32), true, true)).ToByteArray(true, true);
        var twin = (byte[])signature.Clone();
        other.CopyTo(twin.AsSpan(64 - other.Length));
        Assert.True(key.VerifyData(s_message, twin, HashAlgorithmName.SHA256));
        Assert.False(P256.Verify(key, s_message, twin));
    }

    [Fact]
    public void Verify_DerEncodedSignature_IsRefused()
    {
        using var key = P256.Generate();
        var der = key.SignData(s_message, HashAlgorithmName.SHA256, DSASignatureFormat.Rfc3279DerSequence);
        Assert.True(key.VerifyData(s_message, der, HashAlgorithmName.SHA256, DSASignatureFormat.Rfc3279DerSequence));
        Assert.False(P256.Verify(key, s_message, der));
    }

    [Fact]
    public void Verify_ZeroSignature_IsRefused()
    {
        using var key = P256.Generate();
        Assert.False(P256.Verify(key, s_message, new byte[64]));
        Assert.False(P256.Verify(key, s_message, []));
    }

    [Fact]
    public void Verify_AnyBitOfTheSignatureFlipped_IsRefused()
    {
        using var key = P256.Generate();
        var signature = P256.Sign(key, s_message);
        for (var bit = 0; bit < signature.Length * 8; bit++)
        {
            signature[bit / 8] ^= (byte)(1 << (bit % 8));
            Assert.False(P256.Verify(key, s_message, signature), $"bit {bit}");
            signature[bit / 8] ^= (byte)(1 << (bit % 8));
        }
        Assert.True(P256.Verify(key, s_message, signature));
    }

    [Fact]
    public void ImportPublic_CompressedPoint_IsRefused()
    {
        using var key = P256.Generate();
        var point = key.ExportParameters(false).Q;
        byte[] compressed = [.. Convert.FromHexString("3039301306072a8648ce3d020106082a8648ce3d030107032200"), (byte)(2 + (point.Y![^1] & 1)), .. point.X!];
        Assert.Equal(TrustProblemCode.UnsupportedKey, P256.ImportPublic(compressed).Problem?.Code);
    }

    [Fact]
    public void ImportPublic_PointOffTheCurve_IsRefused()
    {
        using var key = P256.Generate();
        var spki = key.ExportSubjectPublicKeyInfo();
        spki[^1] ^= 1;
        Assert.Equal(TrustProblemCode.UnsupportedKey, P256.ImportPublic(spki).Problem?.Code);
    }

    [Fact]
    public void SignedBytes_FieldsMovedAcrossABorder_AreOtherBytes()
    {
        Assert.NotEqual(new SignedBytes("d").Add("ab").Add("c").ToArray(), new SignedBytes("d").Add("a").Add("bc").ToArray());
        Assert.NotEqual(new SignedBytes("d").Add(["a", "b"]).Add("c").ToArray(), new SignedBytes("d").Add(["a"]).Add("b").Add("c").ToArray());
        Assert.Equal("0000000164000000026162"u8.ToArray(), System.Text.Encoding.ASCII.GetBytes(Convert.ToHexStringLower(new SignedBytes("d").Add("ab").ToArray())));
    }
}
