using System.Net.Security;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using AgentMetal.Runtime.Trust;

namespace AgentMetal.Coordinator.Identity;

/// <summary>
/// The coordinator's own TLS certificate: made in memory at each start, with a new key each time, and never written to disk. The certificate before
/// stays in use by the connections that began with it.
/// </summary>
internal sealed class ServerIdentity
{
    private static readonly TimeSpan s_life = TimeSpan.FromDays(7);

    private readonly IdentityBundle _bundle;
    private readonly RandomFill _random;
    private volatile Issued _current;

    private ServerIdentity(IdentityBundle bundle, RandomFill random, Issued first)
    {
        _bundle = bundle;
        _random = random;
        _current = first;
    }

    /// <summary>For Kestrel's and SslStream's server options: the leaf, its key and the intermediate.</summary>
    public SslStreamCertificateContext Context => _current.Context;

    public X509Certificate2 Certificate => _current.Context.TargetCertificate;

    /// <summary>Issues the first certificate and verifies it as a node would: a name that the intermediate may not carry shows here, not on the hosts.</summary>
    public static Verdict<ServerIdentity> Create(IdentityBundle bundle, DateTimeOffset now, RandomFill random)
    {
        var first = Issue(bundle, now, random);
        return first.Problem is { } problem ? problem : new ServerIdentity(bundle, random, first.Value);
    }

    /// <summary>Renews when it is due; call it every few minutes. True when there is a new certificate.</summary>
    public Verdict<string> RenewIfDue(DateTimeOffset now)
    {
        if (now < _current.DueAt)
            return "not due";
        var next = Issue(_bundle, now, _random);
        if (next.Problem is { } problem)
            return problem;
        _current = next.Value;
        return "renewed";
    }

    private static Verdict<Issued> Issue(IdentityBundle bundle, DateTimeOffset now, RandomFill random)
    {
        using var key = P256.Generate();
        var der = bundle.Authority.IssueServer(bundle.Names, key.ExportSubjectPublicKeyInfo(), now, s_life, random);
        if (der.Problem is { } problem)
            return problem;
        using var leaf = X509CertificateLoader.LoadCertificate(der.Value);
        var intermediate = X509CertificateLoader.LoadCertificate(bundle.Authority.CertificateDer);
        var check = ChainVerifier.Verify(new ChainRequest { Leaf = leaf, Intermediates = [intermediate], Root = bundle.Root, Now = now, Role = PeerRole.Coordinator });
        if (check.Problem is { } refused)
        {
            intermediate.Dispose();
            return refused with { Message = $"this coordinator's own certificate would be refused: {refused.Message}; run `agentmetal init` with the names and addresses in its file \"{InitBundle.NamesFile}\"" };
        }
        var context = SslStreamCertificateContext.Create(leaf.CopyWithPrivateKey(key), [intermediate], offline: true, PeerValidation.Trust(bundle.Root));
        var ends = new DateTimeOffset(leaf.NotAfter.ToUniversalTime());
        return new Issued(context, RenewalRule.DueAt(new DateTimeOffset(leaf.NotBefore.ToUniversalTime()), ends, 0));
    }

    private sealed record Issued(SslStreamCertificateContext Context, DateTimeOffset DueAt);
}
