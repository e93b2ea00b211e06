using System.Text;
using AgentMetal.NodeAgent.Agents.Instance;
using AgentMetal.NodeAgent.Host.Files;
using AgentMetal.NodeAgent.Host.Libvirt;

namespace AgentMetal.NodeAgent.Tests.Agents.Instance;

public sealed class InstanceConsoleTests
{
    [Theory]
    [InlineData("", 3, "")]
    [InlineData("a\nb\nc\n", 2, "b\nc\n")]
    [InlineData("a\nb\n/ # ", 2, "b\n/ # ")]
    [InlineData("a\nb\n", 5, "a\nb\n")]
    [InlineData("a", 1, "a")]
    [InlineData("\n\n\n", 2, "\n\n")]
    public void LastLines_OfALog_AreItsLast(string log, int lines, string expected) =>
        Assert.Equal(expected, Encoding.UTF8.GetString(InstanceConsole.LastLines(Encoding.UTF8.GetBytes(log), lines).Span));

    [Fact]
    public void Tail_OfALongFile_IsItsEndAndALinkIsNotFollowed()
    {
        var folder = Directory.CreateTempSubdirectory("agentmetal-tail-").FullName;
        try
        {
            var (file, link) = (folder + "/console.log", folder + "/link");
            File.WriteAllText(file, new string('x', 10_000) + "the end");
            File.CreateSymbolicLink(link, "/etc/shadow");
            var reader = new FileReader();
            Assert.Equal("xthe end", Encoding.UTF8.GetString(reader.Tail(file, 8).Value.Bytes.Span));
            Assert.Equal(FileKind.Symlink, reader.Tail(link, 100).Value.State.Kind);
            Assert.True(reader.Tail(link, 100).Value.Bytes.IsEmpty);
            Assert.False(reader.Tail(folder + "/none", 100).Value.State.Exists);
        }
        finally { Directory.Delete(folder, recursive: true); }
    }
}
