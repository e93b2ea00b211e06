using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text.Json;
using System.Text.Json.Serialization;
using AgentMetal.Cli.CommandLine;
using AgentMetal.Runtime.Trust;

namespace AgentMetal.Cli.Home;

/// <param name="Name">The coordinator's name, as `init` was told.</param>
/// <param name="Address">HOST:PORT.</param>
internal sealed record HomeCoordinator(string Name, string Address);

/// <summary>config.json of the home.</summary>
internal sealed record HomeConfig(string Fleet, IReadOnlyList<HomeCoordinator> Coordinators);

[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase, WriteIndented = true)]
[JsonSerializable(typeof(HomeConfig))]
internal sealed partial class HomeJson : JsonSerializerContext;

/// <summary>The operator's directory: root certificate, own key and certificate, approver set, where the coordinators are.</summary>
internal sealed class OperatorHome(string path)
{
    /// <summary>HOST alone means this port.</summary>
    internal const int DefaultPort = 7443;

    internal const string ConfigFile = "config.json";

    /// <summary>The intermediate of every coordinator that `init` made: a node's certificate can be verified with no coordinator in reach.</summary>
    internal const string IntermediatesFolder = "intermediates";

    private const int LargestFile = 1024 * 1024;

    internal string Path { get; } = path;

    internal static OperatorHome At(string? given)
    {
        var path = given ?? Environment.GetEnvironmentVariable("AGENTMETAL_HOME");
        if (string.IsNullOrEmpty(path))
        {
            // Unless it is told not to, the framework answers with nothing where the directory does not exist, and nothing is the working directory.
            var user = Environment.GetFolderPath(Environment.SpecialFolder.UserProfile, Environment.SpecialFolderOption.DoNotVerify);
            if (!System.IO.Path.IsPathRooted(user)) throw new CommandFailedException(new(ExitCode.BadInput, "there is no home directory to look in: HOME is not set", "say where the operator's home is: --home DIR"));
            path = System.IO.Path.Combine(user, ".agentmetal");
        }
        return new OperatorHome(System.IO.Path.GetFullPath(path));
    }

    internal bool Exists => File.Exists(In(InitBundle.RootCertificate));

    internal string In(string name) => System.IO.Path.Combine(Path, name);

    internal PinnedRoot LoadRoot() => Trusted(PinnedRoot.FromTrustedBytes(ReadDer(InitBundle.RootCertificate)), InitBundle.RootCertificate);

    /// <summary>The key that signs approvals.</summary>
    internal ECDsa LoadKey()
    {
        var key = ECDsa.Create();
        try
        {
            key.ImportFromPem(ReadText(InitBundle.OperatorKey));
            return key;
        }
        catch (Exception e) when (e is CryptographicException or ArgumentException)
        {
            key.Dispose();
            throw Unusable(InitBundle.OperatorKey, "it is not a private key in PEM");
        }
    }

    /// <summary>The certificate with its key, for TLS.</summary>
    internal X509Certificate2 LoadIdentity()
    {
        using var key = LoadKey();
        using var certificate = X509CertificateLoader.LoadCertificate(ReadDer(InitBundle.OperatorCertificate));
        try
        {
            return certificate.CopyWithPrivateKey(key);
        }
        catch (Exception e) when (e is CryptographicException or ArgumentException)
        {
            throw Unusable(InitBundle.OperatorCertificate, $"it does not belong to {InitBundle.OperatorKey}");
        }
    }

    /// <summary>Who may approve, as the root signed it; null when the home has none, or none that holds now.</summary>
    internal ApproverSet? LoadApprovers(PinnedRoot root, DateTimeOffset now)
    {
        var file = In(InitBundle.ApproverSetFile);
        if (!File.Exists(file)) return null;
        var verdict = ApproverSet.Verify(ReadBytes(InitBundle.ApproverSetFile), root.Certificate, now, 0);
        return verdict.IsTrusted ? verdict.Value : null;
    }

    /// <summary>The intermediates this home knows; trust comes from the chain to the root, not from being here.</summary>
    internal IReadOnlyList<X509Certificate2> LoadIntermediates()
    {
        var folder = In(IntermediatesFolder);
        if (!Directory.Exists(folder)) return [];
        return [.. Directory.EnumerateFiles(folder, "*.crt").Order(StringComparer.Ordinal).Take(64)
            .Select(f => X509CertificateLoader.LoadCertificate(ReadDer(System.IO.Path.Combine(IntermediatesFolder, System.IO.Path.GetFileName(f)))))];
    }

    /// <summary>The place of the newest decision that was signed with this home's key, 0 = none: the next comes after it, also where the clock went back.</summary>
    internal long LastDecision()
    {
        try { return long.TryParse(File.ReadAllText(In(LastDecisionFile)).Trim(), System.Globalization.NumberStyles.None, System.Globalization.CultureInfo.InvariantCulture, out var last) ? last : 0; }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException) { return 0; }
    }

    /// <summary>A home that cannot be written (a key on a read-only stick) orders by its clock, and by what hosts tell of its decisions.</summary>
    internal void RememberDecision(long issuedUnixMs)
    {
        if (issuedUnixMs <= LastDecision()) return;
        try
        {
            File.WriteAllText(In(LastDecisionFile + ".new"), issuedUnixMs.ToString(System.Globalization.CultureInfo.InvariantCulture));
            File.Move(In(LastDecisionFile + ".new"), In(LastDecisionFile), overwrite: true);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException) { /* See above. */ }
    }

    private const string LastDecisionFile = "last-decision";

    internal HomeConfig LoadConfig()
    {
        try
        {
            return JsonSerializer.Deserialize(ReadBytes(ConfigFile), HomeJson.Default.HomeConfig) is { Coordinators: not null } config
                ? config
                : throw Unusable(ConfigFile, "it holds no coordinators");
        }
        catch (JsonException e)
        {
            throw Unusable(ConfigFile, e.Message);
        }
    }

    /// <summary>HOST:PORT of the coordinator that is meant.</summary>
    /// <param name="given">--coordinator: HOST, HOST:PORT, or a name of the config; null = the first of the config.</param>
    internal string AddressOf(string? given)
    {
        if (given is null)
        {
            return LoadConfig().Coordinators is [var first, ..]
                ? first.Address
                : throw Unusable(ConfigFile, "it holds no coordinators");
        }
        if (File.Exists(In(ConfigFile)) && LoadConfig().Coordinators.FirstOrDefault(c => c.Name == given) is { } named) return named.Address;
        return NormalAddress(given) ?? throw new CommandFailedException(new(ExitCode.BadInput,
            $"--coordinator: \"{given}\" is neither HOST, HOST:PORT nor a coordinator of {In(ConfigFile)}", "for example: --coordinator 10.0.0.1:7443"));
    }

    /// <summary>HOST:PORT, with brackets around an IPv6 address; null when it is none.</summary>
    internal static string? NormalAddress(string text)
    {
        // "[fd00::1]:99" parses as an address too, and would lose its port.
        if (!text.StartsWith('[') && System.Net.IPAddress.TryParse(text, out var address))
            return address.AddressFamily == System.Net.Sockets.AddressFamily.InterNetworkV6 ? $"[{address}]:{DefaultPort}" : $"{address}:{DefaultPort}";
        return Uri.TryCreate("https://" + text, UriKind.Absolute, out var uri) && uri.Host.Length > 0 && uri.UserInfo.Length == 0 && uri.PathAndQuery == "/" && uri.Fragment.Length == 0
            ? $"{uri.Host}:{(text.EndsWith($":{uri.Port}", StringComparison.Ordinal) ? uri.Port : DefaultPort)}"
            : null;
    }

    internal string ReadText(string name) => System.Text.Encoding.UTF8.GetString(ReadBytes(name));

    private byte[] ReadDer(string name) => Trusted(InitBundle.ReadCertificate(ReadText(name), In(name)), name);

    private byte[] ReadBytes(string name)
    {
        var file = new FileInfo(In(name));
        if (!file.Exists)
        {
            throw new CommandFailedException(Exists
                ? new(ExitCode.BadInput, $"{file.FullName} is missing", "restore it from a copy of this operator's home")
                : new(ExitCode.BadInput, $"{Path} is not an operator's home", "make one with: agentmetal init --coordinator NAME --address HOST --bundle DIR, or point --home at yours"));
        }
        if (file.Length > LargestFile) throw Unusable(name, $"it is larger than {LargestFile} bytes");
        return File.ReadAllBytes(file.FullName);
    }

    private T Trusted<T>(Verdict<T> verdict, string name) where T : class => verdict.IsTrusted ? verdict.Value : throw Unusable(name, verdict.Problem!.Message);

    private CommandFailedException Unusable(string name, string why) =>
        new(new(ExitCode.BadInput, $"{In(name)} cannot be used: {why}", "restore it from a copy of this operator's home"));
}
