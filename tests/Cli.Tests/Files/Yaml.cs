using AgentMetal.Cli.CommandLine;
using AgentMetal.Cli.Files;
using Xunit;

namespace AgentMetal.Cli.Tests.Files;

/// <summary>Loads text as if it were a file.</summary>
internal static class Yaml
{
    internal const string Head = "apiVersion: agentmetal.io/v1\nkind: Redis\nmetadata:\n  name: sessions\n";

    internal static LoadedFiles Load(string text, string name = "a.yaml") => ResourceFiles.Load([new SourceFile(name, text)], []);

    internal static LoadedFiles LoadBytes(byte[] bytes)
    {
        var errors = new List<Diagnostic>();
        return SourceFiles.Decode("a.yaml", bytes, errors) is { } file ? ResourceFiles.Load([file], errors) : new LoadedFiles([], [.. errors]);
    }

    internal static string Errors(string text) => ErrorText.Render(Load(text).Errors, ExitCode.BadInput);

    internal static string Spec(string text)
    {
        var loaded = Load(text);
        Assert.Empty(loaded.Errors);
        return System.Text.Encoding.UTF8.GetString(loaded.Resources.Single().Spec.AsSpan());
    }
}
