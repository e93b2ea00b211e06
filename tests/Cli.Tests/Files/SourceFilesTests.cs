using System.Text;
using AgentMetal.Cli.Files;
using Xunit;

namespace AgentMetal.Cli.Tests.Files;

public sealed class SourceFilesTests : IDisposable
{
    private readonly string folder = Directory.CreateTempSubdirectory("agentmetal-files").FullName;

    public void Dispose() => Directory.Delete(folder, recursive: true);

    [Fact]
    public void Load_ADirectory_ReadsItsFilesByNameAndNotThoseBelow()
    {
        Put("b.yml", "b");
        Put("a.yaml", "a");
        Put("c.json", "c");
        Put("notes.txt", "x");
        Directory.CreateDirectory(Path.Combine(folder, "below"));
        Put("below/d.yaml", "d");

        var loaded = ResourceFiles.Load([folder], Stream.Null);

        Assert.Empty(loaded.Errors);
        Assert.Equal(["a", "b", "c"], loaded.Resources.Select(r => r.Key.Name));
    }

    [Fact]
    public void Load_AFileNamedTwice_IsReadOnce()
    {
        Put("a.yaml", "a");

        Assert.Single(ResourceFiles.Load([folder, Path.Combine(folder, "a.yaml")], Stream.Null).Resources);
    }

    [Fact]
    public void Load_Dash_ReadsStandardInput()
    {
        using var input = new MemoryStream(Encoding.UTF8.GetBytes(Yaml.Head + "spec: {port: 1}\n"));

        var error = Assert.Single(ResourceFiles.Load(["-"], input).Errors);

        Assert.Equal("standard input:5", error.At!.Place);
    }

    [Fact]
    public void Load_WhatCannotBeRead_IsNamedWithTheReason()
    {
        Directory.CreateDirectory(Path.Combine(folder, "empty"));
        File.WriteAllBytes(Path.Combine(folder, "latin.yaml"), [(byte)'a', (byte)'\n', 0xE9]);

        var errors = ResourceFiles.Load([Path.Combine(folder, "gone.yaml"), Path.Combine(folder, "empty"), Path.Combine(folder, "latin.yaml"), "/dev/zero"], Stream.Null).Errors;

        Assert.Equal(["there is no such file or directory", "the directory holds no *.yaml, *.yml or *.json", "is not UTF-8 text", "is larger than 4 MiB"], errors.Select(e => e.Message));
        Assert.EndsWith("latin.yaml:2", errors[2].Subject, StringComparison.Ordinal);
    }

    private void Put(string file, string name) =>
        File.WriteAllText(Path.Combine(folder, file), Yaml.Head.Replace("sessions", name, StringComparison.Ordinal));
}
