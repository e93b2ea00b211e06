using System.Net;
using System.Text.Json;
using System.Text.Json.Serialization;
using AgentMetal.NodeAgent.Edge.Identity;

namespace AgentMetal.NodeAgent;

/// <summary>What a host is told once, at join; kept as agent.json in the data directory.</summary>
internal sealed record AgentConfig
{
    public const string FileName = "agent.json";

    /// <summary>HOST:PORT of a coordinator.</summary>
    public required string Coordinator { get; init; }

    /// <summary>This host's name in the fleet: an RFC 1123 label.</summary>
    public required string Name { get; init; }

    public Dictionary<string, string> Labels { get; init; } = [];

    /// <summary>The address that peers use; empty = the source address of the route to the coordinator.</summary>
    public string Address { get; init; } = "";

    /// <summary>Loopback address and port of /metrics; empty = none.</summary>
    public string Metrics { get; init; } = "127.0.0.1:9465";

    /// <summary>Where other hosts fetch a virtual machine that is handed over to them, 1..65535; open only while one is. 0 = none is.</summary>
    public int TransferPort { get; init; } = 7444;

    /// <summary>Between two probes of a member, 1..3600 seconds.</summary>
    public int ProbeSeconds { get; init; } = 10;

    /// <summary>Between two looks at a converged member that nothing signalled, 10..86400 seconds.</summary>
    public int ResyncSeconds { get; init; } = 600;

    /// <summary>Repairs of one difference within an hour before a person is asked, 2..1000000.</summary>
    public int MaxReturns { get; init; } = 8;

    /// <summary>Every error at once; empty = fine.</summary>
    public IEnumerable<string> Errors()
    {
        if (Runtime.Resources.Names.LabelError(Name) is { } name) yield return "name: " + name;
        if (!Uri.TryCreate("https://" + Coordinator, UriKind.Absolute, out var uri) || uri.Port <= 0 || uri.PathAndQuery != "/") yield return $"coordinator: \"{Coordinator}\" is not HOST:PORT";
        if (Address.Length > 0 && !IPAddress.TryParse(Address, out _)) yield return $"address: \"{Address}\" is not an IP address";
        if (Metrics.Length > 0 && (!IPEndPoint.TryParse(Metrics, out var at) || !IPAddress.IsLoopback(at.Address) || at.Port == 0)) yield return $"metrics: \"{Metrics}\" is not a loopback address with a port, such as 127.0.0.1:9465";
        if (TransferPort is < 0 or > 65_535) yield return $"transferPort: {TransferPort} is not between 0 and 65535";
        if (ProbeSeconds is < 1 or > 3600) yield return $"probeSeconds: {ProbeSeconds} is not between 1 and 3600";
        if (ResyncSeconds is < 10 or > 86_400) yield return $"resyncSeconds: {ResyncSeconds} is not between 10 and 86400";
        if (MaxReturns is < 2 or > 1_000_000) yield return $"maxReturns: {MaxReturns} is not between 2 and 1000000";
        foreach (var (key, value) in Labels)
        {
            if (Runtime.Resources.Names.LabelKeyError(key) is { } k) yield return $"labels.{key}: {k}";
            if (Runtime.Resources.Names.LabelValueError(value) is { } v) yield return $"labels.{key}: {v}";
        }
    }

    /// <exception cref="InvalidDataException">The file is not there or not a configuration.</exception>
    public static AgentConfig Load(string data)
    {
        var path = Path.Combine(data, FileName);
        try
        {
            var config = JsonSerializer.Deserialize(File.ReadAllBytes(path), AgentConfigJson.Default.AgentConfig) ?? throw new JsonException("null");
            var errors = config.Errors().ToList();
            return errors.Count == 0 ? config : throw new InvalidDataException($"{path}: {string.Join("; ", errors)}");
        }
        catch (Exception e) when (e is FileNotFoundException or DirectoryNotFoundException)
        {
            throw new InvalidDataException($"{path} is not there: this host has not joined a fleet yet. Next: agentmetald join --help", e);
        }
        catch (JsonException e)
        {
            throw new InvalidDataException($"{path}: not a configuration: {e.Message}", e);
        }
    }

    /// <summary>Writes the file whole and durable: a host that lost its power right after joining must still know its fleet.</summary>
    public void Save(string data)
    {
        var path = Path.Combine(data, FileName);
        using (var stream = new FileStream(path + ".new", FileMode.Create, FileAccess.Write))
        {
            stream.Write(JsonSerializer.SerializeToUtf8Bytes(this, AgentConfigJson.Default.AgentConfig));
            stream.Flush(flushToDisk: true);
        }
        File.Move(path + ".new", path, overwrite: true);
        // The rename, and the directory that the join made for it.
        foreach (var directory in new[] { data, Path.GetDirectoryName(Path.GetFullPath(data)) ?? "/" })
        {
            using var handle = DirectoryHandle.Open(directory);
            handle.Sync();
        }
    }
}

[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase, WriteIndented = true, UnmappedMemberHandling = JsonUnmappedMemberHandling.Disallow)]
[JsonSerializable(typeof(AgentConfig))]
internal sealed partial class AgentConfigJson : JsonSerializerContext;
