using AgentMetal.Cli.Rendering;
using AgentMetal.Cli.Tests.Support;
using CsCheck;
using Xunit;

namespace AgentMetal.Cli.Tests.Rendering;

public sealed class PlainTests
{
    [Theory]
    [InlineData("a\e[2Jb", "a\\u{1b}[2Jb")]
    [InlineData("safe\u202Egnp", "safe\\u{202e}gnp")]
    [InlineData("two\nlines", "two\\nlines")]
    [InlineData("plain é ✓ 漢", "plain é ✓ 漢")]
    public void Clean_HostileText_ShowsWhatItIs(string text, string shown) => Assert.Equal(shown, Plain.Clean(text));

    [Fact]
    public void Line_AnyText_WritesNoControlCharacterButTheLineEnd() => Gen.String[Gen.Char['\0', '\u2fff'], 0, 50].Sample(text =>
    {
        var paper = new Paper();
        paper.Screen.Line(text);
        return paper.Out.Count(char.IsControl) == 1;
    });

    [Fact]
    public void Wrap_AnyText_FitsAndLosesNoLetter() => Gen.Select(Gen.String[Gen.Char.AlphaNumeric, 0, 200], Gen.Int[1, 40]).Sample((text, width) =>
    {
        var lines = Plain.Wrap(text.Replace('7', ' '), width);
        return lines.All(l => Plain.Width(l) <= width) && string.Concat(lines).Replace(" ", "", StringComparison.Ordinal) == text.Replace('7', ' ').Replace(" ", "", StringComparison.Ordinal);
    });

    [Fact]
    public void Fit_WideLetters_CountTwo()
    {
        Assert.Equal(4, Plain.Width("漢字"));
        Assert.Equal("漢…", Plain.Fit("漢字漢字", 4));
    }

    [Theory]
    [InlineData("90s", 90)]
    [InlineData("5m", 300)]
    [InlineData("1h", 3600)]
    [InlineData("7d", 604800)]
    public void ParseLength_Good_IsRead(string text, int seconds) => Assert.Equal(seconds, When.ParseLength(text)!.Value.TotalSeconds);

    [Theory]
    [InlineData("")]
    [InlineData("5")]
    [InlineData("-5m")]
    [InlineData("0s")]
    [InlineData("5w")]
    [InlineData("99999999999h")]
    [InlineData("2000000000d")]
    [InlineData("1.5h")]
    public void ParseLength_Bad_IsNull(string text) => Assert.Null(When.ParseLength(text));
}
