using System.Globalization;

namespace AgentMetal.LabTests.Fleets;

/// <summary>
/// Lives of a resource in which agentmetald dies at one journal boundary of each operation: a seeded sample, or with AGENTMETAL_SOAK=1 every boundary there is.
/// </summary>
/// <param name="limit">No operation has more boundaries than this; the last life of a soak proves it.</param>
/// <param name="operations">In order, each with the boundaries that every run of it reaches on at least one host (two a commit: before and after it is on the disk),
/// so that a sample from them always kills. A soak goes on until one is not reached.</param>
internal sealed class CrashLives(int limit, params (string Operation, int Sure)[] operations)
{
    // What a soak has found: the first boundary of an operation that was not reached.
    private readonly Dictionary<string, int> beyond = [];

    public static bool Soak => Environment.GetEnvironmentVariable("AGENTMETAL_SOAK") == "1";

    public TheoryData<int, string> Data(int sample)
    {
        var lives = new TheoryData<int, string>();
        var random = new Random(int.TryParse(Environment.GetEnvironmentVariable("AGENTMETAL_SEED"), out var seed) ? seed : 1);
        for (var life = 1; life <= (Soak ? limit : sample); life++)
            lives.Add(life, string.Join(' ', operations.Select(o => $"{o.Operation}@{(Soak ? life : random.Next(1, o.Sure + 1))}")));
        return lives;
    }

    /// <summary>The boundary of each operation, 0 = past the last one; null when there is nothing left to kill.</summary>
    public Dictionary<string, int>? At(int life, string boundaries)
    {
        var at = boundaries.Split(' ').Select(b => b.Split('@')).ToDictionary(p => p[0], p => int.Parse(p[1], CultureInfo.InvariantCulture));
        foreach (var operation in at.Keys.Where(o => beyond.TryGetValue(o, out var end) && end <= at[o])) at[operation] = 0;
        Assert.True(life < limit || at.Values.All(b => b == 0), $"an operation has more than {limit} boundaries: raise the limit");
        return at.Values.All(b => b == 0) ? null : at;
    }

    /// <summary>In a sample a boundary that nobody reaches proves nothing; in a soak it is the end of the operation.</summary>
    public void Reached(string operation, int boundary, int killed)
    {
        TestContext.Current.TestOutputHelper?.WriteLine($"{operation}@{boundary}: {killed} daemons killed");
        if (killed == 0 && Soak && boundary > operations.First(o => o.Operation == operation).Sure) beyond.TryAdd(operation, boundary);
        else Assert.True(killed > 0, $"{operation}@{boundary}: no daemon came to this boundary");
    }
}

/// <summary>Sets every daemon of a fleet to die at a boundary of an operation, once.</summary>
internal sealed class JournalKills(Fleet fleet, CrashLives lives, Dictionary<string, int> at, CancellationToken stop)
{
    private const string Once = "/run/agentmetal-crash-once";
    private const string DropIn = "/run/systemd/system/agentmetald.service.d";

    /// <summary>The operation and its boundary, for messages.</summary>
    public string Doing { get; private set; } = "";

    public async Task DuringAsync(string operation, Func<Task> work)
    {
        Doing = $"{operation}@{at[operation]}";
        if (at[operation] > 0)
        {
            await OnEveryHostAsync($"""
                touch {Once}; mkdir -p {DropIn}
                printf '[Unit]\nStartLimitIntervalSec=0\n[Service]\nRestartSec=100ms\nEnvironment=AGENTMETAL_CRASH_AT={at[operation]} AGENTMETAL_CRASH_ONCE={Once}\n' >{DropIn}/crash.conf
                systemctl daemon-reload; systemctl restart agentmetald
                """);
            await fleet.WaitAttachedAsync(fleet.Lab.Hosts.Count, stop);
        }
        await work();
        if (at[operation] == 0) return;
        var alive = 0;
        foreach (var host in fleet.Lab.Hosts)
            if ((await host.RunAsync(["test", "-e", Once], cancellationToken: stop)).Succeeded) alive++;
        lives.Reached(operation, at[operation], fleet.Lab.Hosts.Count - alive);
    }

    /// <summary>Daemons as they were, also after a failure.</summary>
    public async Task EndAsync()
    {
        await OnEveryHostAsync($"rm -rf {DropIn} {Once}; systemctl daemon-reload; systemctl restart agentmetald");
        await fleet.WaitAttachedAsync(fleet.Lab.Hosts.Count, stop);
    }

    private Task OnEveryHostAsync(string script) => Task.WhenAll(fleet.Lab.Hosts.Select(h => h.ShellAsync(script, stop)));
}
