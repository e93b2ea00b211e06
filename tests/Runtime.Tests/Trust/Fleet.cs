using System.Net;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using AgentMetal.Runtime.Trust;

namespace AgentMetal.Runtime.Tests.Trust;

/// <summary>A root, a coordinator below it, and what they issue: made once per use, in memory.</summary>
internal sealed class Fleet : IDisposable
{
    internal static readonly DateTimeOffset Now = new(2026, 11, 23, 12, 0, 0, TimeSpan.Zero);

    internal static readonly CoordinatorNames Names = new() { Name = "control", DnsNames = ["control.example"], Addresses = [IPAddress.Parse("10.7.0.1")] };

    internal Fleet()
    {
        Root = RootAuthority.Create("lab", Now, Random);
        Pinned = PinnedRoot.FromTrustedBytes(Root.CertificateDer).Value;
        IntermediateKey = P256.Generate();
        IntermediateDer = Root.IssueCoordinator(Names, IntermediateKey.ExportSubjectPublicKeyInfo(), Now, RootAuthority.IntermediateLife, Random).Value;
        Intermediate = Certificate(IntermediateDer);
        Authority = CoordinatorAuthority.Load(IntermediateKey.ExportPkcs8PrivateKeyPem(), IntermediateDer).Value;
    }

    internal RootAuthority Root { get; }
    internal PinnedRoot Pinned { get; }
    internal ECDsa IntermediateKey { get; }
    internal byte[] IntermediateDer { get; }
    internal X509Certificate2 Intermediate { get; }
    internal CoordinatorAuthority Authority { get; }

    internal static void Random(Span<byte> buffer) => RandomNumberGenerator.Fill(buffer);

    internal static X509Certificate2 Certificate(byte[] der) => X509CertificateLoader.LoadCertificate(der);

    internal X509Certificate2 Node(ECDsa key, string name = "edge-1", TimeSpan? life = null, DateTimeOffset? now = null)
    {
        var request = SigningRequest.Parse(SigningRequest.Create(key, name)).Value;
        return Certificate(Authority.IssueNode(request, NodeUid.From(request.Spki), name, now ?? Now, life ?? TimeSpan.FromDays(1), Random).Value);
    }

    internal X509Certificate2 Operator(ECDsa key, string name = "alice") =>
        Certificate(Root.IssueOperator(name, key.ExportSubjectPublicKeyInfo(), Now, RootAuthority.OperatorLife, Random).Value);

    internal X509Certificate2 Server(ECDsa key, CoordinatorNames? names = null) =>
        Certificate(Authority.IssueServer(names ?? Names, key.ExportSubjectPublicKeyInfo(), Now, TimeSpan.FromDays(7), Random).Value);

    internal Verdict<PeerIdentity> Verify(X509Certificate2 leaf, PeerRole role, DateTimeOffset? now = null, TimeSpan? grace = null, params X509Certificate2[] intermediates) =>
        ChainVerifier.Verify(new ChainRequest
        {
            Leaf = leaf,
            Intermediates = intermediates.Length == 0 ? [Intermediate] : intermediates,
            Root = Pinned,
            Now = now ?? Now,
            Role = role,
            ExpiredGrace = grace ?? TimeSpan.Zero,
        });

    public void Dispose()
    {
        Root.Dispose();
        Pinned.Dispose();
        IntermediateKey.Dispose();
        Intermediate.Dispose();
        Authority.Dispose();
    }
}
