using System.Net;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using AgentMetal.Runtime.Trust;
using Xunit;

namespace AgentMetal.Runtime.Tests.Trust;

public sealed class ChainVerifierTests : IDisposable
{
    private readonly Fleet _fleet = new();
    private readonly ECDsa _key = P256.Generate();

    public void Dispose()
    {
        _fleet.Dispose();
        _key.Dispose();
    }

    [Fact]
    public void Node_IssuedByIntermediate_IsTrustedWithUidNameAndKey()
    {
        var node = Assert.IsType<PeerIdentity.Node>(_fleet.Verify(_fleet.Node(_key), PeerRole.Node).Value);
        Assert.Equal(NodeUid.From(_key.ExportSubjectPublicKeyInfo()), node.Uid);
        Assert.Equal("edge-1", node.Name);
        Assert.Equal(P256.KeyId(_key), node.KeyId);
    }

    [Fact]
    public void Operator_IssuedByRoot_IsTrusted() =>
        Assert.Equal("alice", Assert.IsType<PeerIdentity.Operator>(_fleet.Verify(_fleet.Operator(_key), PeerRole.Operator).Value).Name);

    [Fact]
    public void Coordinator_WithItsNamesAndAddresses_IsTrusted()
    {
        var server = _fleet.Server(_key);
        Assert.IsType<PeerIdentity.Coordinator>(_fleet.Verify(server, PeerRole.Coordinator).Value);
        Assert.True(server.MatchesHostname("control.example"));
        Assert.True(server.MatchesHostname("10.7.0.1"));
        Assert.True(server.MatchesHostname(TrustNames.CoordinatorDomain));
    }

    [Fact]
    public void Node_WithDotsInItsName_IsNotTakenForADnsName() =>
        Assert.True(_fleet.Verify(_fleet.Node(_key, "edge-1.site.example"), PeerRole.Node).IsTrusted);

    [Theory]
    [InlineData(PeerRole.Node, PeerRole.Operator)]
    [InlineData(PeerRole.Node, PeerRole.Coordinator)]
    [InlineData(PeerRole.Operator, PeerRole.Node)]
    [InlineData(PeerRole.Operator, PeerRole.Coordinator)]
    [InlineData(PeerRole.Coordinator, PeerRole.Node)]
    [InlineData(PeerRole.Coordinator, PeerRole.Operator)]
    public void Certificate_OfAnotherRole_IsRefused(PeerRole has, PeerRole needed)
    {
        var certificate = has switch { PeerRole.Node => _fleet.Node(_key), PeerRole.Operator => _fleet.Operator(_key), _ => _fleet.Server(_key) };
        Assert.True(_fleet.Verify(certificate, has).IsTrusted);
        Assert.Equal(TrustProblemCode.WrongRole, _fleet.Verify(certificate, needed).Problem?.Code);
    }

    [Fact]
    public void Operator_MadeByAStolenIntermediate_IsRefusedByItsNameConstraint()
    {
        var forged = Forge(PeerRole.Operator, "mallory", [], []);
        Assert.Equal(TrustProblemCode.NameConstraint, _fleet.Verify(forged, PeerRole.Operator).Problem?.Code);
    }

    [Fact]
    public void Operator_MadeByAnUnconstrainedIntermediate_IsRefusedByTheChainsShape()
    {
        // The second line of defence: even where a root once made an intermediate without constraints, operators come from the root itself.
        using var rootKey = P256.Generate();
        using var root = SelfSigned(rootKey);
        var request = CertificateForge.Request("loose", new PublicKey(_fleet.IntermediateKey));
        CertificateForge.MarkAuthority(request, 0);
        using var loose = Fleet.Certificate(CertificateForge.Issue(request, root, rootKey, Fleet.Now, TimeSpan.FromDays(9), Fleet.Random));
        var leaf = CertificateForge.Leaf("mallory", new PublicKey(_key), PeerRole.Operator, "mallory", [], []);
        using var forged = Fleet.Certificate(CertificateForge.Issue(leaf, loose, _fleet.IntermediateKey, Fleet.Now, TimeSpan.FromDays(1), Fleet.Random));
        using var pinned = PinnedRoot.FromTrustedBytes(root.RawData).Value;
        var verdict = ChainVerifier.Verify(new ChainRequest { Leaf = forged, Intermediates = [loose], Root = pinned, Now = Fleet.Now, Role = PeerRole.Operator });
        Assert.Equal(TrustProblemCode.WrongRole, verdict.Problem?.Code);
    }

    [Fact]
    public void Node_IssuedByTheRootItself_IsRefused()
    {
        using var rootKey = P256.Generate();
        using var root = SelfSigned(rootKey);
        var leaf = CertificateForge.Leaf("edge-1", new PublicKey(_key), PeerRole.Node, NodeUid.From(_key.ExportSubjectPublicKeyInfo()), [], []);
        using var node = Fleet.Certificate(CertificateForge.Issue(leaf, root, rootKey, Fleet.Now, TimeSpan.FromDays(1), Fleet.Random));
        using var pinned = PinnedRoot.FromTrustedBytes(root.RawData).Value;
        var verdict = ChainVerifier.Verify(new ChainRequest { Leaf = node, Root = pinned, Now = Fleet.Now, Role = PeerRole.Node });
        Assert.Equal(TrustProblemCode.WrongRole, verdict.Problem?.Code);
    }

    [Theory]
    [InlineData("other.example", "10.7.0.1")]
    [InlineData("control.example", "10.7.0.2")]
    [InlineData("control.example", "::1")]
    public void Coordinator_NamingWhatItsIntermediateDoesNotPermit_IsRefused(string dns, string address)
    {
        var server = _fleet.Server(_key, Fleet.Names with { DnsNames = [dns], Addresses = [IPAddress.Parse(address)] });
        Assert.Equal(TrustProblemCode.NameConstraint, _fleet.Verify(server, PeerRole.Coordinator).Problem?.Code);
    }

    [Fact]
    public void Coordinator_WithAnyAddressWhenNonePermitted_IsRefused()
    {
        var names = new CoordinatorNames { Name = "control", DnsNames = ["control.example"] };
        var der = _fleet.Root.IssueCoordinator(names, _fleet.IntermediateKey.ExportSubjectPublicKeyInfo(), Fleet.Now, RootAuthority.IntermediateLife, Fleet.Random).Value;
        using var authority = CoordinatorAuthority.Load(_fleet.IntermediateKey.ExportPkcs8PrivateKeyPem(), der).Value;
        X509Certificate2 Issue(CoordinatorNames wanted) => Fleet.Certificate(authority.IssueServer(wanted, _key.ExportSubjectPublicKeyInfo(), Fleet.Now, TimeSpan.FromDays(1), Fleet.Random).Value);
        using var intermediate = Fleet.Certificate(der);
        Assert.True(_fleet.Verify(Issue(names), PeerRole.Coordinator, intermediates: intermediate).IsTrusted);
        Assert.Equal(TrustProblemCode.NameConstraint, _fleet.Verify(Issue(names with { Addresses = [IPAddress.Parse("10.7.0.1")] }), PeerRole.Coordinator, intermediates: intermediate).Problem?.Code);
    }

    [Fact]
    public void Intermediate_MakingAnotherIntermediate_IsRefused()
    {
        using var secondKey = P256.Generate();
        var request = CertificateForge.Request("second", new PublicKey(secondKey));
        CertificateForge.MarkAuthority(request, 0);
        using var second = Fleet.Certificate(CertificateForge.Issue(request, _fleet.Intermediate, _fleet.IntermediateKey, Fleet.Now, TimeSpan.FromDays(9), Fleet.Random));
        var leaf = CertificateForge.Leaf("edge-1", new PublicKey(_key), PeerRole.Node, NodeUid.From(_key.ExportSubjectPublicKeyInfo()), [], []);
        using var node = Fleet.Certificate(CertificateForge.Issue(leaf, second, secondKey, Fleet.Now, TimeSpan.FromDays(1), Fleet.Random));
        Assert.Equal(TrustProblemCode.WrongRole, _fleet.Verify(node, PeerRole.Node, intermediates: [_fleet.Intermediate, second]).Problem?.Code);
    }

    [Fact]
    public void Certificate_OfAnotherFleet_IsRefused()
    {
        using var other = new Fleet();
        Assert.Equal(TrustProblemCode.UntrustedRoot, _fleet.Verify(other.Node(_key), PeerRole.Node, intermediates: other.Intermediate).Problem?.Code);
        Assert.Equal(TrustProblemCode.UntrustedRoot, _fleet.Verify(other.Operator(_key), PeerRole.Operator).Problem?.Code);
    }

    [Fact]
    public void Certificate_WithTwoOfOurNames_NamesNobody()
    {
        var request = CertificateForge.Request("edge-1", new PublicKey(_key));
        var names = new SubjectAlternativeNameBuilder();
        names.AddUri(TrustNames.Uri(PeerRole.Node, NodeUid.From(_key.ExportSubjectPublicKeyInfo())));
        names.AddUri(TrustNames.Uri(PeerRole.Coordinator, "edge-1"));
        request.CertificateExtensions.Add(names.Build());
        using var certificate = Fleet.Certificate(CertificateForge.Issue(request, _fleet.Intermediate, _fleet.IntermediateKey, Fleet.Now, TimeSpan.FromDays(1), Fleet.Random));
        Assert.False(PeerIdentity.Read(certificate).IsTrusted);
    }

    [Fact]
    public void Node_AfterItsEnd_IsTakenOnlyWithinTheGraceThatIsAskedFor()
    {
        var node = _fleet.Node(_key, life: TimeSpan.FromDays(1));
        var grace = TimeSpan.FromDays(90);
        Assert.True(_fleet.Verify(node, PeerRole.Node, Fleet.Now.AddDays(1).AddSeconds(-1)).IsTrusted);
        Assert.Equal(TrustProblemCode.Expired, _fleet.Verify(node, PeerRole.Node, Fleet.Now.AddDays(1).AddSeconds(1)).Problem?.Code);
        Assert.True(_fleet.Verify(node, PeerRole.Node, Fleet.Now.AddDays(91).AddSeconds(-1), grace).IsTrusted);
        Assert.Equal(TrustProblemCode.Expired, _fleet.Verify(node, PeerRole.Node, Fleet.Now.AddDays(91).AddSeconds(2), grace).Problem?.Code);
        Assert.Equal(TrustProblemCode.NotYetValid, _fleet.Verify(node, PeerRole.Node, Fleet.Now.AddHours(-1), grace).Problem?.Code);
    }

    [Fact]
    public void Grace_DoesNotForgiveAForgedCertificate()
    {
        using var other = new Fleet();
        var verdict = _fleet.Verify(other.Node(_key), PeerRole.Node, Fleet.Now.AddDays(3), TimeSpan.FromDays(90), other.Intermediate);
        Assert.Equal(TrustProblemCode.UntrustedRoot, verdict.Problem?.Code);
    }

    [Fact]
    public void Pin_OfAnotherRoot_IsRefused()
    {
        using var other = new Fleet();
        Assert.Equal(TrustProblemCode.UntrustedRoot, PinnedRoot.FromPin(_fleet.Pinned.Sha256, other.Root.CertificateDer).Problem?.Code);
        Assert.True(PinnedRoot.FromPin(_fleet.Pinned.Sha256, _fleet.Root.CertificateDer).IsTrusted);
    }

    private X509Certificate2 Forge(PeerRole role, string subject, string[] dns, IPAddress[] addresses) =>
        Fleet.Certificate(CertificateForge.Issue(CertificateForge.Leaf(subject, new PublicKey(_key), role, subject, dns, addresses),
            _fleet.Intermediate, _fleet.IntermediateKey, Fleet.Now, TimeSpan.FromDays(1), Fleet.Random));

    private static X509Certificate2 SelfSigned(ECDsa key)
    {
        var request = CertificateForge.Request("loose root", new PublicKey(key));
        CertificateForge.MarkAuthority(request, 1);
        return request.Create(request.SubjectName, X509SignatureGenerator.CreateForECDsa(key), Fleet.Now.AddDays(-1), Fleet.Now.AddDays(99), [1, 2, 3]);
    }
}
