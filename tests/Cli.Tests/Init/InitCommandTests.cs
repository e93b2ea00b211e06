using AgentMetal.Cli.Tests.Support;
using AgentMetal.Runtime.Trust;
using Xunit;

namespace AgentMetal.Cli.Tests.Init;

public sealed class InitCommandTests
{
    private static string[] Args(Place place, params string[] more) => ["init", "--coordinator", "edge-control", "--address", "10.0.0.1", "--bundle", place.In("bundle"), "--home", place.In("home"), .. more];

    [Fact]
    public async Task Init_NewFleet_RootKeyStaysHomeAndSecretsAreClosed()
    {
        using var place = new Place();
        var paper = new Paper(clock: TimeProvider.System);
        Assert.Equal(0, await paper.RunAsync(Args(place)));
        Assert.False(File.Exists(Path.Combine(place.In("bundle"), InitBundle.RootKey)));
        Assert.True(File.Exists(Path.Combine(place.In("home"), InitBundle.RootKey)));
        foreach (var file in Directory.EnumerateFiles(place.Path, "*.key", SearchOption.AllDirectories).Append(Path.Combine(place.In("bundle"), InitBundle.KeyEncryptionKey)))
            Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite, File.GetUnixFileMode(file));
        Assert.Contains("10.0.0.1:7443", await File.ReadAllTextAsync(Path.Combine(place.In("home"), "config.json"), TestContext.Current.CancellationToken), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Init_Again_RefusesAndChangesNothing()
    {
        using var place = new Place();
        Assert.Equal(0, await new Paper(clock: TimeProvider.System).RunAsync(Args(place)));
        var key = await File.ReadAllTextAsync(Path.Combine(place.In("home"), InitBundle.RootKey), TestContext.Current.CancellationToken);
        var paper = new Paper(clock: TimeProvider.System);
        Assert.Equal(2, await paper.RunAsync("init", "--coordinator", "edge-control", "--address", "10.0.0.1", "--bundle", place.In("bundle2"), "--home", place.In("home")));
        Assert.Contains("is not empty", paper.Error, StringComparison.Ordinal);
        Assert.False(Directory.Exists(place.In("bundle2")));
        Assert.Equal(key, await File.ReadAllTextAsync(Path.Combine(place.In("home"), InitBundle.RootKey), TestContext.Current.CancellationToken));
    }

    [Theory]
    [InlineData("--address", "not a host")]
    [InlineData("--operator", "Bad Name")]
    [InlineData("--fleet", "-x")]
    public async Task Init_BadName_IsBadInputAndWritesNothing(string option, string value)
    {
        using var place = new Place();
        Assert.Equal(2, await new Paper(clock: TimeProvider.System).RunAsync(Args(place, option, value)));
        Assert.False(Directory.Exists(place.In("home")));
    }

    [Fact]
    public async Task Init_PassphraseFile_EncryptsTheRootKeyOnly()
    {
        using var place = new Place();
        await File.WriteAllTextAsync(place.In("pass"), "correct horse battery\n", TestContext.Current.CancellationToken);
        Assert.Equal(0, await new Paper(clock: TimeProvider.System).RunAsync(Args(place, "--passphrase-file", place.In("pass"))));
        Assert.Contains("ENCRYPTED", await File.ReadAllTextAsync(Path.Combine(place.In("home"), InitBundle.RootKey), TestContext.Current.CancellationToken), StringComparison.Ordinal);
        Assert.DoesNotContain("ENCRYPTED", await File.ReadAllTextAsync(Path.Combine(place.In("home"), InitBundle.OperatorKey), TestContext.Current.CancellationToken), StringComparison.Ordinal);
    }
}
