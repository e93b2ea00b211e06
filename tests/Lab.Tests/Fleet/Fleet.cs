using System.Diagnostics;
using System.Text;
using System.Text.Json;
using AgentMetal.LabTests.Fleets;
using AgentMetal.LabTests.Instances;
using AgentMetal.Testing;

[assembly: AssemblyFixture(typeof(SharedFleet))]

namespace AgentMetal.LabTests.Fleets;

/// <summary>
/// Three hosts with the native agentmetald as a systemd unit in each, a real coordinator on this machine, and the native CLI: what is shipped,
/// from packaging/build.sh. Tests see it only through commands, D-Bus, files and the servers' own protocols.
/// </summary>
public sealed class Fleet : IAsyncDisposable
{
    /// <summary>The CLI as a host sees it.</summary>
    public const string HostCli = "/usr/share/agentmetal-cli/agentmetal";

    private readonly string directory;
    private readonly string artifacts;
    private Process? coordinator;

    private Fleet(Lab lab, string directory, string artifacts) => (Lab, this.directory, this.artifacts) = (lab, directory, artifacts);

    public Lab Lab { get; }

    public string Home => Path.Combine(directory, "home");

    /// <summary>What every host has of what is shipped; a guest is given the same.</summary>
    public IReadOnlyList<LabBind> Shipped { get; private init; } = [];

    public string CoordinatorData => Path.Combine(directory, "data");

    /// <summary>The CLI on this machine.</summary>
    public string Cli => Path.Combine(artifacts, "cli", "agentmetal");

    /// <param name="hosts">Names of the hosts; null: the lab's own three.</param>
    /// <param name="prepare">What happens to each host before it joins.</param>
    /// <param name="more">Directories of this machine that hosts see beside what is shipped.</param>
    public static async Task<Fleet> StartAsync(CancellationToken stop, IReadOnlyList<string>? hosts = null, Func<LabHost, Task>? prepare = null, IReadOnlyList<LabBind>? more = null)
    {
        var root = RepositoryRoot();
        var artifacts = Path.Combine(root, "artifacts");
        (await CommandRunner.RunAsync([Path.Combine(root, "packaging/build.sh")], TimeSpan.FromMinutes(20), cancellationToken: stop)).OrThrow();
        LabBind[] shipped =
        [
            new(Path.Combine(artifacts, "edge"), "/usr/lib/agentmetal"), new(Path.Combine(root, "packaging/systemd"), "/usr/share/agentmetal"),
            new(Path.Combine(artifacts, "cli"), Path.GetDirectoryName(HostCli)!),
        ];
        var options = new LabOptions { Binds = [.. shipped, .. more ?? []] };
        var lab = await Lab.StartAsync(hosts is null ? options : options with { HostNames = hosts }, stop);
        var fleet = new Fleet(lab, Directory.CreateTempSubdirectory("agentmetal-fleet-").FullName, artifacts) { Shipped = shipped };
        try
        {
            (await fleet.CliAsync(stop, "init", "--coordinator", "control", "--address", lab.GatewayAddress, "--bundle", Path.Combine(fleet.directory, "bundle"))).OrThrow();
            await fleet.StartCoordinatorAsync(stop);
            foreach (var host in lab.Hosts)
            {
                if (prepare is not null) await prepare(host);
                await fleet.JoinAsync(host, stop);
            }
            await fleet.WaitAttachedAsync(lab.Hosts.Count, stop);
            return fleet;
        }
        catch
        {
            await fleet.DisposeAsync();
            throw;
        }
    }

    /// <param name="stop">Ends the wait.</param>
    /// <param name="more">Of its command line.</param>
    public async Task StartCoordinatorAsync(CancellationToken stop, params string[] more)
    {
        var start = new ProcessStartInfo(Path.Combine(artifacts, "coordinator", "agentmetal-coordinator"))
        {
            ArgumentList = { "--data", CoordinatorData, "--identity", Path.Combine(directory, "bundle"), "--listen", Lab.GatewayAddress + ":7443", "--metrics", "127.0.0.1:0" },
            RedirectStandardError = true,
            RedirectStandardOutput = true,
        };
        foreach (var word in more) start.ArgumentList.Add(word);
        coordinator = Process.Start(start)!;
        var path = Path.Combine(directory, $"coordinator-{coordinator.Id}.log");
        var log = new FileStream(path, FileMode.Create, FileAccess.Write, FileShare.Read, bufferSize: 0);
        _ = coordinator.StandardError.BaseStream.CopyToAsync(log, CancellationToken.None);
        _ = coordinator.StandardOutput.BaseStream.CopyToAsync(Stream.Null, CancellationToken.None);
        await EventuallyAsync("the coordinator answers", TimeSpan.FromSeconds(60), async () =>
        {
            // Such as one of a run that was killed, which still has the address.
            if (coordinator is { HasExited: true } ended) Assert.Fail($"the coordinator ended with {ended.ExitCode}: {await File.ReadAllTextAsync(path, stop)}");
            return (await CliAsync(stop, "nodes", "list", "-o", "json")).Succeeded;
        }, stop);
    }

    /// <summary>kill -9, as a power cut of its machine would.</summary>
    public async Task KillCoordinatorAsync()
    {
        if (coordinator is null) return;
        coordinator.Kill();
        await coordinator.WaitForExitAsync();
        coordinator = null;
    }

    public Task<CommandResult> CliAsync(CancellationToken stop, params string[] arguments) => CliAsync(null, stop, arguments);

    public Task<CommandResult> CliAsync(string? stdin, CancellationToken stop, params string[] arguments) =>
        CommandRunner.RunAsync(["env", "AGENTMETAL_HOME=" + Home, "NO_COLOR=1", Cli, .. arguments], TimeSpan.FromMinutes(3), Encoding.UTF8.GetBytes(stdin ?? ""), cancellationToken: stop);

    /// <summary>One that is not Ready in time says what it waits for; killed by the test it would say nothing.</summary>
    public async Task<CommandResult> ApplyAsync(string yaml, CancellationToken stop, params string[] more) =>
        await CliAsync(yaml, stop, ["apply", "-f", "-", .. more.Any(m => m is "--timeout" or "--no-wait") ? more : [.. more, "--timeout", "150s"]]);

    /// <summary>The resource as JSON.</summary>
    public async Task<JsonElement> GetAsync(string name, CancellationToken stop)
    {
        var got = (await CliAsync(stop, "get", "redis", name, "-o", "json")).OrThrow();
        return JsonDocument.Parse(got.Stdout).RootElement.Clone();
    }

    public async Task WaitAttachedAsync(int count, CancellationToken stop) =>
        await EventuallyAsync($"{count} hosts attached", TimeSpan.FromSeconds(60), async () =>
            (await CliAsync(stop, "nodes", "list", "-o", "json")).Stdout.Split("\"Attached\"").Length - 1 >= count, stop);

    /// <summary>Why a member is not as wanted, as its host says itself (`agentmetal local why`); empty while it does not answer.</summary>
    public static async Task<string> WhyAsync(LabHost host, string name, CancellationToken stop)
    {
        var said = await host.RunAsync(["env", "NO_COLOR=1", "COLUMNS=2000", HostCli, "local", "why", "redis/" + name], cancellationToken: stop);
        return said.Succeeded ? said.Stdout : "";
    }

    /// <summary>Deletes a resource with its data, signing what has to be signed, and waits until it is gone.</summary>
    public async Task RemoveAsync(string name, CancellationToken stop)
    {
        await CliAsync(stop, "delete", "redis", name, "--yes", "--no-wait");
        await EventuallyAsync($"{name} is gone", TimeSpan.FromSeconds(90), async () =>
        {
            if ((await CliAsync(stop, "approve", "--list", "-o", "json")).Stdout.Contains($"\"Redis default/{name}\"", StringComparison.Ordinal))
                await CliAsync(stop, "approve", "redis/" + name, "--yes", "--reason", "test");
            return (await CliAsync(stop, "get", "redis", name)).ExitCode == 3;
        }, stop);
    }

    /// <summary>The units of members on a host, by name.</summary>
    public static async Task<string[]> MemberUnitsAsync(LabHost host, string resource, CancellationToken stop) =>
        (await host.ShellAsync($"systemctl list-units --all --plain --no-legend 'agentmetal-redis-*-{resource}-*' | cut -d' ' -f1", stop)).Split('\n', StringSplitOptions.RemoveEmptyEntries);

    public async Task<(LabHost Host, string Unit)[]> MembersAsync(string resource, CancellationToken stop)
    {
        List<(LabHost, string)> all = [];
        foreach (var host in Lab.Hosts)
            foreach (var unit in await MemberUnitsAsync(host, resource, stop)) all.Add((host, unit));
        return [.. all];
    }

    /// <summary>redis-cli on the host, with the password of the member that has this port.</summary>
    public static async Task<string> RedisAsync(LabHost host, int port, string command, CancellationToken stop) =>
        (await host.ShellAsync($"""
            conf=$(grep -lx 'port {port}' /etc/agentmetal/redis/*/redis.conf) || exit 1
            REDISCLI_AUTH=$(sed -n 's/^requirepass //p' "$(dirname "$conf")/auth.conf" | tr -d '"') redis-cli --no-auth-warning -p {port} {command}
            """, stop)).Trim();

    /// <summary>As the other, and a failure shows what the daemon of that host wrote last.</summary>
    public static async Task EventuallyAsync(LabHost on, string what, TimeSpan within, Func<Task<bool>> holds, CancellationToken stop)
    {
        var until = Stopwatch.StartNew();
        while (!await holds())
        {
            if (until.Elapsed > within)
                Assert.Fail($"not within {within.TotalSeconds:0} s: {what}\n{await on.ShellAsync("journalctl -u agentmetald -o short -n 40 --no-pager", stop)}");
            await Task.Delay(200, stop);
        }
    }

    public static async Task EventuallyAsync(string what, TimeSpan within, Func<Task<bool>> holds, CancellationToken stop)
    {
        var until = Stopwatch.StartNew();
        while (true)
        {
            if (await holds()) return;
            if (until.Elapsed > within) Assert.Fail($"not within {within.TotalSeconds:0} s: {what}");
            await Task.Delay(200, stop);
        }
    }

    public async ValueTask DisposeAsync()
    {
        await KillCoordinatorAsync();
        await Lab.DisposeAsync();
        Directory.Delete(directory, recursive: true);
    }

    /// <summary>Lets a host in that the fleet does not know, under the name that it has in the lab.</summary>
    public async Task JoinAsync(LabHost host, CancellationToken stop)
    {
        var token = (await CliAsync(stop, "join-token", "create", "--name", host.Name, "--label", "site=lab", "--label", "host=" + host.Name, "-o", "raw")).OrThrow().Stdout.Trim();
        await host.ShellAsync("ln -sf /usr/lib/agentmetal/agentmetald /usr/bin/agentmetald && cp /usr/share/agentmetal/agentmetald.service /etc/systemd/system/ && systemctl daemon-reload", stop);
        var joined = await host.RunAsync(["agentmetald", "join", "--coordinator", Lab.GatewayAddress + ":7443", "--token-file", "-", "--name", host.Name, "--label", "site=lab", "--label", "host=" + host.Name], stdin: Encoding.UTF8.GetBytes(token + "\n"), cancellationToken: stop);
        joined.OrThrow();
        // A daemon that does not start says why in its log only.
        var started = await host.RunAsync(["sh", "-c", "systemctl enable --now agentmetald || { journalctl -u agentmetald --no-pager | tail -n 20 >&2; exit 1; }"], cancellationToken: stop);
        started.OrThrow();
    }

    private static string RepositoryRoot([System.Runtime.CompilerServices.CallerFilePath] string here = "")
    {
        for (var at = Path.GetDirectoryName(here); at is not null; at = Path.GetDirectoryName(at))
            if (File.Exists(Path.Combine(at, "AgentMetal.Edge.sln"))) return at;
        throw new InvalidOperationException("AgentMetal.Edge.sln is in no parent of " + here);
    }
}

/// <summary>The fleet that every test of this assembly shares; made when the first asks for it.</summary>
public sealed class SharedFleet : IAsyncDisposable
{
    private Fleet? fleet;

    /// <summary>Healed, every host running, the coordinator up.</summary>
    public async Task<Fleet> GetAsync()
    {
        await SharedLab.RequireCapabilityAsync();
        var stop = TestContext.Current.CancellationToken;
        if (fleet is null) return fleet = await Fleet.StartAsync(stop, more: [new(await VmImages.DirectoryAsync("busybox", stop), VmImages.OnHosts)]);
        await fleet.Lab.HealAsync(stop);
        foreach (var host in fleet.Lab.Hosts) await host.StartAsync(stop);
        return fleet;
    }

    public async ValueTask DisposeAsync()
    {
        if (fleet is not null) await fleet.DisposeAsync();
    }
}
