using System.Diagnostics;
using System.Globalization;
using System.Text.Json;
using AgentMetal.LabTests.Fleets;
using AgentMetal.Testing;

namespace AgentMetal.LabTests.Power;

/// <summary>A coordinator on this machine and one virtual machine that joined it, with one Redis that tests declare, change and delete.</summary>
internal sealed class PowerRig : IAsyncDisposable
{
    public const string Name = "power";
    private const int Port = 6441;
    private const string Unit = $"agentmetal-redis-default-{Name}-0.service";
    private const string Configuration = $"/etc/agentmetal/redis/default-{Name}-0";
    private static readonly TimeSpan BootLimit = TimeSpan.FromSeconds(240);

    private PowerRig(Fleet fleet, LabGuest guest) => (Fleet, Guest) = (fleet, guest);

    public Fleet Fleet { get; }

    public LabGuest Guest { get; }

    /// <summary>Names the guest's audit chain.</summary>
    public string NodeUid { get; private set; } = "";

    private string AuditDirectory => Path.Combine(Fleet.CoordinatorData, "audit", NodeUid);

    public static async Task<PowerRig> StartAsync(CancellationToken stop)
    {
        var fleet = await Fleet.StartAsync(stop, hosts: []);
        PowerRig? rig = null;
        try
        {
            rig = new PowerRig(fleet, await fleet.Lab.AddGuestAsync("power-1", fleet.Shipped, stop));
            await rig.BootAsync(stop);
            await rig.JoinAsync(stop);
            return rig;
        }
        catch
        {
            if (rig is null) await fleet.DisposeAsync();
            else await rig.DisposeAsync();
            throw;
        }
    }

    public Task BootAsync(CancellationToken stop) => Guest.StartAsync(BootLimit, stop);

    public static string Yaml(int mebibytes, int databases) => $$"""
        apiVersion: agentmetal.io/v1
        kind: Redis
        metadata: { name: {{Name}} }
        spec: { port: {{Port}}, databases: {{databases}}, memory: { max: {{mebibytes}}Mi }, persistence: { appendonly: true, appendfsync: always } }
        """;

    /// <summary>The resource as the coordinator shows it, or null when it has none of the name.</summary>
    public async Task<JsonElement?> ResourceAsync(CancellationToken stop)
    {
        var got = await Fleet.CliAsync(stop, "get", "redis", Name, "-o", "json");
        return got.ExitCode == 3 ? null : JsonDocument.Parse(got.OrThrow().Stdout).RootElement.Clone();
    }

    /// <summary>Waits until the coordinator says that the newest generation is Ready, and the server has its settings.</summary>
    /// <param name="sign">Whether what waits for a signature is signed; otherwise it waits, and this fails.</param>
    /// <returns>How often it had to be signed (again).</returns>
    public async Task<int> ConvergedAsync(int mebibytes, int databases, bool sign, CancellationToken stop)
    {
        var signed = 0;
        await EventuallyAsync("the declared generation is Ready", TimeSpan.FromSeconds(150), async () =>
        {
            if (await ResourceAsync(stop) is { } resource && resource.GetProperty("status").GetProperty("ready").GetBoolean()
                && resource.GetProperty("status").GetProperty("observedGeneration").GetInt64() == resource.GetProperty("metadata").GetProperty("generation").GetInt64()) return true;
            // The plan that was signed may have died with the power; what is asked anew is signed anew.
            if (sign && await AwaitsApprovalAsync(stop) && (await ApproveAsync(stop)).Succeeded) signed++;
            return false;
        }, stop);
        Assert.Equal($"maxmemory\n{mebibytes * 1024L * 1024}", await RedisAsync("CONFIG GET maxmemory", stop));
        Assert.Equal($"databases\n{databases}", await RedisAsync("CONFIG GET databases", stop));
        return signed;
    }

    /// <summary>Waits until the host itself is content, whoever else is there.</summary>
    public Task ConvergedAloneAsync(int mebibytes, CancellationToken stop) =>
        EventuallyAsync($"alone, the host serves with {mebibytes} MiB as it had acknowledged", TimeSpan.FromSeconds(120), async () =>
            await TryRedisAsync("CONFIG GET maxmemory", stop) == $"maxmemory\n{mebibytes * 1024L * 1024}"
            && (await Guest.RunAsync($"NO_COLOR=1 {Fleet.HostCli} local status", cancellationToken: stop)).Stdout.Contains("Converged", StringComparison.Ordinal), stop);

    /// <summary>Waits until neither the coordinator nor the host knows the resource, and a whole last backup is there.</summary>
    /// <returns>How often the deletion had to be signed (again).</returns>
    public async Task<int> GoneAsync(CancellationToken stop)
    {
        var signed = 0;
        await EventuallyAsync("the resource is gone", TimeSpan.FromSeconds(150), async () =>
        {
            if (await ResourceAsync(stop) is null) return true;
            // The plan that was signed may have died with the power; what is asked anew is signed anew.
            if (await AwaitsApprovalAsync(stop) && (await ApproveAsync(stop)).Succeeded) signed++;
            return false;
        }, stop);
        Assert.Equal("", await Guest.ShellAsync($"ls -d /etc/systemd/system/{Unit} {Configuration} /var/lib/agentmetal/redis/default-{Name}-0 2>/dev/null || true", stop));
        // Of a server that the power left stopped there are its files.
        Assert.Equal("REDIS", await Guest.ShellAsync($"""
            last=$(ls -t /var/lib/agentmetal/backups/default-{Name}-0-* | head -n 1)
            case $last in *.tar) tar -xOf "$last" --wildcards './appendonlydir/*.base.rdb';; *) cat "$last";; esac | head -qc 5
            """, stop));
        return signed;
    }

    public async Task<bool> AwaitsApprovalAsync(CancellationToken stop) =>
        (await Fleet.CliAsync(stop, "approve", "--list", "-o", "json")).Stdout.Contains($"\"Redis default/{Name}\"", StringComparison.Ordinal);

    public Task<CommandResult> ApproveAsync(CancellationToken stop) => Fleet.CliAsync(stop, "approve", "redis/" + Name, "--yes", "--reason", "test");

    public async Task<string> RedisAsync(string command, CancellationToken stop) => (await Guest.ShellAsync($"""
        export REDISCLI_AUTH=$(sed -n 's/^requirepass //p' {Configuration}/auth.conf | tr -d '"')
        redis-cli --no-auth-warning -p {Port} {command}
        """, stop)).Trim();

    /// <summary>
    /// Files of the member by path, as their hashes: in the directory, at the root of the disk or where the last boot found them. How often
    /// its
    /// server was started is another number after each boot, and is left out.
    /// </summary>
    public async Task<IReadOnlyDictionary<string, string>> FilesAsync(string root, CancellationToken stop)
    {
        var listed = await Guest.ShellAsync($"""
            cd {root}
            find etc/agentmetal/redis etc/systemd/system/{Unit} -type f ! -name '.*.agentmetal-new' ! -name starts -exec sha256sum -- '{"{}"}' + 2>/dev/null || true
            """, stop);
        return listed.Split('\n', StringSplitOptions.RemoveEmptyEntries).ToDictionary(line => line[66..], line => line[..64]);
    }

    /// <summary>Writes a file that nobody makes durable.</summary>
    public Task WriteUnsyncedAsync(CancellationToken stop) => Guest.ShellAsync("date >/var/lib/lab-unsynced", stop);

    /// <summary>What is left of it after the cut. Anything but nothing would mean that this machine loses nothing, and that every test here is idle.</summary>
    public Task<string> UnsyncedAsync(CancellationToken stop) => Guest.ShellAsync("cat /var/lib/lab-unsynced 2>/dev/null || true; rm -f /var/lib/lab-unsynced", stop);

    /// <summary>One answer of the host's database as the boot found it, columns separated by '|'.</summary>
    public Task<string> FoundAsync(string sql, CancellationToken stop) =>
        Guest.ShellAsync($"sqlite3 /run/found/var/lib/agentmetal/local.db {Quote(sql)}", stop);

    /// <summary>What the coordinator has on its disk of the guest's audit chain, in order.</summary>
    public IReadOnlyList<JsonElement> Audit() => !Directory.Exists(AuditDirectory) ? [] :
        [.. Directory.EnumerateFiles(AuditDirectory, "*.jsonl").Order(StringComparer.Ordinal).SelectMany(File.ReadLines).Select(line => JsonDocument.Parse(line).RootElement.Clone())];

    /// <summary>The whole chain verifies, and the coordinator found nothing rewritten.</summary>
    public async Task AuditHoldsAsync(CancellationToken stop)
    {
        var mark = Path.Combine(AuditDirectory, "QUARANTINED");
        Assert.False(File.Exists(mark), File.Exists(mark) ? "the chain is quarantined: " + await File.ReadAllTextAsync(mark, stop) : "");
        (await Fleet.CliAsync(stop, "audit", "--verify")).OrThrow();
    }

    public static long Number(JsonElement record, string name) => long.Parse(record.GetProperty(name).ToString(), CultureInfo.InvariantCulture);

    /// <summary>What people would look at first, for a failure's message; never a failure of its own.</summary>
    public async Task<string> TellAsync(CancellationToken stop)
    {
        var told = new System.Text.StringBuilder();
        foreach (var command in (string[][])[["describe", "redis", Name], ["approve", "--list"], ["audit", "--chain", Guest.Name, "--limit", "40"]])
        {
            var said = await Fleet.CliAsync(stop, command);
            told.AppendLine().AppendLine(CultureInfo.InvariantCulture, $"agentmetal {string.Join(' ', command)}").AppendLine(said.Stdout + said.Stderr);
        }
        try { told.AppendLine(await Guest.ShellAsync($"ls -laR /var/lib/agentmetal/backups /var/lib/agentmetal/redis; journalctl -b -u '{Unit}' -u agentmetald -o short-monotonic --no-pager | tail -n 60", stop)); }
        catch (LabException e) { told.AppendLine(e.Message); }
        return told.ToString();
    }

    /// <summary>A failure shows what the guest wrote to its console last.</summary>
    public async Task EventuallyAsync(string what, TimeSpan within, Func<Task<bool>> holds, CancellationToken stop)
    {
        var until = Stopwatch.StartNew();
        while (!await holds())
        {
            if (until.Elapsed > within) Assert.Fail($"not within {within.TotalSeconds:0} s: {what}\n{Guest.ConsoleEnd()}");
            await Task.Delay(500, stop);
        }
    }

    public async ValueTask DisposeAsync()
    {
        await Guest.DisposeAsync();
        await Fleet.DisposeAsync();
    }

    private async Task JoinAsync(CancellationToken stop)
    {
        // Made durable by hand: what follows must be so by itself.
        await Guest.ShellAsync("""
            ln -sf /usr/lib/agentmetal/agentmetald /usr/bin/agentmetald
            cp /usr/share/agentmetal/agentmetald.service /etc/systemd/system/
            mkdir -p /etc/systemd/system/multi-user.target.wants
            ln -s ../agentmetald.service /etc/systemd/system/multi-user.target.wants/
            printf '%s\n' var/lib/agentmetal etc/agentmetal etc/systemd/system >/etc/lab-found
            systemctl daemon-reload
            sync
            """, stop);
        var token = (await Fleet.CliAsync(stop, "join-token", "create", "--name", Guest.Name, "-o", "raw")).OrThrow().Stdout.Trim();
        await Guest.ShellAsync($"agentmetald join --coordinator {Fleet.Lab.GatewayAddress}:7443 --token-file - --name {Guest.Name} <<<{Quote(token)}; systemctl start agentmetald", stop);
        await Fleet.WaitAttachedAsync(1, stop);
        var nodes = JsonDocument.Parse((await Fleet.CliAsync(stop, "nodes", "list", "-o", "json")).OrThrow().Stdout).RootElement.GetProperty("items");
        NodeUid = Assert.Single(nodes.EnumerateArray()).GetProperty("uid").GetString()!;
    }

    private async Task<string?> TryRedisAsync(string command, CancellationToken stop)
    {
        try { return await RedisAsync(command, stop); }
        catch (LabException) { return null; }
    }

    private static string Quote(string text) => $"'{text.Replace("'", "'\\''", StringComparison.Ordinal)}'";
}
