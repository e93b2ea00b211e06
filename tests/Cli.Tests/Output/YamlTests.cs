using System.Text.Json;
using AgentMetal.Cli.Output;
using Xunit;

namespace AgentMetal.Cli.Tests.Output;

public sealed class YamlTests
{
    private static string Of(string json) => Yaml.Of(JsonDocument.Parse(json).RootElement);

    [Fact]
    public void Of_Nested_KeepsTheShape() => Assert.Equal(
        """
        items:
        - name: sessions
          spec:
            replicas: 1
            save:
            - changes: 1
              seconds: 3600
            labels: {}
            none: []
        - name: other

        """, Of("""{"items":[{"name":"sessions","spec":{"replicas":1,"save":[{"changes":1,"seconds":3600}],"labels":{},"none":[]}},{"name":"other"}]}"""));

    [Theory]
    [InlineData("no")]
    [InlineData("true")]
    [InlineData("null")]
    [InlineData("12")]
    [InlineData("1e3")]
    [InlineData("")]
    [InlineData("a: b")]
    [InlineData("# c")]
    [InlineData("- x")]
    [InlineData("two\\nlines")]
    public void Of_TextThatIsNoPlainText_IsQuoted(string text) => Assert.StartsWith("a: \"", Of($$"""{"a":"{{text}}"}"""), StringComparison.Ordinal);
}
