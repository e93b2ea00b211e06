using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using AgentMetal.Runtime.Trust;
using Xunit;

namespace AgentMetal.Runtime.Tests.Trust;

public sealed class SigningRequestTests
{
    [Fact]
    public void Parse_OwnRequest_GivesItsKey()
    {
        using var key = P256.Generate();
        Assert.Equal(key.ExportSubjectPublicKeyInfo(), SigningRequest.Parse(SigningRequest.Create(key, "edge-1")).Value.Spki);
    }

    [Fact]
    public void Parse_KeyOfSomebodyElse_IsBadSignature()
    {
        using var mine = P256.Generate();
        using var theirs = P256.Generate();
        var forged = SigningRequest.Create(mine, "edge-1");
        var spki = mine.ExportSubjectPublicKeyInfo();
        theirs.ExportSubjectPublicKeyInfo().CopyTo(forged.AsSpan(forged.AsSpan().IndexOf(spki)));
        Assert.Equal(TrustProblemCode.BadSignature, SigningRequest.Parse(forged).Problem?.Code);
    }

    [Fact]
    public void Parse_AnyBitFlipped_NeverGivesTheRequestBack()
    {
        using var key = P256.Generate();
        var der = SigningRequest.Create(key, "edge-1");
        for (var bit = 0; bit < der.Length * 8; bit++)
        {
            var changed = (byte[])der.Clone();
            changed[bit / 8] ^= (byte)(1 << (bit % 8));
            Assert.False(SigningRequest.Parse(changed).IsTrusted, $"bit {bit}");
        }
    }

    [Fact]
    public void Parse_OtherCurve_IsUnsupportedKey()
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP384);
        Assert.Equal(TrustProblemCode.UnsupportedKey, SigningRequest.Parse(SigningRequest.Create(key, "edge-1")).Problem?.Code);
    }

    [Fact]
    public void Parse_Rsa_IsUnsupportedKey()
    {
        using var key = RSA.Create(2048);
        var der = new CertificateRequest("CN=edge-1", key, HashAlgorithmName.SHA256, RSASignaturePadding.Pkcs1).CreateSigningRequest();
        Assert.Equal(TrustProblemCode.UnsupportedKey, SigningRequest.Parse(der).Problem?.Code);
    }

    [Fact]
    public void IssueNode_RequestThatAsksForMore_GivesOnlyANode()
    {
        using var fleet = new Fleet();
        using var key = P256.Generate();
        var wish = new CertificateRequest("CN=alice", key, HashAlgorithmName.SHA256);
        wish.CertificateExtensions.Add(new X509BasicConstraintsExtension(true, false, 0, true));
        var names = new SubjectAlternativeNameBuilder();
        names.AddUri(new Uri("agentmetal://operator/alice"));
        wish.CertificateExtensions.Add(names.Build());
        var request = SigningRequest.Parse(wish.CreateSigningRequest()).Value;
        using var node = Fleet.Certificate(fleet.Authority.IssueNode(request, NodeUid.From(request.Spki), "edge-1", Fleet.Now, TimeSpan.FromDays(1), Fleet.Random).Value);
        Assert.Equal("edge-1", Assert.IsType<PeerIdentity.Node>(fleet.Verify(node, PeerRole.Node).Value).Name);
        Assert.False(node.Extensions.OfType<X509BasicConstraintsExtension>().Single().CertificateAuthority);
    }

    [Theory]
    [InlineData("Edge", 1.0)]
    [InlineData("edge 1", 1.0)]
    [InlineData("", 1.0)]
    [InlineData("edge-1", 0.9)]
    [InlineData("edge-1", 7.1)]
    public void IssueNode_BadNameOrLife_IsRefused(string name, double days)
    {
        using var fleet = new Fleet();
        using var key = P256.Generate();
        var request = SigningRequest.Parse(SigningRequest.Create(key, "edge-1")).Value;
        Assert.Equal(TrustProblemCode.Malformed, fleet.Authority.IssueNode(request, NodeUid.From(request.Spki), name, Fleet.Now, TimeSpan.FromDays(days), Fleet.Random).Problem?.Code);
    }

    [Fact]
    public void NodeUid_OfAKey_IsTheFirstHalfOfItsKeyId()
    {
        using var key = P256.Generate();
        var spki = key.ExportSubjectPublicKeyInfo();
        Assert.Equal(P256.KeyId(spki)[..32], NodeUid.From(spki));
        Assert.True(NodeUid.IsValid(NodeUid.From(spki)));
    }
}
