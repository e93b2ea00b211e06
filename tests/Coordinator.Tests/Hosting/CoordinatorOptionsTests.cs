using AgentMetal.Coordinator.Hosting;
using Xunit;

namespace AgentMetal.Coordinator.Tests.Hosting;

public sealed class CoordinatorOptionsTests
{
    [Fact]
    public void Parse_Nothing_NamesWhatIsRequired()
    {
        var (options, errors) = CoordinatorOptions.Parse([]);
        Assert.Null(options);
        Assert.Equal(["--data: is required; give a directory", "--identity: is required; give a directory"], errors);
    }

    [Theory]
    [InlineData("--listen", "here")]
    [InlineData("--listen", "1.2.3.4:99999")]
    [InlineData("--metrics", "0.0.0.0:9464")]
    [InlineData("--metrics", "127.0.0.1:7443")]
    [InlineData("--name", "Bad Name")]
    [InlineData("--verbose", "yes")]
    public void Parse_BadValue_NamesTheFlag(string flag, string value)
    {
        var (options, errors) = CoordinatorOptions.Parse(["--data", "d", "--identity", "i", flag, value]);
        Assert.Null(options);
        Assert.Contains(errors, e => e.StartsWith(flag + ":", StringComparison.Ordinal));
    }

    [Fact]
    public void Parse_Everything_IsTaken()
    {
        var (options, errors) = CoordinatorOptions.Parse(["--data=d", "--identity", "i", "--listen", "10.0.0.1:8443", "--metrics=127.0.0.1:0", "--name", "control"]);
        Assert.Empty(errors);
        Assert.Equal(("d", "i", "10.0.0.1:8443", "127.0.0.1:0", "control"), (options!.Data, options.Identity, options.Listen.ToString(), options.Metrics.ToString(), options.Name));
    }

    [Fact]
    public void Parse_Restored_IsASwitch()
    {
        Assert.True(CoordinatorOptions.Parse(["--restored", "--data", "d", "--identity", "i"]).Options!.Restored);
        Assert.False(CoordinatorOptions.Parse(["--data", "d", "--identity", "i"]).Options!.Restored);
    }
}
