using AgentMetal.Cli.CommandLine;
using AgentMetal.Cli.Files;
using AgentMetal.Runtime.Resources;
using Xunit;

namespace AgentMetal.Cli.Tests.Files;

public sealed class ErrorTextTests
{
    [Fact]
    public void Render_TheErrorOfTheExperiencePage_IsExactlyThat()
    {
        const string sessions = """
            # Sessions of the shop.
            # Two replicas.

            apiVersion: agentmetal.io/v1
            kind: Redis
            metadata:
              name: sessions
              labels:
                team: shop
            spec:
              port: 6400
              persistence:
                appendonly: true
                appendfsync: sometimes
              memory:
                max: 256Mi
              placement:
                labels:
                  site: lab
                spread: host
              replicas: 8
            """;
        var loaded = Yaml.Load(sessions, "examples/sessions.yaml");
        var positions = Yaml.Load(sessions.Replace("sometimes", "always", StringComparison.Ordinal), "examples/sessions.yaml").Resources.Single();
        var ofTheFleet = positions.ErrorAt(new FieldError("spec.replicas", "9 members cannot be spread over 3 hosts (spread: host)",
            "3 hosts match labels site=lab; allow spread: none or add hosts")) with
        { ShowSource = false };

        var text = ErrorText.Render([.. loaded.Errors, ofTheFleet], ExitCode.BadInput);

        Assert.Equal("""
            error: examples/sessions.yaml:14: spec.persistence.appendfsync: "sometimes" is not one of: always, everysec, no
              |   appendfsync: sometimes
              |                ^^^^^^^^^
            error: examples/sessions.yaml:21: spec.replicas: 9 members cannot be spread over 3 hosts (spread: host)
              = note: 3 hosts match labels site=lab; allow spread: none or add hosts
            2 errors; nothing was changed. Exit code 2.

            """, text);
    }

    [Fact]
    public void Render_AnUnknownField_PointsAtItsNameAndSuggests()
    {
        Assert.Equal("""
            error: a.yaml:6: spec.replica: is not a field of spec
              |   replica: 2
              |   ^^^^^^^
              = note: did you mean replicas?
            1 error; nothing was changed. Exit code 2.

            """, Yaml.Errors(Yaml.Head + "spec:\n  replica: 2\n"));
    }

    [Fact]
    public void Render_WideAndHostileCharacters_KeepTheCaretUnderTheWord()
    {
        var file = new SourceFile("a.yaml", "k: {\"名\u001b\": bad}\n");
        var column = file.Text.IndexOf("bad", StringComparison.Ordinal) + 1;

        var lines = ErrorText.Render([Diagnostic.Of(new SourceSpan(file, 1, column, 3), "wrong")]).Split('\n');

        Assert.Equal("  |   k: {\"名\\u{1b}\": bad}", lines[1]);
        // The ideograph takes two cells.
        Assert.Equal(lines[1].IndexOf("bad", StringComparison.Ordinal) + 1, lines[2].IndexOf('^', StringComparison.Ordinal));
        Assert.EndsWith("^^^", lines[2], StringComparison.Ordinal);
    }

    [Fact]
    public void Render_ALongLine_ShowsTheWordAndFitsAScreen()
    {
        var file = new SourceFile("a.yaml", new string('x', 5000) + "bad" + new string('y', 5000));

        var lines = ErrorText.Render([Diagnostic.Of(new SourceSpan(file, 1, 5001, 3), "wrong")]).Split('\n');

        Assert.True(lines[1].Length < 130);
        Assert.Equal("bad", lines[1].Substring(lines[2].IndexOf('^', StringComparison.Ordinal), 3));
    }

    [Fact]
    public void Render_ManyErrors_ShowsFiftyAndCountsAll()
    {
        var text = ErrorText.Render([.. Enumerable.Range(0, 60).Select(i => Diagnostic.OfFile("f" + i, "wrong"))]);

        Assert.Equal(50, text.Split("error: ").Length - 1);
        Assert.Contains("and 10 more\n60 errors; nothing was changed.", text, StringComparison.Ordinal);
    }
}
