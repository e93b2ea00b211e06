using AgentMetal.Cli.CommandLine;
using AgentMetal.Cli.Tests.Support;
using Xunit;

namespace AgentMetal.Cli.Tests.CommandLine;

public sealed class HelpTests
{
    [Fact]
    public async Task Help_ExitCodes_NamesEveryOne()
    {
        var paper = new Paper();
        Assert.Equal(0, await paper.RunAsync("help", "exit-codes"));
        foreach (var code in Enum.GetValues<ExitCode>())
            Assert.Contains(paper.Out.Split('\n'), l => l.StartsWith($"{(int)code} ", StringComparison.Ordinal));
    }

    [Fact]
    public async Task Help_EveryCommand_HasADescriptionAndNoHiddenOneIsShown()
    {
        var paper = new Paper();
        await paper.RunAsync("--help");
        Assert.DoesNotContain("__complete", paper.Out, StringComparison.Ordinal);
        Assert.All(Root.Build(paper.Screen).Subcommands.Where(c => !c.Hidden), c => Assert.False(string.IsNullOrEmpty(c.Description), c.Name));
    }
}
