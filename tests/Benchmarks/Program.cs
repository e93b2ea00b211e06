using System.Globalization;
using AgentMetal.LabTests.Fleets;
using AgentMetal.Testing;

namespace AgentMetal.Benchmarks;

/// <summary>
/// What is shipped, measured on the hosts of the lab beside the peers that people know, in one run; see README.md. It prints a table and writes
/// artifacts/benchmarks/results.json. It judges nothing: an aim that is missed is printed beside what was measured.
/// </summary>
internal static class Program
{
    private static async Task<int> Main(string[] args)
    {
        var (options, problem) = BenchmarkOptions.Parse(args);
        if (options is null)
        {
            Console.Error.WriteLine(problem);
            return 2;
        }
        using var stopping = new CancellationTokenSource(TimeSpan.FromHours(2));
        Console.CancelKeyPress += (_, e) =>
        {
            e.Cancel = true;
            stopping.Cancel();
        };
        var report = new BenchmarkReport(options);
        try
        {
            if (options.Wants("idle") || options.Wants("start") || options.Wants("repairs")) await OnHostsAsync(options, report, stopping.Token);
            if (options.Wants("instance")) await InstanceBenchmark.RunAsync(report, stopping.Token);
            if (options.Wants("instance-idle")) await InstanceIdleBenchmark.RunAsync(options, report, stopping.Token);
            if (options.Wants("plan")) await PlanBenchmark.RunAsync(options, report, stopping.Token);
        }
        finally
        {
            // Also after a failure: what was measured until then is worth its minutes.
            report.Print();
            report.Save();
        }
        return 0;
    }

    private static async Task OnHostsAsync(BenchmarkOptions options, BenchmarkReport report, CancellationToken stop)
    {
        await using var fleet = await Fleet.StartAsync(stop);
        var (ours, theirs) = (fleet.Lab.Hosts[0], fleet.Lab.Hosts[1]);
        var members = new Members(fleet, ours);
        await members.ApplyAsync(1, stop);
        if (options.Wants("start")) await StartBenchmark.RunAsync(ours, 1, report, stop);
        if (options.Members > 1) await members.ApplyAsync(options.Members, stop);
        if (options.Wants("start") && options.Members > 1) await StartBenchmark.RunAsync(ours, options.Members, report, stop);
        if (!options.Wants("idle") && !options.Wants("repairs")) return;

        var monit = new MonitPeer(theirs, options.Members);
        var hasMonit = await monit.StartAsync(report, stop);
        // Three daemons on one machine share the pages of their program, which a real host's has for itself.
        foreach (var other in fleet.Lab.Hosts.Skip(1)) await other.ShellAsync("systemctl stop agentmetald", stop);
        if (options.Wants("idle")) await IdleBenchmark.RunAsync(ours, theirs, hasMonit, options, report, stop);
        if (!options.Wants("repairs")) return;
        if (hasMonit) await theirs.ShellAsync("systemctl stop bench-monit", stop);
        await RepairBenchmark.RunAsync("agentmetald", ours, await members.TargetsAsync(options.Members, stop), options, report, stop);
        if (!hasMonit) return;
        await monit.WatchAsync(stop);
        await RepairBenchmark.RunAsync("monit", theirs, monit.Targets, options, report, stop);
    }
}

/// <summary>What the command line asks for.</summary>
internal sealed record BenchmarkOptions
{
    private const string Usage = """
        Benchmarks [--only idle,start,repairs,plan,instance,instance-idle] [--members N] [--repairs N] [--lanes N] [--resources N] [--idle-seconds N]
          --only          which of them; default all
          --members       Redis members on the watched host, 1 to 200; default 50
          --repairs       of each kind and peer, 1 to 10000; default 20, 200 for a record
          --lanes         members that are harmed at the same time, 1 to 50; default 8
          --resources     unchanged resources of the plan, 1 to 20000; default 10000
          --idle-seconds  length of each idle window, 10 to 3600; default 60
        """;

    private static readonly string[] s_sections = ["start", "idle", "repairs", "plan", "instance", "instance-idle"];

    public IReadOnlyList<string> Only { get; init; } = s_sections;

    public int Members { get; init; } = 50;

    public int Repairs { get; init; } = 20;

    public int Lanes { get; init; } = 8;

    public int Resources { get; init; } = 10_000;

    public int IdleSeconds { get; init; } = 60;

    public bool Wants(string section) => Only.Contains(section);

    /// <summary>The options, or what is wrong with them.</summary>
    public static (BenchmarkOptions? Options, string Problem) Parse(string[] args)
    {
        var options = new BenchmarkOptions();
        for (var i = 0; i < args.Length; i += 2)
        {
            var (name, value) = (args[i], i + 1 < args.Length ? args[i + 1] : "");
            if (name == "--only")
            {
                options = options with { Only = value.Split(',') };
                if (options.Only.All(s_sections.Contains)) continue;
                return (null, $"--only {value}: there are {string.Join(", ", s_sections)}");
            }
            var (least, most) = name switch
            {
                "--members" => (1, 200),
                "--repairs" => (1, 10_000),
                "--lanes" => (1, 50),
                "--resources" => (1, 20_000),
                "--idle-seconds" => (10, 3600),
                _ => (0, -1),
            };
            if (most < 0) return (null, Usage);
            if (!int.TryParse(value, NumberStyles.None, CultureInfo.InvariantCulture, out var number) || number < least || number > most) return (null, $"{name} {value}: want {least} to {most}");
            options = name switch
            {
                "--members" => options with { Members = number },
                "--repairs" => options with { Repairs = number },
                "--lanes" => options with { Lanes = number },
                "--resources" => options with { Resources = number },
                _ => options with { IdleSeconds = number },
            };
        }
        return (options, "");
    }
}
