using AgentMetal.NodeAgent.Host.Files;

namespace AgentMetal.NodeAgent.Tests.Host.Files;

/// <summary>A file is opened below its directory and nowhere else, by whatever name somebody asks for it.</summary>
public sealed class FileBelowTests : IDisposable
{
    private readonly string _root = Directory.CreateTempSubdirectory("agentmetal-below-").FullName;

    public FileBelowTests()
    {
        Directory.CreateDirectory(Allowed + "/sub");
        Directory.CreateDirectory(_root + "/allowed-too");
        File.WriteAllText(_root + "/secret", "secret");
        File.WriteAllText(_root + "/allowed-too/image", "other");
        File.WriteAllText(Allowed + "/image", "image");
        File.WriteAllText(Allowed + "/sub/image", "image");
        File.CreateSymbolicLink(Allowed + "/link", _root + "/secret");
        Directory.CreateSymbolicLink(Allowed + "/out", _root);
        Directory.CreateSymbolicLink(_root + "/alias", Allowed);
    }

    private string Allowed => _root + "/allowed";

    public void Dispose() => Directory.Delete(_root, recursive: true);

    [Theory]
    [InlineData("allowed", "image")]
    [InlineData("allowed", "sub/image")]
    [InlineData("alias", "image")] // The directory itself is the operator's word.
    public void Open_AFileBelow_IsRead(string directory, string name)
    {
        using var file = FileBelow.Open($"{_root}/{directory}", $"{_root}/{directory}/{name}", out var refusal);
        Assert.Equal("", refusal);
        using var text = new StreamReader(file!);
        Assert.Equal("image", text.ReadToEnd());
    }

    [Theory]
    [InlineData("allowed/link", "symbolic link")]
    [InlineData("allowed/out/secret", "symbolic link")]
    [InlineData("allowed/../secret", "not below")]
    [InlineData("allowed/./image", "not below")]
    [InlineData("allowed//image", "not below")]
    [InlineData("allowed/", "not below")]
    [InlineData("allowed", "not below")]
    [InlineData("allowed-too/image", "not below")]
    [InlineData("secret", "not below")]
    [InlineData("allowed/none", "not there")]
    [InlineData("allowed/none/image", "not there")]
    [InlineData("allowed/sub", "not a regular file")]
    [InlineData("allowed/image/", "not below")]
    [InlineData("allowed/image/x", "not a directory")]
    [InlineData("allowed/im\0age", "not below")]
    public void Open_WhatIsElsewhereOrNoFile_IsRefusedWithTheReason(string path, string reason)
    {
        Assert.Null(FileBelow.Open(Allowed, $"{_root}/{path}", out var refusal));
        Assert.Contains(reason, refusal, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Place_WhatAProgramWrote_TakesThePlaceWhole()
    {
        var writer = new FileWriter();
        await File.WriteAllTextAsync(Allowed + "/image.partial", "new", TestContext.Current.CancellationToken);
        Assert.True((await writer.PlaceAsync(Allowed + "/image.partial", Allowed + "/image")).IsDone);
        Assert.Equal("new", await File.ReadAllTextAsync(Allowed + "/image", TestContext.Current.CancellationToken));
        Assert.False(File.Exists(Allowed + "/image.partial"));
    }

    [Theory]
    [InlineData("link", "image")] // A link was put where the program wrote.
    [InlineData("image", "link")]
    [InlineData("image", "sub")]
    [InlineData("image", "sub/image")] // rename(2) between directories would be durable in one of them only.
    public async Task Place_WhatIsNoFileOrElsewhere_IsRefusedAndLeft(string temporary, string path)
    {
        var outcome = await new FileWriter().PlaceAsync($"{Allowed}/{temporary}", $"{Allowed}/{path}");
        Assert.Equal(FileResult.Refused, outcome.Result);
        Assert.True(Path.Exists($"{Allowed}/{temporary}") && Path.Exists($"{Allowed}/{path}"));
    }

    [Fact]
    public async Task Place_NothingWritten_Fails() => Assert.False((await new FileWriter().PlaceAsync(Allowed + "/none", Allowed + "/image")).IsDone);
}
