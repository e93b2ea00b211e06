using System.Reflection;
using System.Runtime.InteropServices;
using AgentMetal.NodeAgent.Agents.Instance;
using AgentMetal.NodeAgent.Agents.Redis.Data;
using AgentMetal.NodeAgent.Edge;
using AgentMetal.NodeAgent.Edge.Enrol;
using AgentMetal.NodeAgent.Edge.Identity;
using AgentMetal.NodeAgent.Host.Files;
using AgentMetal.NodeAgent.Host.Libvirt;
using AgentMetal.Runtime.Local;
using AgentMetal.Runtime.Trust;
using Microsoft.Extensions.Logging;

namespace AgentMetal.NodeAgent;

internal static class Program
{
    private const string DefaultData = "/var/lib/agentmetal";

    private const string Help = """
        agentmetald: keeps this host as it was declared, also when nobody else can be reached.

        Usage:
          agentmetald run  [--data DIR] [--socket PATH] [--bus ADDRESS] [--libvirt URI] [--images DIR]...
          agentmetald join --coordinator HOST:PORT --token-file FILE|- [--name NAME] [--label KEY=VALUE]...
                           [--address IP] [--data DIR]
          agentmetald --version

        join:
          --coordinator  where the fleet's coordinator listens
          --token-file   a file with the single-use token of "agentmetal join-token create"; - reads standard input
                         (never an argument: arguments can be read by every user)
          --name         this host's name in the fleet; default: its host name
          --label        a label for placement; may be given again
          --address      the IP address that peers use; default: the one on the way to the coordinator
          --data         where identity and state are kept; default: /var/lib/agentmetal
        run:
          --socket       the host's own socket for "agentmetal local"; default: /run/agentmetal/agent.sock
          --bus          the D-Bus address of systemd; default: the system bus
          --libvirt      the libvirt that runs virtual machines; default: qemu:///system
          --images       a directory from which an Image may take a file:/// URL; may be given again; links in it are not
                         followed; default: /srv/images, and images-in and exports in /var/lib/agentmetal
        Exit codes: 0 ok, 1 failed, 2 bad input.
        """;

    private static async Task<int> Main(string[] args)
    {
        var version = typeof(Program).Assembly.GetCustomAttribute<AssemblyInformationalVersionAttribute>()?.InformationalVersion ?? "0";
        try
        {
            switch (args)
            {
                case ["--version"] or ["version"]:
                    Console.WriteLine($"agentmetald {version}");
                    return 0;
                case ["--help"] or ["-h"] or ["help"] or ["join", "--help"] or ["run", "--help"]:
                    Console.WriteLine(Help);
                    return 0;
                case ["join", .. var rest]: return await JoinAsync(Options.Parse(rest, "--coordinator", "--token-file", "--name", "--label", "--address", "--data"), version);
                case ["run", .. var rest]: return await RunAsync(Options.Parse(rest, "--data", "--socket", "--bus", "--libvirt", "--images"), version);
                case ["redis-gate", { Length: > 0 } notes]: // Run by the unit of a member.
                    using (var deadline = new CancellationTokenSource(TimeSpan.FromSeconds(20)))
                        return await RedisGateProgram.RunAsync(notes, new FileReader(), new FileWriter(), TimeProvider.System, Console.Error.WriteLine, deadline.Token);
                case ["redis-note", { Length: > 0 } notes]: // Run by the unit of a member, once its server is up.
                    using (var deadline = new CancellationTokenSource(TimeSpan.FromSeconds(3)))
                        return await RedisNoteProgram.RunAsync(notes, new FileReader(), new FileWriter(), TimeProvider.System, Console.Error.WriteLine, deadline.Token);
                case ["redis-stop", { Length: > 0 } notes]: // Run by the unit of a member, before its server is told to end; without MAINPID it has ended by itself.
                    if (Environment.GetEnvironmentVariable("MAINPID") is not { Length: > 0 }) return 0;
                    using (var deadline = new CancellationTokenSource(TimeSpan.FromSeconds(3)))
                        return await RedisNoteProgram.RunAsync(notes, new FileReader(), new FileWriter(), TimeProvider.System, Console.Error.WriteLine, deadline.Token, Environment.GetEnvironmentVariable("INVOCATION_ID"));
                case ["redis-end", { Length: > 0 } notes]: // Run by the unit of a member, once its server has ended.
                    return RedisEndProgram.Run(notes, new FileReader(), new FileWriter(), TimeProvider.System, new(Environment.GetEnvironmentVariable("SERVICE_RESULT"),
                        Environment.GetEnvironmentVariable("EXIT_CODE"), Environment.GetEnvironmentVariable("EXIT_STATUS"), Environment.GetEnvironmentVariable("INVOCATION_ID")), Console.Error.WriteLine);
                default: throw new FormatException(args.Length == 0 ? "a command is missing" : $"\"{args[0]}\" is not a command");
            }
        }
        catch (FormatException e)
        {
            Console.Error.WriteLine($"agentmetald: {e.Message}. See agentmetald --help");
            return 2;
        }
        catch (Exception e) when (e is InvalidDataException or IOException or UnauthorizedAccessException)
        {
            Console.Error.WriteLine($"<3>agentmetald: {e.Message}");
            return 1;
        }
    }

    private static async Task<int> RunAsync(Options options, string version)
    {
        var data = options.One("--data") ?? DefaultData;
        var config = AgentConfig.Load(data);
        var images = options.Many("--images").ToList() is { Count: > 0 } given ? new ImageDirectories(given) : ImageDirectories.Usual;
        using var logs = LoggerFactory.Create(b => b.AddProvider(new JournalLoggerProvider(LogLevel.Information)).SetMinimumLevel(LogLevel.Information));
        using var stopping = new CancellationTokenSource();
        using var term = PosixSignalRegistration.Create(PosixSignal.SIGTERM, Stop);
        using var interrupt = PosixSignalRegistration.Create(PosixSignal.SIGINT, Stop);
        await new Daemon(data, config, version, new() { Uri = options.One("--libvirt") ?? new LibvirtOptions().Uri }, images, logs).RunAsync(options.One("--socket") ?? LocalSocket.DefaultPath,
            options.One("--bus") ?? "unix:path=/run/dbus/system_bus_socket", stopping.Token);
        return 0;

        void Stop(PosixSignalContext context)
        {
            context.Cancel = true;
            stopping.Cancel();
        }
    }

    private static async Task<int> JoinAsync(Options options, string version)
    {
        var data = options.One("--data") ?? DefaultData;
        var file = options.One("--token-file") ?? throw new FormatException("--token-file is missing");
        var token = JoinToken.Parse((file == "-" ? await Console.In.ReadToEndAsync() : await File.ReadAllTextAsync(file)).Trim());
        if (!token.IsTrusted) throw new FormatException($"--token-file: {token.Problem!.Message}");
        var config = new AgentConfig
        {
            Coordinator = options.One("--coordinator") ?? throw new FormatException("--coordinator is missing"),
            Name = options.One("--name") ?? Environment.MachineName.ToLowerInvariant().Split('.')[0],
            Labels = options.Many("--label").Select(l => l.Split('=', 2)).ToDictionary(p => p[0], p => p.Length == 2 ? p[1] : throw new FormatException($"--label: \"{p[0]}\" is not KEY=VALUE")),
            Address = options.One("--address") ?? "",
        };
        var errors = config.Errors().ToList();
        if (errors.Count > 0) throw new FormatException(string.Join("; ", errors));
        // Passable, because members keep their data below it as users of their own; what is secret has modes of its own.
        Directory.CreateDirectory(data, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute | UnixFileMode.GroupExecute | UnixFileMode.OtherExecute);
        var folder = new IdentityFolder(Path.Combine(data, "identity"));
        var joined = await new Enrolment(folder, new Uri("https://" + config.Coordinator), () => TrustedTime.Now(DateTimeOffset.UtcNow, null))
            .JoinAsync(token.Value, config.Name, version, config.Labels, TimeSpan.FromSeconds(60), CancellationToken.None);
        if (!joined.IsTrusted) throw new InvalidDataException($"not joined: {joined.Problem!.Message}");
        config.Save(data);
        Console.WriteLine($"joined {config.Coordinator} as {joined.Value.Peer.Name} ({joined.Value.Peer.Uid}), certificate until {joined.Value.NotAfter:u}");
        Console.WriteLine("Next: systemctl enable --now agentmetald");
        return 0;
    }

    /// <summary>--key value pairs; every unknown key is an error that names those there are.</summary>
    private sealed class Options
    {
        private readonly List<(string Key, string Value)> _pairs = [];

        public static Options Parse(string[] args, params ReadOnlySpan<string> known)
        {
            var options = new Options();
            for (var i = 0; i < args.Length; i += 2)
            {
                if (!known.Contains(args[i])) throw new FormatException($"\"{args[i]}\" is not an option here; options: {string.Join(", ", known!)}");
                if (i + 1 == args.Length) throw new FormatException($"{args[i]} needs a value");
                options._pairs.Add((args[i], args[i + 1]));
            }
            return options;
        }

        public string? One(string key) => _pairs.Where(p => p.Key == key).Select(p => p.Value).LastOrDefault();

        public IEnumerable<string> Many(string key) => _pairs.Where(p => p.Key == key).Select(p => p.Value);
    }
}
