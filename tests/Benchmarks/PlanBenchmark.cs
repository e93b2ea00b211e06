using System.Diagnostics;
using System.Globalization;
using AgentMetal.Testing;

namespace AgentMetal.Benchmarks;

/// <summary>
/// <c>agentmetal plan -f DIRECTORY</c> where all of it is applied already: the native CLI and a real coordinator over mTLS on loopback. Every resource is
/// placed on a host and reported as converged; the hosts are stand-ins, because an unchanged plan asks none of them.
/// </summary>
internal static class PlanBenchmark
{
    private const int Hosts = 20;
    private const int FirstPort = 10_000;
    private const int PerFile = 1_000;
    private const int Plans = 10;
    private static readonly TimeSpan Placing = TimeSpan.FromMinutes(20);

    public static async Task RunAsync(BenchmarkOptions options, BenchmarkReport report, CancellationToken stop)
    {
        await using var control = await ControlPlane.StartAsync(stop);
        var hosts = new List<StandInHost>();
        try
        {
            for (var i = 0; i < Hosts; i++) hosts.Add(await StandInHost.AttachAsync(control, i, stop));
            var files = Directory.CreateDirectory(Path.Combine(control.Directory, "fleet")).FullName;
            WriteFiles(files, options.Resources);
            var watch = Stopwatch.StartNew();
            (await control.CliAsync(stop, "apply", "-f", files, "--no-wait", "-o", "name", "--timeout", "3m")).OrThrow();
            report.Add("plan", "agentmetal", $"apply of {options.Resources} new resources", "s", watch.Elapsed.TotalSeconds);
            while (await control.ReadyAsync(stop) is var ready && ready < options.Resources)
            {
                if (watch.Elapsed > Placing) throw new LabException($"{ready} of {options.Resources} resources were Ready within {Placing.TotalMinutes:0} minutes");
                await Task.Delay(TimeSpan.FromSeconds(5), stop);
            }
            report.Add("plan", "coordinator", $"until all {options.Resources} were placed and Ready", "s", watch.Elapsed.TotalSeconds);
            await MeasureAsync(control, files, options.Resources, report, stop);
            report.Note("plan: no peer that plans against a live state (terraform, kubectl diff) can be had on this machine");
        }
        finally
        {
            foreach (var host in hosts) await host.DisposeAsync();
        }
    }

    private static async Task MeasureAsync(ControlPlane control, string files, int resources, BenchmarkReport report, CancellationToken stop)
    {
        report.Add("plan", "coordinator", $"resident, idle with {resources} resources", "MiB", control.ResidentMib("VmRSS:"));
        List<double> took = [], cli = [], coordinator = [];
        for (var i = 0; i < Plans; i++)
        {
            control.ForgetPeak();
            var (elapsed, peak) = await PlanAsync(control, files, resources, stop);
            took.Add(elapsed.TotalSeconds);
            cli.Add(peak);
            coordinator.Add(control.ResidentMib("VmHWM:"));
        }
        report.Add("plan", "agentmetal", $"plan of {resources} unchanged, wall", "s", took, "1");
        report.Add("plan", "agentmetal", $"plan of {resources} unchanged, peak resident of the CLI", "MiB", cli, "150");
        report.Add("plan", "coordinator", $"plan of {resources} unchanged, peak resident", "MiB", coordinator);
    }

    private static async Task<(TimeSpan Took, double PeakMib)> PlanAsync(ControlPlane control, string files, int resources, CancellationToken stop)
    {
        var watch = Stopwatch.StartNew();
        using var process = control.StartCli("plan", "-f", files, "--detailed-exitcode", "--timeout", "3m");
        var said = process.StandardOutput.ReadToEndAsync(stop);
        var complained = process.StandardError.ReadToEndAsync(stop);
        // The high-water mark only grows, so the last look before the end has it.
        double peak = 0;
        while (!process.WaitForExit(2)) peak = Math.Max(peak, ControlPlane.StatusMib(process.Id, "VmHWM:"));
        var took = watch.Elapsed;
        if (process.ExitCode != 0) throw new LabException($"plan ended with exit code {process.ExitCode}: {await complained}");
        if (!(await said).Contains("Nothing to change", StringComparison.Ordinal)) throw new LabException($"a plan of {resources} unchanged resources found something to do");
        return (took, peak);
    }

    private static void WriteFiles(string directory, int resources)
    {
        for (var first = 0; first < resources; first += PerFile)
        {
            var documents = Enumerable.Range(first, Math.Min(PerFile, resources - first)).Select(i => string.Create(CultureInfo.InvariantCulture, $$"""
                apiVersion: agentmetal.io/v1
                kind: Redis
                metadata:
                  name: cache-{{i}}
                  labels: { team: team-{{i % 40}} }
                spec:
                  port: {{FirstPort + i}}
                  memory: { max: 256Mi, policy: allkeys-lru }

                """));
            File.WriteAllText(Path.Combine(directory, string.Create(CultureInfo.InvariantCulture, $"caches-{first / PerFile:00}.yaml")), string.Join("---\n", documents));
        }
    }
}
