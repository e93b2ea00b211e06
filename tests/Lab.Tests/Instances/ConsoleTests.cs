using AgentMetal.LabTests.Fleets;
using AgentMetal.Testing;

namespace AgentMetal.LabTests.Instances;

/// <summary>A person types into a machine and reads its answer, on its host and from far.</summary>
[Story("instance", 60)]
public sealed class ConsoleTests(SharedFleet shared)
{
    private static readonly TimeSpan Boot = TimeSpan.FromMinutes(3);

    [Fact]
    public async Task Console_OnTheHost_WorksWithNoCoordinatorAndBelongsToOneAtATime()
    {
        var stop = TestContext.Current.CancellationToken;
        var fleet = await shared.GetAsync();
        (await fleet.ApplyAsync(await Machines.ImagesAsync(stop) + Machines.Small("spoken"), stop)).OrThrow();
        var (host, _) = await Machines.WhereAsync(fleet, "spoken", stop);
        await Machines.SaysAsync(host, "spoken", "ready ", 1, Boot, stop);
        await fleet.KillCoordinatorAsync();
        try
        {
            var said = (await LocalAsync(host, "echo $((6*7))-of-the-guest\n", stop)).OrThrow().Stdout;
            Assert.Contains("42-of-the-guest", said, StringComparison.Ordinal);
            Assert.Contains("agentmetal-vm ready", said, StringComparison.Ordinal); // The last lines of its log come first.
            Assert.DoesNotContain('\u001b', said);

            // One that stays open: its input does not end.
            await host.ShellAsync($"systemd-run -q --unit=first-console sh -c 'sleep 600 | {Fleet.HostCli} local console instance/spoken --lines 0 >/run/first 2>&1'", stop);
            CommandResult second = null!;
            await Fleet.EventuallyAsync(host, "the console is held", TimeSpan.FromSeconds(90), async () => !(second = await LocalAsync(host, "\n", stop)).Succeeded, stop);
            Assert.Contains("is open already, by root on this host since", second.Stderr, StringComparison.Ordinal);
            Assert.Contains("--force", second.Stderr, StringComparison.Ordinal);

            Assert.Contains("taken-42", (await LocalAsync(host, "echo taken-$((6*7))\n", stop, "--force")).OrThrow().Stdout, StringComparison.Ordinal);
            await Fleet.EventuallyAsync(host, "the first is told", TimeSpan.FromSeconds(90), async () =>
                (await host.ShellAsync("cat /run/first", stop)).Contains("took the console by force", StringComparison.Ordinal), stop);
            await host.ShellAsync("systemctl stop first-console; rm /run/first", stop);
        }
        finally { await fleet.StartCoordinatorAsync(stop); }
        await fleet.WaitAttachedAsync(3, stop);

        var chain = (await fleet.CliAsync(stop, "audit", "--chain", host.Name, "-o", "json")).OrThrow().Stdout;
        Assert.Contains("ConsoleOpened", chain, StringComparison.Ordinal);
        Assert.Contains("ConsoleClosed", chain, StringComparison.Ordinal);
        Assert.DoesNotContain("of-the-guest", chain, StringComparison.Ordinal);

        await Machines.RemoveAsync(fleet, stop, "spoken");
    }

    [Fact]
    public async Task Console_FromFar_IsTheOperatorsAloneAndLeavesOnATerminalAsItCame()
    {
        var stop = TestContext.Current.CancellationToken;
        var fleet = await shared.GetAsync();
        (await fleet.ApplyAsync(await Machines.ImagesAsync(stop) + Machines.Small("afar"), stop)).OrThrow();
        var (host, _) = await Machines.WhereAsync(fleet, "afar", stop);
        await Machines.SaysAsync(host, "afar", "ready ", 1, Boot, stop);
        var said = (await fleet.CliAsync("echo $((6*7))-from-afar\n", stop, "console", "instance/afar", "--wait", "5s")).OrThrow().Stdout;
        Assert.Contains("42-from-afar", said, StringComparison.Ordinal);
        Assert.Contains("agentmetal-vm ready", said, StringComparison.Ordinal);

        // A terminal of the kernel's, made by script(1): what is typed goes as it is typed, Ctrl-] leaves, and the terminal is as it was.
        var typed = (await TerminalAsync(fleet, "printf 'echo typed-$((6*7))\\r'; sleep 5; printf '\\035'", "instance/afar --lines 0", stop)).OrThrow().Stdout;
        Assert.Contains("Ctrl-] leaves.", typed, StringComparison.Ordinal);
        Assert.Contains("typed-42", typed, StringComparison.Ordinal);
        Assert.Contains("Left the console of instance/afar on " + host.Name, typed, StringComparison.Ordinal);
        Assert.Contains("terminal as before", typed, StringComparison.Ordinal);

        // Everybody can see who opened it, and nobody what went through it.
        var (code, events, chain) = (await fleet.CliAsync("", stop, "console", "instance/nobody"), await fleet.CliAsync(stop, "events", "--for", "instance/afar"), await fleet.CliAsync(stop, "audit", "--chain", host.Name, "-o", "json"));
        Assert.Equal(3, code.ExitCode);
        Assert.Contains("ConsoleOpened", events.Stdout, StringComparison.Ordinal);
        Assert.Contains("ConsoleClosed", events.Stdout, StringComparison.Ordinal);
        Assert.Contains("ConsoleOpened", chain.Stdout, StringComparison.Ordinal);
        Assert.DoesNotContain("from-afar", chain.Stdout + events.Stdout, StringComparison.Ordinal);

        // A machine that is off has none, and the words say what next.
        (await fleet.ApplyAsync(Machines.Small("afar", more: ", power: stopped"), stop)).OrThrow();
        await Fleet.EventuallyAsync(host, "the machine is off", TimeSpan.FromMinutes(2), async () => await Machines.FindAsync(host, "afar", stop) is null, stop);
        var off = await fleet.CliAsync("", stop, "console", "instance/afar");
        Assert.Equal(1, off.ExitCode);
        Assert.Contains("is off", off.Stderr, StringComparison.Ordinal);
        await Machines.RemoveAsync(fleet, stop, "afar");
    }

    /// <summary>Runs the console of the CLI on a terminal into which a script types, and compares the terminal's settings before and after.</summary>
    private static Task<CommandResult> TerminalAsync(Fleet fleet, string typing, string arguments, CancellationToken stop) =>
        CommandRunner.RunAsync(["sh", "-c", $"""(sleep 3; {typing}; sleep 3) | script -qec "$INNER" /dev/null"""], TimeSpan.FromMinutes(1), environment: new Dictionary<string, string>
        {
            ["INNER"] = $"""before=$(stty -g); '{fleet.Cli}' console {arguments} 2>&1; [ "$before" = "$(stty -g)" ] && echo 'terminal as before'""",
            ["AGENTMETAL_HOME"] = fleet.Home,
            ["NO_COLOR"] = "1",
            ["TERM"] = "xterm",
            ["SHELL"] = "/bin/sh",
        }, cancellationToken: stop);

    private static Task<CommandResult> LocalAsync(LabHost host, string typed, CancellationToken stop, params string[] more) =>
        host.RunAsync(["env", "NO_COLOR=1", Fleet.HostCli, "local", "console", "instance/spoken", "--wait", "5s", .. more], stdin: System.Text.Encoding.UTF8.GetBytes(typed), cancellationToken: stop);
}
