using System.Text;
using AgentMetal.NodeAgent.Agents.Instance;

namespace AgentMetal.NodeAgent.Tests.Agents.Instance;

public sealed class ConsoleTailTests
{
    private static string[] Lines(string text, bool whole = true) => [.. ConsoleTail.Lines(Encoding.UTF8.GetBytes(text), whole)];

    [Fact]
    public void Lines_ManyLines_AreTheLastFiveThatSaySomething() =>
        Assert.Equal(["c", "d", "e", "f", "g"], Lines("a\r\nb\r\nc\r\n\r\nd\r\ne\n   \nf\ng\r\n\r\n"));

    [Fact]
    public void Lines_CutFromTheMiddle_LeaveHalfALineOut() => Assert.Equal(["whole"], Lines("alf a line\nwhole\n", whole: false));

    /// <summary>A guest that would like to colour, move, ring, name windows, reverse or hide.</summary>
    [Theory]
    [InlineData("\u001b[31mred\u001b[0m", "red")]
    [InlineData("\u001b[2J\u001b[1;1HReady  True", "Ready  True")]
    [InlineData("\u001b]0;title\u0007after", "after")]
    [InlineData("\u001b]52;c;c2VjcmV0\u001b\\after", "after")]
    [InlineData("be\u0007ll\u0000\u0008", "bell")]
    [InlineData("\u202Egpj.exe\u2066", "gpj.exe")]
    [InlineData("a\tb", "a b")]
    [InlineData("never ends \u001b[3", "never ends")]
    [InlineData("\u009b31mcsi", "31mcsi")]
    public void Lines_HostileText_IsPlain(string line, string shown) => Assert.Equal([shown], Lines(line));

    [Fact]
    public void Lines_NoUtf8AndEndless_AreCut()
    {
        var line = Assert.Single(ConsoleTail.Lines([0xFF, 0xFE, .. Encoding.UTF8.GetBytes(new string('x', 5000) + "😀")], whole: true));
        Assert.Equal(new string('x', ConsoleTail.MaxLine), line);
        Assert.True(Assert.Single(Lines(string.Concat(Enumerable.Repeat("😀", 200)))).Length <= ConsoleTail.MaxLine);
    }
}
