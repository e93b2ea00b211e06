using System.Collections.Immutable;
using System.Globalization;
using System.Text.Json;
using AgentMetal.LabTests.Fleets;
using AgentMetal.Testing;

namespace AgentMetal.LabTests.Adversary;

/// <summary>A member as its host has it.</summary>
internal sealed record RedisMember(LabHost Host, int Ordinal, string Unit, int Port)
{
    public string Id => Unit["agentmetal-redis-".Length..^".service".Length];

    public string DataDir => "/var/lib/agentmetal/redis/" + Id;

    public string Address => string.Create(CultureInfo.InvariantCulture, $"{Host.Address} {Port}");
}

/// <summary>A declared Redis on the fleet, seen and handled from outside: its members, its servers' own doors, what it says of itself,
/// and what writers were acknowledged.</summary>
internal sealed class RedisGroup(Fleet fleet, string name, int port, string spec)
{
    public static readonly TimeSpan Patience = TimeSpan.FromSeconds(2);

    private readonly Lock acked = new();
    private readonly HashSet<string> ackedKeys = [];
    private int written;

    public Fleet Fleet => fleet;
    public string Name => name;
    public int Port => port;
    public ImmutableArray<RedisMember> Members { get; private set; } = [];

    /// <summary>Every key that a server said +OK to. Keys are written once, with a value that follows from the key, and nobody deletes
    /// one.</summary>
    public IReadOnlyCollection<string> Acked { get { lock (acked) return [.. ackedKeys]; } }

    public RedisMember this[int ordinal] => Members.Single(m => m.Ordinal == ordinal);

    public string Yaml(string? other = null) => $$"""
        apiVersion: agentmetal.io/v1
        kind: Redis
        metadata: { name: {{name}} }
        spec: { port: {{port}}, {{other ?? spec}} }
        """;

    /// <summary>Applies, waits until it is Ready and finds the members.</summary>
    public async Task<RedisGroup> UpAsync(CancellationToken stop)
    {
        (await fleet.ApplyAsync(Yaml(), stop)).OrThrow();
        await FindAsync(stop);
        return this;
    }

    public async Task FindAsync(CancellationToken stop) =>
        Members = [.. (await fleet.MembersAsync(name, stop)).Select(m =>
            new RedisMember(m.Host, int.Parse(m.Unit[(m.Unit.LastIndexOf('-') + 1)..^".service".Length], CultureInfo.InvariantCulture),
            m.Unit, port)).OrderBy(m => m.Ordinal)];

    public Task<CommandResult> ApplyAsync(string? other, CancellationToken stop, params string[] more) =>
        fleet.ApplyAsync(Yaml(other), stop, more);

    // --- the servers ---

    public static string ValueOf(string key) => "v" + key;

    /// <summary>The member's password as its host has it.</summary>
    public string Password(RedisMember m) =>
        Lines(m, $"/etc/agentmetal/redis/{m.Id}/auth.conf").Where(l => l.StartsWith("requirepass ", StringComparison.Ordinal)).Select(l =>
            l["requirepass ".Length..].Trim().Trim('"')).FirstOrDefault("");

    /// <summary>The server's own socket, on this machine; with one of these passwords, the member's own first.</summary>
    public RespConnection Open(RedisMember m, params string[] passwords)
    {
        var conf = Lines(m, $"/etc/agentmetal/redis/{m.Id}/redis.conf").FirstOrDefault(l =>
            l.StartsWith("unixsocket ", StringComparison.Ordinal)) ?? throw new IOException(m.Id + " has no redis.conf");
        var connection = RespConnection.Unix(m.Host.RootPath + conf["unixsocket ".Length..].Trim(), Patience);
        foreach (var password in (string[])[Password(m), .. passwords])
        {
            try
            {
                if (password.Length > 0) connection.Ask("AUTH", password);
                else connection.Ask("PING");
                return connection;
            }
            catch (RespException e) when (e.Message.StartsWith("MISCONF", StringComparison.Ordinal) || e.Message.Contains("without any password", StringComparison.Ordinal))
            {
                // It lets us in and refuses writes, or wants no password at all.
                return connection;
            }
            catch (RespException e) when (!e.Message.StartsWith("LOADING", StringComparison.Ordinal)) { }
            catch (Exception)
            {
                connection.Dispose();
                throw;
            }
        }
        connection.Dispose();
        throw new RespException("no password is the server's");
    }

    /// <summary>One command; an error of the server is its text.</summary>
    public string Ask(RedisMember m, params string[] words)
    {
        try
        {
            using var connection = Open(m, "other");
            return connection.Ask(words) switch { null => "", List<object?> l => string.Join(' ', l), var one => one.ToString()! };
        }
        catch (RespException e) { return e.Message; }
        catch (Exception e) when (e is IOException or LabException) { return "unseen: " + e.Message; }
    }

    /// <summary>A field of INFO; empty while the server does not answer.</summary>
    public string Info(RedisMember m, string field) =>
        Ask(m, "INFO", "everything").Split('\n').Select(l => l.TrimEnd('\r')).Where(l =>
            l.StartsWith(field + ":", StringComparison.Ordinal)).Select(l => l[(field.Length + 1)..]).FirstOrDefault("");

    public string Role(RedisMember m) => Info(m, "role");

    public bool InSync(RedisMember replica, RedisMember primary) =>
        Info(replica, "master_host") == primary.Host.Address && Info(replica, "master_link_status") == "up"
            && Info(replica, "slave_repl_offset") == Info(primary, "master_repl_offset");

    /// <summary>Writes keys that were never written before to this server and records which of them it took.</summary>
    public IReadOnlyList<string> Write(RedisMember to, int count, int bytes = 0)
    {
        using var connection = Open(to, "other");
        string[][] sets = [.. Enumerable.Range(0, count).Select(_ => (string[])["SET", NextKey(), ""])];
        foreach (var set in sets) set[2] = ValueOf(set[1]) + new string('x', bytes);
        var answers = connection.AskAll(sets);
        string[] taken = [.. sets.Where((_, i) => answers[i] is "OK").Select(s => s[1])];
        Record(taken);
        return taken;
    }

    public string NextKey() => string.Create(CultureInfo.InvariantCulture, $"w:{Interlocked.Increment(ref written)}");

    public void Record(IEnumerable<string> keys)
    {
        lock (acked) ackedKeys.UnionWith(keys);
    }

    /// <summary>Forgets what was acknowledged so far, for a test that gives it up.</summary>
    public void Forget(IEnumerable<string> keys)
    {
        lock (acked) ackedKeys.ExceptWith(keys);
    }

    // --- what each holds ---

    /// <summary>Our keys in a server's memory with the right value; null while it does not answer.</summary>
    public IReadOnlySet<string>? InMemory(RedisMember m)
    {
        try
        {
            using var connection = Open(m, "other", "wrong");
            return KeysOf(connection);
        }
        catch (Exception e) when (e is IOException or RespException or LabException) { return null; }
    }

    internal static IReadOnlySet<string> KeysOf(RespConnection connection)
    {
        string[] keys = [.. ((List<object?>)connection.Ask("KEYS", "w:*")!).Cast<string>()];
        HashSet<string> right = [];
        foreach (var chunk in keys.Chunk(1000))
        {
            var values = (List<object?>)connection.Ask(["MGET", .. chunk])!;
            right.UnionWith(chunk.Where((k, i) => values[i] is string v && v.StartsWith(ValueOf(k), StringComparison.Ordinal)
                && v.AsSpan(ValueOf(k).Length).TrimStart('x').IsEmpty));
        }
        return right;
    }

    /// <summary>A host's directory as this machine sees it, also while the host is off.</summary>
    public string Seen(LabHost host, string path)
    {
        try { return host.RootPath + path; }
        catch (LabException) { return Path.Combine(fleet.Lab.StateDirectory, "hosts", host.Name, "upper") + path; }
    }

    private string[] Lines(RedisMember m, string path)
    {
        try { return File.ReadAllLines(Seen(m.Host, path)); }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException) { return []; }
    }

    // --- what the product says ---

    public async Task<JsonElement?> GetAsync(CancellationToken stop)
    {
        var got = await fleet.CliAsync(stop, "get", "redis", name, "-o", "json");
        return got.Succeeded ? JsonDocument.Parse(got.Stdout).RootElement.Clone() : null;
    }

    public async Task<bool> ReadyAsync(CancellationToken stop) =>
        (await GetAsync(stop))?.GetProperty("status").GetProperty("ready").GetBoolean() == true;

    public async Task<string> DescribeAsync(CancellationToken stop)
    {
        var said = await fleet.CliAsync(stop, "describe", "redis", name);
        return said.Stdout + said.Stderr;
    }

    public async Task<string> EventsAsync(CancellationToken stop) =>
        (await fleet.CliAsync(stop, "events", "--for", "redis/" + name, "--limit", "200")).Stdout;

    /// <summary>Plans of this resource that wait for a signature.</summary>
    public async Task<IReadOnlyList<JsonElement>> HeldAsync(CancellationToken stop)
    {
        var listed = await fleet.CliAsync(stop, "approve", "--list", "-o", "json");
        return listed.Succeeded
            ? [.. JsonDocument.Parse(listed.Stdout).RootElement.GetProperty("items").EnumerateArray().Where(i =>
            i.GetProperty("resource").GetString() == "Redis default/" + name).Select(i => i.Clone())] : [];
    }

    /// <summary>What a person reads before signing everything that waits; empty when nothing does.</summary>
    public async Task<string> SignAsync(string reason, CancellationToken stop)
    {
        var said = await fleet.CliAsync("y\n", stop, "approve", "redis/" + name, "--yes", "--reason", reason);
        return said.Succeeded ? said.Stdout + said.Stderr : "";
    }

    public async Task EventuallyAsync(string what, TimeSpan within, Func<Task<bool>> holds, CancellationToken stop)
    {
        try { await Fleet.EventuallyAsync(what, within, holds, stop); }
        catch (Xunit.Sdk.XunitException e)
        {
            Assert.Fail($"{e.Message}\n{await DescribeAsync(stop)}\n{await EventsAsync(stop)}");
        }
    }
}
