using System.Globalization;

namespace AgentMetal.LabTests.Hosts;

/// <summary>Limits of systemd units, asserted by what they do: a limit that is only reported is no limit.</summary>
[Story("lab", 5)]
public sealed class LimitTests(SharedLab shared)
{
    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    [Theory]
    [InlineData("32M", false)]
    [InlineData("400M", true)]
    public async Task MemoryMax_ProcessOf100MiB_IsKilledOnlyBelowIt(string limit, bool survives)
    {
        var host = (await shared.GetAsync())["edge-1"];

        var result = await host.RunAsync(
            ["systemd-run", "-q", "--wait", "-p", $"MemoryMax={limit}", "-p", "MemorySwapMax=0", "sh", "-c", "head -c 100M /dev/zero | tail -c 100M >/dev/null"],
            cancellationToken: Cancellation);

        Assert.Equal(survives, result.Succeeded);
    }

    [Theory]
    [InlineData("4", false)]
    [InlineData("100", true)]
    public async Task TasksMax_TenProcesses_ForkOnlyBelowIt(string limit, bool succeeds)
    {
        var host = (await shared.GetAsync())["edge-1"];

        var result = await host.RunAsync(
            ["systemd-run", "-q", "--wait", "-p", $"TasksMax={limit}", "bash", "-c", "for i in 1 2 3 4 5 6 7 8 9 10; do sleep 1 & done 2>&1; [ $(jobs -p | wc -l) = 10 ]"],
            cancellationToken: Cancellation);

        Assert.Equal(succeeds, result.Succeeded);
    }

    [Theory]
    [InlineData("10%", true)]
    [InlineData("150%", false)]
    public async Task CpuQuota_BusyLoop_IsThrottledOnlyByASmallOne(string quota, bool throttled)
    {
        var host = (await shared.GetAsync())["edge-1"];
        const string Loop = """
            end=$(( $(date +%s%N) + 600000000 )); while [ $(date +%s%N) -lt $end ]; do :; done
            grep ^nr_throttled /sys/fs/cgroup/cpu/system.slice/lab-quota.service/cpu.stat || grep ^nr_throttled /sys/fs/cgroup/system.slice/lab-quota.service/cpu.stat
            """;

        var result = (await host.RunAsync(
            ["systemd-run", "-q", "--wait", "--pipe", "--unit=lab-quota", "-p", $"CPUQuota={quota}", "bash", "-c", Loop],
            cancellationToken: Cancellation)).OrThrow();

        var count = int.Parse(result.Stdout.Trim().Split(' ')[1], CultureInfo.InvariantCulture);
        Assert.Equal(throttled, count > 0);
    }
}
