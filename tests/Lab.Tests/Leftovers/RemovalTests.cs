using System.Diagnostics;
using AgentMetal.Testing;

namespace AgentMetal.LabTests.Leftovers;

[Story("fleet", 5)]
public sealed class RemovalTests
{
    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    [Fact]
    public async Task Dispose_RunningLab_RemovesEveryTrace()
    {
        await SharedLab.RequireCapabilityAsync();
        var lab = await Lab.StartAsync(new LabOptions { HostNames = ["gone-1", "gone-2"] }, Cancellation);
        await lab.Hosts[0].SizeLimitedMountAsync("/srv", 65536, Cancellation);
        await lab.Hosts[0].ShellAsync("setsid sleep 600 >/dev/null 2>&1 </dev/null &", Cancellation);
        // The look-up must be able to see every sort of trace, or an empty answer would mean nothing.
        AssertSeesEverySort(await Traces.OfAsync(lab.Index, lab.StateDirectory, Cancellation));

        await lab.DisposeAsync();

        Assert.Empty(await Traces.OfAsync(lab.Index, lab.StateDirectory, Cancellation));
    }

    [Fact]
    public async Task Sweep_LabOfAKilledOwner_RemovesItAndOnlyIt()
    {
        await SharedLab.RequireCapabilityAsync();
        using var owner = Process.Start("sleep", "600");
        using var end = new Ending(owner);
        await using var living = await Lab.StartAsync(new LabOptions { HostNames = ["living"] }, Cancellation);
        await using var orphan = await Lab.StartAsync(new LabOptions { HostNames = ["orphan"], OwnerProcessId = owner.Id }, Cancellation);

        await Lab.SweepAsync(Cancellation);
        Assert.True((await orphan.Hosts[0].RunAsync(["true"], cancellationToken: Cancellation)).Succeeded, "a lab of a living owner was swept");
        owner.Kill();
        await owner.WaitForExitAsync(Cancellation);
        AssertSeesEverySort(await Traces.OfAsync(orphan.Index, orphan.StateDirectory, Cancellation));

        await Lab.SweepAsync(Cancellation);

        Assert.Empty(await Traces.OfAsync(orphan.Index, orphan.StateDirectory, Cancellation));
        Assert.True((await living.Hosts[0].RunAsync(["true"], cancellationToken: Cancellation)).Succeeded, "a lab of a living owner was swept");
    }

    [Fact]
    public async Task Sweep_DirectoryDeletedByHand_RemovesWhatBearsItsMark()
    {
        await SharedLab.RequireCapabilityAsync();
        await using var lab = await Lab.StartAsync(new LabOptions { HostNames = ["lost"] }, Cancellation);
        Directory.Delete(lab.StateDirectory, recursive: true);

        await Lab.SweepAsync(Cancellation);

        Assert.Empty(await Traces.OfAsync(lab.Index, lab.StateDirectory, Cancellation));
    }

    [Fact]
    public async Task Start_NameThatIsNone_SaysWhichAndLeavesNothing()
    {
        await SharedLab.RequireCapabilityAsync();
        var before = Directory.GetDirectories("/sys/class/net");

        var exception = await Assert.ThrowsAsync<LabException>(
            () => Lab.StartAsync(new LabOptions { HostNames = ["fine", "Not_Fine"] }, Cancellation));

        Assert.Contains("'Not_Fine'", exception.Message, StringComparison.Ordinal);
        // Labs of other processes come and go meanwhile.
        Assert.DoesNotContain(Directory.GetDirectories("/sys/class/net").Except(before), path => Traces.IsOfThisProcess(Path.GetFileName(path)));
    }

    /// <summary>A failed assertion must not leave the process behind: it holds our standard streams.</summary>
    private sealed class Ending(Process process) : IDisposable
    {
        public void Dispose() => process.Kill();
    }

    private static void AssertSeesEverySort(IReadOnlyList<string> traces)
    {
        foreach (var sort in new[] { "interface ", "group ", "process ", "table ", "directory " })
            Assert.Contains(traces, trace => trace.StartsWith(sort, StringComparison.Ordinal));
    }
}
