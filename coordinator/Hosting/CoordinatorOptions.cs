using System.Globalization;
using System.Net;

namespace AgentMetal.Coordinator.Hosting;

/// <summary>What the command line says.</summary>
internal sealed record CoordinatorOptions
{
    public const string Usage = """
        agentmetal-coordinator --data DIR --identity DIR [options]

          --data DIR           where the store, the audit and the events are kept; made if it is not there
          --identity DIR       the coordinator's files that `agentmetal init --bundle` wrote
          --listen ADDR:PORT   for nodes and operators, TLS only; default 0.0.0.0:7443
          --metrics ADDR:PORT  /metrics and /healthz in plaintext, loopback only; default 127.0.0.1:9464
          --name NAME          unique in the fleet; default: the name in the identity
          --restored           the store in --data is a backup that was put back: it gets a new id, and hosts follow it
                               once an operator signs (agentmetal nodes accept-store); give it once
          --version, --help
        """;

    public required string Data { get; init; }

    public required string Identity { get; init; }

    public IPEndPoint Listen { get; init; } = new(IPAddress.Any, 7443);

    public IPEndPoint Metrics { get; init; } = new(IPAddress.Loopback, 9464);

    /// <summary>Empty = as the identity says.</summary>
    public string Name { get; init; } = "";

    /// <summary>The store is a backup that was put back.</summary>
    public bool Restored { get; init; }

    /// <summary>The options, or every error with its flag and the fix.</summary>
    public static (CoordinatorOptions? Options, IReadOnlyList<string> Errors) Parse(IReadOnlyList<string> args)
    {
        var given = new Dictionary<string, string>(StringComparer.Ordinal);
        var errors = new List<string>();
        var restored = false;
        for (var i = 0; i < args.Count; i++)
        {
            if (args[i] == "--restored") { restored = true; continue; }
            var (flag, value) = args[i].Split('=', 2) is [var f, var v] ? (f, v) : (args[i], null);
            if (flag is not ("--data" or "--identity" or "--listen" or "--metrics" or "--name")) { errors.Add($"{flag}: there is no such flag; see --help"); continue; }
            if (value is null && (i + 1 == args.Count || args[i + 1].StartsWith("--", StringComparison.Ordinal))) { errors.Add($"{flag}: needs a value"); continue; }
            if (!given.TryAdd(flag, value ?? args[++i])) errors.Add($"{flag}: is given twice");
        }
        foreach (var required in new[] { "--data", "--identity" })
            if (given.GetValueOrDefault(required) is null or "") errors.Add($"{required}: is required; give a directory");
        var listen = Address("--listen", new(IPAddress.Any, 7443));
        var metrics = Address("--metrics", new(IPAddress.Loopback, 9464));
        if (!IPAddress.IsLoopback(metrics.Address)) errors.Add($"--metrics: {metrics.Address} is not a loopback address; metrics are plaintext, so give 127.0.0.1:PORT and put a proxy in front");
        if (listen.Port != 0 && listen.Port == metrics.Port) errors.Add($"--metrics: port {metrics.Port} is that of --listen; give another");
        var name = given.GetValueOrDefault("--name", "");
        if (name.Length > 0 && !Runtime.Trust.TrustNames.IsName(name)) errors.Add($"--name: \"{name}\" is not 1 to 63 of a-z, 0-9, '-' and '.'");
        if (errors.Count > 0) return (null, errors);
        return (new() { Data = given["--data"], Identity = given["--identity"], Listen = listen, Metrics = metrics, Name = name, Restored = restored }, []);

        IPEndPoint Address(string flag, IPEndPoint otherwise)
        {
            if (!given.TryGetValue(flag, out var text)) return otherwise;
            var colon = text.LastIndexOf(':');
            if (colon > 0 && IPAddress.TryParse(text.AsSpan(0, colon), out var address)
                && int.TryParse(text.AsSpan(colon + 1), NumberStyles.None, CultureInfo.InvariantCulture, out var port) && port <= 65535) return new(address, port);
            errors.Add($"{flag}: \"{text}\" is not ADDRESS:PORT, such as {otherwise}");
            return otherwise;
        }
    }
}
