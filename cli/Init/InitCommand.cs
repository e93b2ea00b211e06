using System.CommandLine;
using System.Net;
using System.Security.Cryptography;
using System.Text.Json;
using AgentMetal.Cli.CommandLine;
using AgentMetal.Cli.Home;
using AgentMetal.Cli.Rendering;
using AgentMetal.Runtime.Trust;

namespace AgentMetal.Cli.Init;

/// <summary>Makes a fleet: the operator's home here, and a bundle to carry to the coordinator. Nothing existing is ever written over.</summary>
internal static class InitCommand
{
    internal static Command Build(Shell shell)
    {
        var address = new Option<string[]>("--address") { Description = "An address or DNS name under which hosts reach the coordinator; the first is the one this home uses", HelpName = "HOST", Required = true, AllowMultipleArgumentsPerToken = true };
        var port = Shell.CountOption("--port", "The coordinator's port", OperatorHome.DefaultPort, 65535);
        var bundle = new Option<string>("--bundle") { Description = "A new directory for what goes to the coordinator", HelpName = "DIR", Required = true };
        var operatorName = new Option<string>("--operator") { Description = "Your name in approvals and the audit (default: the user's)", HelpName = "NAME", DefaultValueFactory = _ => UserName() };
        var fleet = new Option<string>("--fleet") { Description = "The fleet's name", HelpName = "NAME", DefaultValueFactory = _ => "fleet" };
        var passphrase = new Option<string?>("--passphrase-file") { Description = "Encrypts the root key with the first line of this file", HelpName = "FILE" };
        var command = new Command("init", "Make a fleet: keys and certificates for you and for the coordinator, whose name --coordinator gives") { address, port, bundle, operatorName, fleet, passphrase };
        shell.Handle(command, (session, parsed, _) =>
        {
            var coordinator = session.Coordinator
                ?? throw Bad("--coordinator is missing", "for example: agentmetal init --coordinator edge-control --address 10.0.0.1 --bundle ./edge-control");
            var addresses = parsed.GetRequiredValue(address);
            var made = InitBundle.Create(new InitRequest
            {
                Fleet = parsed.GetRequiredValue(fleet),
                OperatorName = parsed.GetRequiredValue(operatorName),
                Coordinator = new CoordinatorNames
                {
                    Name = coordinator,
                    Addresses = [.. addresses.Where(a => IsAddress(a)).Select(IPAddress.Parse)],
                    DnsNames = [.. addresses.Where(a => !IsAddress(a))],
                },
                RootPassphrase = parsed.GetValue(passphrase) is { } file ? ReadPassphrase(file) : null,
            }, RandomNumberGenerator.Fill, session.Screen.Clock.GetUtcNow());
            if (made.Problem is { } problem) throw Bad(problem.Message, "correct it; nothing was written");
            var target = OperatorHome.NormalAddress(addresses[0]) is { } host ? $"{host[..host.LastIndexOf(':')]}:{parsed.GetValue(port)}" : throw Bad($"--address: \"{addresses[0]}\" is neither an address nor a DNS name", "give it without scheme and port");
            Write(session, made.Value, Path.GetFullPath(parsed.GetRequiredValue(bundle)), new HomeConfig(parsed.GetRequiredValue(fleet), [new HomeCoordinator(coordinator, target)]));
            Tell(session, made.Value, Path.GetFullPath(parsed.GetRequiredValue(bundle)), target, parsed.GetValue(passphrase) is not null);
            return Task.FromResult(ExitCode.Ok);
        });
        return command;
    }

    private static void Write(Session session, InitBundle made, string bundle, HomeConfig config)
    {
        var home = session.Home.Path;
        foreach (var directory in new[] { home, bundle })
        {
            if (Directory.Exists(directory) && Directory.EnumerateFileSystemEntries(directory).Any())
                throw Bad($"{directory} is not empty; its keys would be lost", "choose another directory, or move that one away yourself");
        }
        if (home == bundle || bundle.StartsWith(home + Path.DirectorySeparatorChar, StringComparison.Ordinal))
            throw Bad("--bundle lies inside the operator's home; the bundle travels, the home stays", "choose a directory outside " + home);
        BundleFile[] extra =
        [
            new(OperatorHome.ConfigFile, JsonSerializer.SerializeToUtf8Bytes(config, HomeJson.Default.HomeConfig), Public),
            made.Coordinator.Single(f => f.Path == InitBundle.IntermediateCertificate) with { Path = $"{OperatorHome.IntermediatesFolder}/{config.Coordinators[0].Name}.crt" },
        ];
        WriteAll(bundle, made.Coordinator);
        WriteAll(home, [.. made.OperatorHome, .. extra]);
    }

    private const UnixFileMode Public = UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.GroupRead | UnixFileMode.OtherRead;
    private const UnixFileMode Private = UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute;

    private static void WriteAll(string directory, IReadOnlyList<BundleFile> files)
    {
        Directory.CreateDirectory(directory, Private);
        foreach (var file in files)
        {
            var path = Path.Combine(directory, file.Path);
            Directory.CreateDirectory(Path.GetDirectoryName(path)!, Private);
            // CreateNew: whatever appeared there since the check is somebody's.
            using var stream = new FileStream(path, new FileStreamOptions { Mode = FileMode.CreateNew, Access = FileAccess.Write, UnixCreateMode = file.Mode });
            stream.Write(file.Bytes);
            stream.Flush(flushToDisk: true);
        }
    }

    private static void Tell(Session session, InitBundle made, string bundle, string address, bool encrypted)
    {
        var screen = session.Screen;
        screen.Line(Piece.Good("A fleet is made. "), "Its root is ", made.RootSha256);
        screen.Line("");
        screen.Line(Piece.Strong("Carry to the coordinator  "), bundle);
        screen.Line("  copy the whole directory to its --identity directory (owner root, mode 0700), then delete it here");
        screen.Line(Piece.Strong("Stays with you            "), session.Home.Path);
        screen.Line("  ", InitBundle.OperatorKey, "  signs your approvals and opens your connections; it never leaves this machine");
        screen.Line("  ", InitBundle.RootKey, "      makes coordinators and operators: move it offline now; no daily command needs it");
        if (!encrypted) screen.Line("  ", Piece.Warn("the root key is not encrypted"), " (--passphrase-file encrypts it)");
        screen.Line("");
        screen.Line("Next:");
        screen.Line($"  agentmetal version                          does {address} answer?");
        screen.Line("  agentmetal join-token create --name edge-1  let the first host in");
    }

    private static string ReadPassphrase(string file)
    {
        using var reader = new StreamReader(file);
        var line = reader.ReadLine();
        return string.IsNullOrEmpty(line) ? throw Bad($"--passphrase-file: the first line of {file} is empty", "write the passphrase there, at least 8 characters") : line;
    }

    // Names of operators are narrower than user names.
    private static string UserName()
    {
        var name = Environment.UserName.ToLowerInvariant();
        return TrustNames.IsName(name) ? name : "operator";
    }

    private static bool IsAddress(string text) => IPAddress.TryParse(text, out IPAddress? _);

    private static CommandFailedException Bad(string message, string next) => new(new Failure(ExitCode.BadInput, message, next));
}
