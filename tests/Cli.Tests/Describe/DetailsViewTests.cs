using AgentMetal.Cli.Describe;
using AgentMetal.Cli.Output;
using AgentMetal.Cli.Tests.Support;
using Xunit;

namespace AgentMetal.Cli.Tests.Describe;

public sealed class DetailsViewTests
{
    [Fact]
    public void Write_RunningMachine_IsReadable()
    {
        var paper = new Paper();
        new DetailsView(paper.Screen).Write("edge-2", new Dictionary<string, string>
        {
            ["power"] = "running",
            ["accelerator"] = "qemu",
            ["addresses"] = "192.168.122.5",
            ["cpus"] = "2",
            ["cpuPercent"] = "13",
            ["memoryUsed"] = "125829120",
            ["memoryAssigned"] = "536870912",
            ["diskReadPerSecond"] = "0",
            ["diskWrittenPerSecond"] = "1363149",
            ["diskAllocated"] = "1181116006",
            ["networkReceivedPerSecond"] = "512",
            ["networkSentPerSecond"] = "2048",
            ["progress"] = "fetching image debian 42% (120 of 286 MiB)",
            ["console"] = "booting\nlogin:",
        });
        Assert.Equal(
            """

            Details on edge-2
              power      running, emulated
              addresses  192.168.122.5
              processor  13% of 2
              memory     120 MiB used, 512 MiB assigned
              disks      read 0 B/s, written 1.3 MiB/s, 1.1 GiB allocated
              network    received 512 B/s, sent 2 KiB/s
              progress   fetching image debian 42% (120 of 286 MiB)
              console
                booting
                login:

            """, paper.Out);
    }

    /// <summary>A host that was taken over does not clean what its guests print.</summary>
    [Fact]
    public void Write_HostileText_IsEscapedAndStaysInItsPlace()
    {
        var paper = new Paper(width: 60, color: true);
        new DetailsView(paper.Screen).Write("edge-2", new Dictionary<string, string> { ["console"] = "\e[2J\e[1;1HReady  True\r\n\u202Etxt", ["power\e[31m"] = "\e]0;x\a", ["memoryUsed"] = "-9" });
        var guest = paper.Out.Replace("\e[2m", "", StringComparison.Ordinal).Replace("\e[0m", "", StringComparison.Ordinal);
        Assert.DoesNotContain('\e', guest);
        Assert.DoesNotContain('\a', guest);
        Assert.DoesNotContain('\u202E', guest);
        Assert.Contains("    \\u{1b}[2J", guest, StringComparison.Ordinal);
    }

    [Fact]
    public void Write_NoDetails_IsNothing()
    {
        var paper = new Paper();
        new DetailsView(paper.Screen).Write("edge-2", new Dictionary<string, string>());
        Assert.Equal("", paper.Out);
    }

    [Fact]
    public void Describe_AndJson_HaveThem()
    {
        var sessions = Samples.Sessions();
        sessions.Status.Members[0].Details["power"] = "running";
        var paper = new Paper();
        new DescribeView(paper.Screen).Write(sessions, [], []);
        Assert.Contains("Details on edge-1\n  power  running\n", paper.Out, StringComparison.Ordinal);
        var members = DocumentsOf.Resource(sessions).Status.Members;
        Assert.Equal("running", members[0].Details!["power"]);
        Assert.Null(members[1].Details);
    }
}
