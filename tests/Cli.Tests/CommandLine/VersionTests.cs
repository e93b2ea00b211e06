using Xunit;

namespace AgentMetal.Cli.Tests.CommandLine;

public sealed class VersionTests
{
    [Fact]
    public void Assembly_Name_IsTheCommandsName() => Assert.Equal("agentmetal", typeof(Program).Assembly.GetName().Name);
}
