using System.Diagnostics;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using AgentMetal.Runtime.Trust;
using Xunit;

namespace AgentMetal.Runtime.Tests.Trust;

/// <summary>The same certificates before a verifier that is not ours. Skipped where the openssl program is not installed.</summary>
public sealed class OpenSslTests : IDisposable
{
    private readonly Fleet _fleet = new();
    private readonly ECDsa _key = P256.Generate();
    private readonly string _folder = Directory.CreateTempSubdirectory("agentmetal-trust-").FullName;

    public void Dispose()
    {
        _fleet.Dispose();
        _key.Dispose();
        Directory.Delete(_folder, recursive: true);
    }

    [Fact]
    public void Verify_NodeOperatorAndServer_AreOk()
    {
        Assert.Contains("leaf.pem: OK", Verify(_fleet.Node(_key), "sslclient"), StringComparison.Ordinal);
        Assert.Contains("leaf.pem: OK", Verify(_fleet.Operator(_key), "sslclient"), StringComparison.Ordinal);
        Assert.Contains("leaf.pem: OK", Verify(_fleet.Server(_key), "sslserver"), StringComparison.Ordinal);
    }

    [Fact]
    public void Verify_OperatorFromTheIntermediate_IsAPermittedSubtreeViolation()
    {
        var leaf = CertificateForge.Leaf("mallory", new PublicKey(_key), PeerRole.Operator, "mallory", [], []);
        using var forged = Fleet.Certificate(CertificateForge.Issue(leaf, _fleet.Intermediate, _fleet.IntermediateKey, Fleet.Now, TimeSpan.FromDays(1), Fleet.Random));
        Assert.Contains("permitted subtree violation", Verify(forged, "sslclient"), StringComparison.Ordinal);
    }

    [Fact]
    public void Verify_ServerNameOutsideTheConstraints_IsAPermittedSubtreeViolation() =>
        Assert.Contains("permitted subtree violation", Verify(_fleet.Server(_key, Fleet.Names with { DnsNames = ["other.example"] }), "sslserver"), StringComparison.Ordinal);

    [Fact]
    public void Text_OfTheIntermediate_ShowsCriticalConstraints()
    {
        var text = OpenSsl("x509", "-noout", "-text", "-in", Write("intermediate.pem", _fleet.Intermediate));
        foreach (var line in new[]
        {
            "X509v3 Name Constraints: critical", "CA:TRUE, pathlen:0", "DNS:nodes.agentmetal.internal", "DNS:coordinator.agentmetal.internal",
            "DNS:control.example", "URI:node", "URI:coordinator", "IP:10.7.0.1/255.255.255.255", "Excluded:", "ecdsa-with-SHA256",
        })
            Assert.Contains(line, text, StringComparison.Ordinal);
        Assert.DoesNotContain("URI:operator", text, StringComparison.Ordinal);
    }

    private string Verify(X509Certificate2 leaf, string purpose) => OpenSsl("verify", "-x509_strict", "-purpose", purpose,
        "-attime", Fleet.Now.ToUnixTimeSeconds().ToString(System.Globalization.CultureInfo.InvariantCulture),
        "-CAfile", Write("root.pem", _fleet.Pinned.Certificate), "-untrusted", Write("intermediate.pem", _fleet.Intermediate), Write("leaf.pem", leaf));

    private string Write(string name, X509Certificate2 certificate)
    {
        var path = Path.Combine(_folder, name);
        File.WriteAllText(path, certificate.ExportCertificatePem());
        return path;
    }

    private static string OpenSsl(params string[] arguments)
    {
        Assert.SkipUnless(File.Exists("/usr/bin/openssl"), "openssl is not installed");
        var start = new ProcessStartInfo("/usr/bin/openssl") { RedirectStandardOutput = true, RedirectStandardError = true };
        foreach (var argument in arguments)
            start.ArgumentList.Add(argument);
        using var process = Process.Start(start)!;
        var errors = process.StandardError.ReadToEndAsync();
        var output = process.StandardOutput.ReadToEnd();
        Assert.True(process.WaitForExit(TimeSpan.FromSeconds(30)));
        return output + errors.GetAwaiter().GetResult();
    }
}
