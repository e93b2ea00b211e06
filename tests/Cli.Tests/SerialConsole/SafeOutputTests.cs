using System.Text;
using AgentMetal.Cli.SerialConsole;
using CsCheck;
using Xunit;

namespace AgentMetal.Cli.Tests.SerialConsole;

public sealed class SafeOutputTests
{
    [Theory]
    [InlineData("plain\r\n\tä€😀", "plain\r\n\tä€😀")]
    [InlineData("\u001b[2J\u001b[1;31mred\u001b[0m", "red")]
    [InlineData("\u001b]0;title\u0007a\u001b]52;c;cm0gLXJmIC8=\u001b\\b", "ab")]
    [InlineData("\u001bP+q544e\u001b\\a\u001b_x\u001b\\b\u001b^y\u001b\\c", "abc")]
    [InlineData("\u001b(Ba\u001bcb\u001b#8c", "abc")]
    [InlineData("a\u0007\u0008\u0000\u007f\u000eb", "ab")]
    [InlineData("\u009b31mred\u009d0;t\u009cx\u0085y", "redxy")]
    [InlineData("\u001b[31\nstill here", "\nstill here")]
    [InlineData("\u001b]never ended\nnext line", "\nnext line")]
    [InlineData("\u001b[?25l\u001b[6na", "a")]
    public void Clean_ControlSequences_AreGone(string said, string expected)
    {
        Assert.Equal(expected, Clean(said));
        // However the bytes are cut.
        var safe = new SafeOutput();
        Assert.Equal(expected, string.Concat(Encoding.UTF8.GetBytes(said).Select(b => Encoding.UTF8.GetString(safe.Clean([b])))));
    }

    [Fact]
    public void Clean_StringWithoutEnd_HidesNoMoreThanItsBound()
    {
        var shown = Clean("\u001b]" + new string('x', SafeOutput.LongestString) + "\0visible");
        Assert.EndsWith("visible", shown, StringComparison.Ordinal);
    }

    [Fact]
    public void Clean_AnyBytes_LeavesNothingATerminalActsOn() =>
        Gen.Byte.Array[0, 200].Sample(bytes => Encoding.UTF8.GetString(new SafeOutput().Clean(bytes)).All(c => c is '\r' or '\n' or '\t' || !char.IsControl(c)));

    private static string Clean(string text) => Encoding.UTF8.GetString(new SafeOutput().Clean(Encoding.UTF8.GetBytes(text)));
}
