using AgentMetal.NodeAgent.Host.Libvirt;
using AgentMetal.NodeAgent.Host.Processes;
using Microsoft.Extensions.Time.Testing;

namespace AgentMetal.NodeAgent.Tests.Host.Libvirt;

public sealed class HypervisorProbeTests : IDisposable
{
    private static readonly ProcessOutcome Guest = new() { Result = ProcessResult.Exited, ExitCode = 33, Stdout = "OK" };
    private static readonly ProcessOutcome Aborted = new() { Result = ProcessResult.Exited, ExitCode = 134, Stderr = "KVM internal error\nAborted\n" };
    private static readonly ProcessOutcome Hung = new() { Result = ProcessResult.DeadlinePassed };

    private readonly string _directory = Directory.CreateTempSubdirectory("agentmetal-probe-").FullName;
    private readonly FakeTimeProvider _time = new();

    public HypervisorProbeTests()
    {
        File.WriteAllText(Path.Combine(_directory, "qemu"), "one");
        File.WriteAllText(Path.Combine(_directory, "kvm"), "");
    }

    private static CancellationToken Ct => TestContext.Current.CancellationToken;

    private HypervisorOptions Options => new()
    {
        Program = Path.Combine(_directory, "qemu"),
        Device = Path.Combine(_directory, "kvm"),
        Directory = Path.Combine(_directory, "run"),
    };

    public void Dispose() => Directory.Delete(_directory, recursive: true);

    [Fact]
    public async Task Probe_KvmRunsTheGuest_IsKvmAndNothingElseIsTried()
    {
        var machine = new Machine(Guest, Guest);
        var found = await ProbeAsync(machine);
        Assert.Equal(Accelerator.Kvm, found.Accelerator);
        Assert.Equal(["kvm"], machine.Tried);
    }

    [Theory]
    [InlineData(134, "")]
    [InlineData(33, "")]
    [InlineData(0, "OK")]
    public async Task Probe_KvmEndsOtherwiseThanTheGuestWould_IsTcgAndSaysWhy(int exitCode, string output)
    {
        var found = await ProbeAsync(new Machine(new ProcessOutcome { Result = ProcessResult.Exited, ExitCode = exitCode, Stdout = output, Stderr = "first\nlast words\n" }, Guest));
        Assert.Equal(Accelerator.Tcg, found.Accelerator);
        Assert.Contains($"status {exitCode}: last words", found.Why, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Probe_NoDevice_IsTcgWithoutTryingKvm()
    {
        File.Delete(Options.Device);
        var machine = new Machine(Guest, Guest);
        Assert.Equal(Accelerator.Tcg, (await ProbeAsync(machine)).Accelerator);
        Assert.Equal(["tcg"], machine.Tried);
    }

    [Fact]
    public async Task Probe_NothingRuns_IsNoneWithBothReasons()
    {
        var found = await ProbeAsync(new Machine(Aborted, Hung));
        Assert.Equal(Accelerator.None, found.Accelerator);
        Assert.Contains("Aborted", found.Why, StringComparison.Ordinal);
        Assert.Contains("did not end in time", found.Why, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Probe_NoQemu_IsNoneWithTheNextCommandAndRunsNothing()
    {
        File.Delete(Options.Program);
        var machine = new Machine(Guest, Guest);
        var found = await ProbeAsync(machine);
        Assert.Equal(Accelerator.None, found.Accelerator);
        Assert.Contains("apt-get install qemu-system-x86", found.Why, StringComparison.Ordinal);
        Assert.Empty(machine.Tried);
    }

    [Fact]
    public async Task Probe_AskedAgain_AnswersFromMemoryAndAfterARestartFromItsFile()
    {
        var machine = new Machine(Aborted, Guest);
        using (var probe = new HypervisorProbe(machine, Options, _time))
        {
            var first = await probe.ProbeAsync(Ct);
            Assert.Equal(first, await probe.ProbeAsync(Ct));
            Assert.Equal(["kvm", "tcg"], machine.Tried);
            Assert.Equal(first, await ProbeAsync(machine));
        }

        Assert.Equal(["kvm", "tcg"], machine.Tried);
        // The guest's image is gone; what stays is the answer.
        Assert.StartsWith("hypervisor-", Path.GetFileName(Assert.Single(Directory.EnumerateFiles(Options.Directory))), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Probe_QemuReplaced_IsFoundOutAnew()
    {
        var machine = new Machine(Aborted, Guest);
        using var probe = new HypervisorProbe(machine, Options, _time);
        await probe.ProbeAsync(Ct);
        await File.WriteAllTextAsync(Options.Program, "another", Ct);
        await probe.ProbeAsync(Ct);
        Assert.Equal(["kvm", "tcg", "kvm", "tcg"], machine.Tried);
    }

    [Fact]
    public async Task Probe_KvmDidNotEndInTime_IsBelievedForAWhileOnly()
    {
        // It hangs, or the host is busy: the second must not cost a host its KVM until it boots again.
        var machine = new Machine(Hung, Guest);
        using var probe = new HypervisorProbe(machine, Options, _time);
        Assert.Equal(Accelerator.Tcg, (await probe.ProbeAsync(Ct)).Accelerator);
        await probe.ProbeAsync(Ct);
        Assert.Equal(["kvm", "tcg"], machine.Tried);
        Assert.Empty(Directory.EnumerateFiles(Options.Directory));
        _time.Advance(Options.Doubt + TimeSpan.FromSeconds(1));
        machine.Kvm = Guest;
        Assert.Equal(Accelerator.Kvm, (await probe.ProbeAsync(Ct)).Accelerator);
    }

    [Fact]
    public async Task Probe_ManyAskAtOnce_RunsOneGuestAtATime()
    {
        var machine = new Machine(Aborted, Guest);
        using var probe = new HypervisorProbe(machine, Options, _time);
        var all = await Task.WhenAll(Enumerable.Range(0, 16).Select(_ => probe.ProbeAsync(Ct)));
        Assert.Single(all.Distinct());
        Assert.Equal(["kvm", "tcg"], machine.Tried);
    }

    [Fact]
    public async Task Probe_RealQemu_RunsTheGuest()
    {
        var options = new HypervisorOptions { Directory = Options.Directory, Deadline = TimeSpan.FromSeconds(20) };
        Assert.SkipWhen(!File.Exists(options.Program), "qemu-system-x86_64 is not installed");
        using var probe = new HypervisorProbe(new ProcessRunner(TimeProvider.System), options with { Device = "/nonexistent" }, TimeProvider.System);
        var found = await probe.ProbeAsync(Ct);
        Assert.True(found.Accelerator == Accelerator.Tcg, found.Why);
    }

    private async Task<Hypervisor> ProbeAsync(Machine machine)
    {
        using var probe = new HypervisorProbe(machine, Options, _time);
        return await probe.ProbeAsync(Ct);
    }

    /// <summary>A machine on which QEMU ends in a given way; it looks whether the guest it is given is whole.</summary>
    private sealed class Machine(ProcessOutcome kvm, ProcessOutcome tcg) : IProcessRunner
    {
        internal ProcessOutcome Kvm { get; set; } = kvm;

        internal List<string> Tried { get; } = [];

        public Task<ProcessOutcome> RunAsync(ProcessRequest request, CancellationToken ct)
        {
            var accelerator = request.Arguments[request.Arguments.ToList().IndexOf("-accel") + 1];
            var drive = request.Arguments.Single(argument => argument.StartsWith("file=", StringComparison.Ordinal));
            var sector = File.ReadAllBytes(drive["file=".Length..drive.IndexOf(',')]);
            Assert.Equal((512, 0x55, 0xaa), (sector.Length, sector[510], sector[511]));
            Tried.Add(accelerator);
            return Task.FromResult(accelerator == "kvm" ? Kvm : tcg);
        }
    }
}
