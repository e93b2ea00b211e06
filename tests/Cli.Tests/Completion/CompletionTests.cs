using System.Diagnostics;
using AgentMetal.Cli.Completion;
using AgentMetal.Cli.Tests.Support;
using Xunit;

namespace AgentMetal.Cli.Tests.Completion;

public sealed class CompletionTests
{
    [Fact]
    public async Task Completion_Bash_IsValidSyntax()
    {
        var paper = new Paper();
        Assert.Equal(0, await paper.RunAsync("completion", "bash"));
        using var bash = Process.Start(new ProcessStartInfo("bash", "-n") { RedirectStandardInput = true, RedirectStandardError = true })!;
        await bash.StandardInput.WriteAsync(paper.Out);
        bash.StandardInput.Close();
        var complaint = await bash.StandardError.ReadToEndAsync(TestContext.Current.CancellationToken);
        await bash.WaitForExitAsync(TestContext.Current.CancellationToken);
        Assert.Equal("", complaint);
        Assert.Equal(0, bash.ExitCode);
    }

    [Fact]
    public async Task Completion_UnknownShell_IsBadInput() => Assert.Equal(2, await new Paper().RunAsync("completion", "tcsh"));

    [Fact]
    public void Words_AfterCommand_AreItsWords()
    {
        Assert.Contains("describe", CompletionCommand.Words(new Paper().Screen, 13, "agentmetal de"));
        Assert.Contains("--all-projects", CompletionCommand.Words(new Paper().Screen, 17, "agentmetal get --"));
        Assert.Contains("redis.spec.persistence.appendfsync", CompletionCommand.Words(new Paper().Screen, 28, "agentmetal schema redis.spec"));
    }

    [Fact]
    public void Words_NoHomeAndNoCoordinator_AreSilent()
    {
        var paper = new Paper();
        Assert.Empty(CompletionCommand.Words(paper.Screen, 54, "agentmetal nodes --home /nonexistent/home describe edg"));
        Assert.Equal("", paper.Error);
    }

    [Fact]
    public async Task Words_Nodes_ComeFromTheCoordinator_ButNothingAShellWouldRun()
    {
        await using var fleet = await FakeCoordinator.StartAsync();
        fleet.Script.Nodes.Add(new Proto.V1.Node { Name = "edge-1" });
        fleet.Script.Nodes.Add(new Proto.V1.Node { Name = "edge$(reboot)" });
        var line = $"agentmetal nodes --home {fleet.Home} --coordinator 127.0.0.1:{fleet.Port} describe edg";
        var paper = new Paper(clock: TimeProvider.System);
        // The first handshake may take longer than the 300 ms that Tab may wait.
        for (var i = 0; i < 20; i++)
        {
            var words = CompletionCommand.Words(paper.Screen, line.Length, line).ToArray();
            if (words.Length == 0) continue;
            Assert.Equal(["edge-1"], words);
            return;
        }
        Assert.Fail("no words within 20 tries");
    }
}
