using System.Diagnostics;
using System.Globalization;
using System.Net;
using System.Net.Sockets;
using AgentMetal.Testing;

namespace AgentMetal.Benchmarks;

/// <summary>A coordinator as it is shipped, on loopback, with an operator's home and nothing else.</summary>
internal sealed class ControlPlane : IAsyncDisposable
{
    private static readonly string s_artifacts = Path.Combine(BenchmarkReport.Root, "artifacts");
    private static readonly HttpClient s_http = new();

    private readonly int _port = FreePort();
    private readonly int _metricsPort = FreePort();
    private Process? _coordinator;

    private ControlPlane(string directory) => Directory = directory;

    /// <summary>Its own; goes with it.</summary>
    public string Directory { get; }

    public Uri Address => new($"https://127.0.0.1:{_port}");

    public static async Task<ControlPlane> StartAsync(CancellationToken stop)
    {
        (await CommandRunner.RunAsync([Path.Combine(BenchmarkReport.Root, "packaging/build.sh")], TimeSpan.FromMinutes(20), cancellationToken: stop)).OrThrow();
        var control = new ControlPlane(System.IO.Directory.CreateTempSubdirectory("agentmetal-bench-").FullName);
        try
        {
            var bundle = Path.Combine(control.Directory, "bundle");
            (await control.CliAsync(stop, "init", "--coordinator", "control", "--address", "127.0.0.1", "--port", Text(control._port), "--bundle", bundle)).OrThrow();
            control._coordinator = Process.Start(new ProcessStartInfo(Path.Combine(s_artifacts, "coordinator", "agentmetal-coordinator"))
            {
                ArgumentList = { "--data", Path.Combine(control.Directory, "data"), "--identity", bundle, "--listen", "127.0.0.1:" + Text(control._port), "--metrics", "127.0.0.1:" + Text(control._metricsPort) },
                RedirectStandardOutput = true,
                RedirectStandardError = true,
            })!;
            _ = control._coordinator.StandardOutput.BaseStream.CopyToAsync(Stream.Null, CancellationToken.None);
            _ = control._coordinator.StandardError.BaseStream.CopyToAsync(Console.OpenStandardError(), CancellationToken.None);
            var watch = Stopwatch.StartNew();
            while (!(await control.CliAsync(stop, "nodes", "list", "-o", "json")).Succeeded)
            {
                if (watch.Elapsed > TimeSpan.FromSeconds(60)) throw new LabException("the coordinator did not answer within 60 s");
                await Task.Delay(200, stop);
            }
            return control;
        }
        catch
        {
            await control.DisposeAsync();
            throw;
        }
    }

    public Task<CommandResult> CliAsync(CancellationToken stop, params string[] arguments) =>
        CommandRunner.RunAsync([Cli, .. arguments], TimeSpan.FromMinutes(3), environment: Home, cancellationToken: stop);

    /// <summary>The CLI, running; its streams are redirected.</summary>
    public Process StartCli(params string[] arguments)
    {
        var start = new ProcessStartInfo(Cli, arguments) { RedirectStandardOutput = true, RedirectStandardError = true };
        foreach (var (name, value) in Home) start.Environment[name] = value;
        return Process.Start(start)!;
    }

    /// <summary>How many resources are Ready, by the coordinator's own metrics.</summary>
    public async Task<int> ReadyAsync(CancellationToken stop)
    {
        var metrics = await s_http.GetStringAsync(new Uri($"http://127.0.0.1:{_metricsPort}/metrics"), stop);
        return metrics.Split('\n').Where(l => l.StartsWith("agentmetal_resources{", StringComparison.Ordinal) && l.Contains("ready=\"True\"", StringComparison.Ordinal))
            .Sum(l => int.Parse(l[(l.LastIndexOf(' ') + 1)..], CultureInfo.InvariantCulture));
    }

    /// <summary>Of the coordinator, a line of proc_pid_status(5).</summary>
    public double ResidentMib(string line) => StatusMib(_coordinator!.Id, line);

    /// <summary>The coordinator's high-water mark starts again at what is resident now (proc_pid_clear_refs(5)).</summary>
    public void ForgetPeak() => File.WriteAllText($"/proc/{_coordinator!.Id}/clear_refs", "5");

    /// <summary>0 when the process is gone.</summary>
    public static double StatusMib(int pid, string line)
    {
        try
        {
            var found = File.ReadLines($"/proc/{pid}/status").FirstOrDefault(l => l.StartsWith(line, StringComparison.Ordinal));
            return found is null ? 0 : double.Parse(found[line.Length..].Replace("kB", "", StringComparison.Ordinal).Trim(), CultureInfo.InvariantCulture) / 1024;
        }
        catch (IOException) { return 0; }
    }

    public async ValueTask DisposeAsync()
    {
        if (_coordinator is { HasExited: false })
        {
            _coordinator.Kill();
            await _coordinator.WaitForExitAsync();
        }
        _coordinator?.Dispose();
        System.IO.Directory.Delete(Directory, recursive: true);
    }

    private static string Cli => Path.Combine(s_artifacts, "cli", "agentmetal");

    private Dictionary<string, string> Home => new() { ["AGENTMETAL_HOME"] = Path.Combine(Directory, "home"), ["NO_COLOR"] = "1" };

    private static string Text(int number) => number.ToString(CultureInfo.InvariantCulture);

    private static int FreePort()
    {
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        return ((IPEndPoint)listener.LocalEndpoint).Port;
    }
}
