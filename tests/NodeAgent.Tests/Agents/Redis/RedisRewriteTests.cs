using AgentMetal.NodeAgent.Agents.Redis;
using AgentMetal.NodeAgent.Agents.Redis.Data;
using AgentMetal.NodeAgent.Host.Files;
using Xunit;

namespace AgentMetal.NodeAgent.Tests.Agents.Redis;

/// <summary>What a server writes while its append-only file is made anew, told by the manifest and by what it says.</summary>
public sealed class RedisRewriteTests : IDisposable
{
    private const string Incr1 = "file a.1.incr.aof seq 1 type i\n", Incr2 = "file a.2.incr.aof seq 2 type i\n";

    private readonly string _root = Directory.CreateTempSubdirectory("rewrite").FullName;

    public void Dispose() => Directory.Delete(_root, recursive: true);

    [Theory]
    [InlineData(Incr1, false, "", true)] // Nothing is made anew.
    [InlineData(Incr1 + Incr2, false, "aof_rewrite_in_progress:1", true)] // A rewrite: what is written since goes to the second part.
    [InlineData(Incr1, false, "aof_rewrite_in_progress:1", false)] // It was switched on just now, over files of before.
    [InlineData(Incr1 + Incr2, true, "aof_rewrite_in_progress:1", false)] // The same, over files of a rewrite that failed.
    [InlineData(Incr1 + Incr2, false, "aof_rewrite_scheduled:1", false)] // It waits for another child: it may be either.
    [InlineData("", false, "aof_rewrite_in_progress:1", false)] // It has no file yet.
    public void Appending_WhileTheFileIsMadeAnew_IsWhatTheManifestShows(string manifest, bool begun, string says, bool appending)
    {
        var dir = Directory.CreateDirectory(_root + "/appendonlydir").FullName;
        foreach (var part in (string[])["a.1.incr.aof", "a.2.incr.aof"]) File.WriteAllText($"{dir}/{part}", "*1\r\n$4\r\nPING\r\n");
        if (manifest.Length > 0) File.WriteAllText(dir + "/a.aof.manifest", manifest);
        if (begun) File.WriteAllText(dir + "/temp-a.aof.incr", "");
        var info = RedisInfo.Of([new RespReply(RespKind.Bulk, $"role:master\r\naof_enabled:1\r\naof_last_write_status:ok\r\n{says}\r\n", 0, [])]);
        var book = new RedisNotebook(new FileReader(), new FileWriter(), TimeProvider.System);
        Assert.Equal(appending, book.DataOf(info, disk: RedisDisk.Look(new FileReader(), _root)).Appending);
        Assert.Equal(says.Length == 0, book.DataOf(info).Appending); // Of a peer nobody sees the files.
    }
}
