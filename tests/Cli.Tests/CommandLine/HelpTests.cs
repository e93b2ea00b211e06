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

    /// <summary>The parser takes it for a name, and a person would be told that "instance/hello" is no kind.</summary>
    [Fact]
    public async Task Option_ThatACommandDoesNotHave_IsNamed()
    {
        var paper = new Paper();
        Assert.Equal(2, await paper.RunAsync("migrate", "instance/hello", "--to", "edge-2", "--yes"));
        Assert.Contains("error: --yes is no option of this command", paper.Error, StringComparison.Ordinal);
        Assert.Contains("agentmetal migrate --help", paper.Error, StringComparison.Ordinal);
        // What an option is given may begin so.
        await paper.RunAsync("approve", "instance/hello", "--reason", "-because");
        Assert.DoesNotContain("-because is no option", paper.Error, StringComparison.Ordinal);
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
