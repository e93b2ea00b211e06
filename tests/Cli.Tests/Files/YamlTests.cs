using System.Diagnostics;
using System.Text;
using AgentMetal.Cli.Files;
using CsCheck;
using Xunit;

namespace AgentMetal.Cli.Tests.Files;

public sealed class YamlTests
{
    [Fact]
    public void Load_AResource_KeepsWhatWasWrittenAsCanonicalJson()
    {
        var loaded = Yaml.Load(Yaml.Head + "  labels: {team: shop}\n  protect: true\nspec:\n  replicas: 2\n  memory: {max: 256Mi}\n");

        Assert.Empty(loaded.Errors);
        var resource = loaded.Resources.Single();
        Assert.Equal("Redis default/sessions", resource.Key.ToString());
        Assert.Equal("shop", resource.Metadata.Labels["team"]);
        Assert.True(resource.Metadata.Protect);
        Assert.Equal("""{"memory":{"max":"256Mi"},"replicas":2}""", Encoding.UTF8.GetString(resource.Spec.AsSpan()));
    }

    [Theory]
    [InlineData("no", "\"no\"")]
    [InlineData("'no'", "\"no\"")]
    public void Load_APlainNo_IsAWord(string written, string json) =>
        Assert.Contains("\"appendfsync\":" + json, Yaml.Spec(Yaml.Head + $"spec:\n  persistence:\n    appendfsync: {written}\n"), StringComparison.Ordinal);

    [Theory]
    [InlineData("0x1900", 6400)]
    [InlineData("0o14400", 6400)]
    [InlineData("+6400", 6400)]
    public void Load_ANumberOfTheCoreSchema_IsThatNumber(string written, int number) =>
        Assert.Equal($"{{\"port\":{number}}}", Yaml.Spec(Yaml.Head + $"spec: {{port: {written}}}\n"));

    [Theory]
    [InlineData("6400.5", "6400.5 is not a whole number")]
    [InlineData("1e3", "1e3 is not a whole number")]
    [InlineData(".inf", ".inf is not a whole number")]
    [InlineData("06400", "read as 6400 by some and as octal by others")]
    [InlineData("99999999999999999999999999999999999999999999", "is too large for a number")]
    [InlineData("9007199254740992", "is too large for a number")]
    [InlineData("yes", "must be a whole number from 1024 to 65535, not \"yes\"")]
    public void Load_ANumberThatIsNone_SaysSoAtItsPlace(string written, string message)
    {
        var error = Assert.Single(Yaml.Load(Yaml.Head + $"spec:\n  port: {written}\n").Errors);

        Assert.Contains(message, error.Message, StringComparison.Ordinal);
        Assert.Equal("spec.port", error.Path);
        Assert.Equal((6, 9, written.Length), (error.At!.Line, error.At.Column, error.At.Length));
    }

    [Fact]
    public void Load_ManyErrors_ReportsAllInTheOrderOfTheFile()
    {
        var errors = Yaml.Load("apiVersion: v1\nkind: Reddis\nmetadata: {nam: x}\nspec: {}\nmore: 1\n").Errors;

        Assert.Equal(["apiVersion", "kind", "metadata.nam", "metadata.name", "more"], errors.Select(e => e.Path).Order(StringComparer.Ordinal));
        Assert.Equal(errors.Select(e => e.At!.Line), errors.Select(e => e.At!.Line).Order());
        Assert.Contains("did you mean Redis?", errors.Single(e => e.Path == "kind").Notes);
    }

    [Fact]
    public void Load_AFieldThatIsMissing_PointsAtWhatShouldHoldIt()
    {
        var error = Assert.Single(Yaml.Load(Yaml.Head + "spec:\n  persistence:\n    save:\n      - seconds: 60\n").Errors);

        Assert.Equal("spec.persistence.save[0].changes", error.Path);
        Assert.Equal(8, error.At!.Line);
    }

    [Fact]
    public void Load_AFieldTwice_NamesTheFirstLine()
    {
        var error = Assert.Single(Yaml.Load(Yaml.Head + "spec:\n  port: 6400\n  port: 6401\n").Errors);

        Assert.Equal(7, error.At!.Line);
        Assert.Equal("first on line 6", Assert.Single(error.Notes));
    }

    [Fact]
    public void Load_ATab_SaysTab() =>
        Assert.Contains("a tab indents this line", Yaml.Errors(Yaml.Head + "spec:\n\tport: 6400\n"), StringComparison.Ordinal);

    [Fact]
    public void Load_BrokenText_NamesTheLine()
    {
        var error = Assert.Single(Yaml.Load(Yaml.Head + "spec: {port: [6400}\n").Errors);

        Assert.StartsWith("not valid YAML: ", error.Message, StringComparison.Ordinal);
        Assert.Equal(5, error.At!.Line);
    }

    [Theory]
    [InlineData("spec: &a {placement: {labels: *a}}", "*a refers to itself")]
    [InlineData("spec: *nothing", "refers to nothing")]
    [InlineData("spec: !!python/object:os.system {}", "is not accepted")]
    [InlineData("spec: {? [a] : b}", "has to be text")]
    [InlineData("spec:\n  <<: {port: 6400}", "merge keys")]
    public void Load_WhatIsNotData_IsRefusedAtItsPlace(string spec, string message)
    {
        var error = Assert.Single(Yaml.Load(Yaml.Head + spec + "\n").Errors);

        Assert.Contains(message, error.Message, StringComparison.Ordinal);
        Assert.True(error.At!.Line >= 5);
    }

    [Fact]
    public void Load_AnAlias_CountsAsWhatItStandsFor()
    {
        Assert.Equal("""{"limits":{"memory":"1Gi"},"memory":{"max":"512Mi"}}""",
            Yaml.Spec("apiVersion: agentmetal.io/v1\nkind: Redis\nmetadata: {name: a, annotations: {size: &s 512Mi}}\nspec: {memory: {max: *s}, limits: {memory: 1Gi}}\n"));
    }

    [Fact]
    public void Load_ABillionLaughs_IsRefusedQuickly()
    {
        var bomb = new StringBuilder("a0: &a0 [x, x, x, x, x, x, x, x, x]\n");
        for (var i = 1; i < 20; i++)
            bomb.Append($"a{i}: &a{i} [{string.Join(", ", Enumerable.Repeat($"*a{i - 1}", 9))}]\n");
        var watch = Stopwatch.StartNew();

        var error = Assert.Single(Yaml.Load(bomb.ToString()).Errors);

        Assert.Contains("more than 50000 values", error.Message, StringComparison.Ordinal);
        Assert.True(watch.Elapsed < TimeSpan.FromSeconds(5));
    }

    [Fact]
    public void Load_DeepNesting_IsRefusedNotOverflowed()
    {
        Assert.Contains("nested deeper than 32 levels", Yaml.Errors("a: " + new string('[', 200_000)), StringComparison.Ordinal);
        Assert.Contains("nested deeper than 32 levels", Yaml.Errors(string.Concat(Enumerable.Range(0, 100).Select(i => new string(' ', i) + "a:\n"))), StringComparison.Ordinal);
    }

    [Fact]
    public void Load_AliasesThatDeepen_AreRefused()
    {
        var text = "a0: &a0 [x]\n" + string.Concat(Enumerable.Range(1, 40).Select(i => $"a{i}: &a{i} [*a{i - 1}]\n"));

        Assert.Contains("nested deeper than 32 levels", Yaml.Errors(text), StringComparison.Ordinal);
    }

    [Fact]
    public void Load_TheSameNameInTwoDocuments_NamesBothPlaces()
    {
        var error = Assert.Single(Yaml.Load(Yaml.Head + "---\n" + Yaml.Head).Errors);

        Assert.Equal("Redis default/sessions is declared twice", error.Message);
        Assert.Equal(9, error.At!.Line);
        Assert.Equal("first at a.yaml:4", Assert.Single(error.Notes));
    }

    [Fact]
    public void Load_JsonAndItems_AreResourcesToo()
    {
        var loaded = Yaml.Load("""
            {"items": [
              {"apiVersion": "agentmetal.io/v1", "kind": "redis", "metadata": {"name": "a", "uid": "u", "generation": 3}, "spec": {}, "status": {"lag": 1.5}},
              {"apiVersion": "agentmetal.io/v1", "kind": "Redis", "metadata": {"name": "b"}, "spec": {"port": 6400}}
            ]}
            """);

        Assert.Empty(loaded.Errors);
        Assert.Equal(["Redis default/a", "Redis default/b"], loaded.Resources.Select(r => r.Key.ToString()));
    }

    [Fact]
    public void Load_EmptyDocuments_AreLeftOutAndNothingIsAnError()
    {
        Assert.Single(Yaml.Load("---\n---\n" + Yaml.Head + "---\n# the end\n").Resources);
        Assert.Equal("holds no resource", Assert.Single(Yaml.Load("# nothing\n").Errors).Message);
    }

    [Fact]
    public void Load_AnyBytes_NeverThrows() =>
        Gen.Byte.Array[0, 400].Sample(bytes => Yaml.LoadBytes(bytes).Errors.Length > 0 || Yaml.LoadBytes(bytes).Resources.Length > 0, iter: 3_000);

    [Fact]
    public void Load_AnyMutationOfAGoodFile_IsTakenOrReportedWithinTheFile()
    {
        var good = Encoding.UTF8.GetBytes(Yaml.Head + "spec: &a\n  persistence: {save: [{seconds: 1, changes: 2}], appendfsync: \"no\"}\n  memory:\n    max: 1Gi # note\n  adopt: {unit: >-\n    x.service}\n");
        string[] tokens = ["\t", "&a ", "*a", "- ", ": ", "{", "}", "[", "]", "\"", "'", "\\ud800", "|\n", "---\n", "!!str ", "? ", "<<: ", "%YAML 9.9\n", "\0", "\uFEFF", "\u2028", "#", "@", "`", "\r"];
        var token = Gen.Int[0, tokens.Length - 1].Select(i => tokens[i]);
        Gen.Select(Gen.Int[0, good.Length], Gen.Int[0, 12], token).Array[1, 6].Sample(edits =>
        {
            var bytes = good.ToList();
            foreach (var (at, cut, insert) in edits)
            {
                var from = Math.Min(at, bytes.Count);
                bytes.RemoveRange(from, Math.Min(cut, bytes.Count - from));
                bytes.InsertRange(from, Encoding.UTF8.GetBytes(insert));
            }
            var loaded = Yaml.LoadBytes([.. bytes]);
            var lines = bytes.Count(b => b is (byte)'\n' or (byte)'\r') + 4;
            Assert.True(loaded.Errors.Length > 0 || loaded.Resources.Length > 0);
            Assert.All(loaded.Errors, e => Assert.True(e.Message.Length > 0 && (e.At is null || (e.At.Line >= 1 && e.At.Line <= lines))));
            Assert.EndsWith("Exit code 2.\n", ErrorText.Render(loaded.Errors), StringComparison.Ordinal);
        }, iter: 5_000);
    }
}
