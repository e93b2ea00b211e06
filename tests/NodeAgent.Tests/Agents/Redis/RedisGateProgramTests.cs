using System.Collections.Immutable;
using System.Text;
using AgentMetal.NodeAgent.Agents.Redis;
using AgentMetal.NodeAgent.Agents.Redis.Data;
using AgentMetal.NodeAgent.Host.Files;
using Microsoft.Extensions.Time.Testing;
using static AgentMetal.NodeAgent.Tests.Agents.Redis.RedisSamples;

namespace AgentMetal.NodeAgent.Tests.Agents.Redis;

/// <summary>The program that a unit asks before each start, on real files; its peers do not answer. What it decided is kept until the daemon has told it.</summary>
public sealed class RedisGateProgramTests : IDisposable
{
    private readonly string _root = Directory.CreateTempSubdirectory("agentmetal-gate-").FullName;
    private readonly FakeTimeProvider _clock = new(Now);
    private readonly List<string> _said = [];

    private static CancellationToken Stop => TestContext.Current.CancellationToken;

    private string NotesPath => _root + "/m.json";

    public void Dispose() => Directory.Delete(_root, recursive: true);

    [Fact]
    public async Task Held_EachDecisionIsKeptWithItsCodeAndLossUntilItIsTold()
    {
        Write(keys: 2_345);
        Assert.Equal(1, await AskAsync()); // The data directory is gone.
        _clock.Advance(TimeSpan.FromSeconds(40));
        File.Delete(NotesPath);
        Assert.Equal(1, await AskAsync());
        Write(keys: 0);
        Directory.CreateDirectory(_root + "/data");
        Assert.Equal(0, await AskAsync());

        var record = GateRecord.Parse(await File.ReadAllBytesAsync(NotesPath + ".gate", Stop))!;
        Assert.True(record.IsPlain);
        Assert.Equal(["data-missing", "notes-missing"], record.Told.Select(d => d.Code));
        Assert.Equal([1, 2], record.Told.Select(d => d.Number));
        var notes = RedisTold.Notes(Input(), Converged(Input(), Goal(Input())) with { GateSaid = record });
        Assert.Equal(["GateHeld", "GateHeld"], notes.Select(n => n.Reason));
        Assert.Equal(Now, notes[0].At);
        Assert.StartsWith("its start gate held it back (data-missing): the data directory is gone", notes[0].Text, StringComparison.Ordinal);
        Assert.EndsWith("; a start as it is may lose what it had and is not here, at most 2,400 keys", notes[0].Text, StringComparison.Ordinal);
        Assert.Contains("<4>not started (data-missing)", _said[0], StringComparison.Ordinal);
    }

    /// <summary>Declared to go, and told all the same.</summary>
    [Theory]
    [InlineData(2_345, "at most 2,400 keys, which the server had in its memory only")]
    [InlineData(0, null)]
    public async Task Up_OfAServerWithMemoryOnlyThatHadKeys_SaysWhatIsGone(int keys, string? gone)
    {
        Write(keys);
        await File.WriteAllBytesAsync(NotesPath, (RedisNotes.Parse(await File.ReadAllBytesAsync(NotesPath, Stop))! with { Keeps = Kept.Memory }).Render(), Stop);
        await File.WriteAllTextAsync(_root + "/redis.conf", "appendonly no\nsave \"\"\n", Stop);
        Directory.CreateDirectory(_root + "/data");
        Assert.Equal(0, await AskAsync());
        var record = GateRecord.Parse(await File.ReadAllBytesAsync(NotesPath + ".gate", Stop))!;
        Assert.Equal((gone, gone is null), (record.Gone, record.IsPlain));
        var notes = RedisTold.Notes(Input(), Converged(Input(), Goal(Input())) with { GateSaid = record });
        Assert.Equal(gone is null ? [] : [("DataGone", $"it came up as primary without {gone}; no other member that could be asked had it")], notes.Select(n => (n.Reason, n.Text)));
        Assert.DoesNotContain("start gate", RedisTold.Details(Goal(Input()), Converged(Input(), Goal(Input())) with { GateSaid = record, Serving = Serving.Refused }).Keys);
    }

    [Fact]
    public void After_ManyStarts_KeepsSoManyAndThoseThatPeopleHearOf()
    {
        GateRecord? last = null;
        for (var i = 0; i < 40; i++) last = new GateRecord(i, i % 2 == 0 ? "hold" : "up", "", "why").After(last);
        Assert.Equal(40, last!.Number);
        Assert.Equal(15, last.Told.Count());
        Assert.DoesNotContain(last.Told, d => d.IsPlain);
    }

    /// <summary>What a build that kept one decision wrote.</summary>
    [Fact]
    public void Parse_OfTheBuildBefore_IsReadAndTold()
    {
        var record = GateRecord.Parse("""{"at":7,"verdict":"follow","role":"follows:10.0.0.2:6379","why":"member 1 has all that is here, and more"}"""u8)!;
        Assert.Single(record.After(null).Told);
        var note = Assert.Single(RedisTold.Notes(Input(), Converged(Input(), Goal(Input())) with { GateSaid = record }));
        Assert.Equal(("GateFollowed", "its start gate let it up as a replica of member 1, not as primary: member 1 has all that is here, and more"), (note.Reason, note.Text));
        Assert.Equal(2, new GateRecord(9, "hold", "", "") { Code = "x" }.After(record with { Number = 1 }).Told.Count());
    }

    [Fact]
    public void Details_HoldAndFollow_AreShownWhileTheyAreSo()
    {
        var (goal, up) = (Goal(Input()), Converged(Input(), Goal(Input())));
        var held = up.Down() with { GateSaid = new(7, "hold", "", "why") { Code = "data-missing" } };
        Assert.Equal("Jan 1 00:00:07 UTC held it back (data-missing): why", RedisTold.Details(goal, held)["start gate"]);
        Assert.DoesNotContain("start gate", RedisTold.Details(goal, up with { GateSaid = held.GateSaid }).Keys);
        var behind = up with { Role = RedisRole.Follows("10.0.0.2:6379"), GateSaid = new(7, "follow", RedisRole.Follows("10.0.0.2:6379"), "why") };
        Assert.Contains("let it up as a replica of 10.0.0.2:6379", RedisTold.Details(goal, behind)["start gate"], StringComparison.Ordinal);
    }

    [Fact]
    public async Task End_IsNotedOnceItIsOnTheDisk_AndTakenBackBeforeTheServerWritesAgain()
    {
        WriteCut();
        Assert.Equal(1, await AskAsync()); // Nobody saw its end.
        Assert.Contains("<4>not started (unseen-data): its host went down under the server", _said[^1], StringComparison.Ordinal);

        // A start that was held back is no end of a server.
        Assert.Equal(0, End("exec-condition", null));
        Assert.Equal(0, End("exec-condition", "exited"));
        Assert.Equal(0, End("timeout", null));
        Assert.Equal(1, await AskAsync());

        // What it had acknowledged and not written yet went with its process, or a full disk refused it.
        foreach (var (result, code) in ((string, string)[])[("signal", "killed"), ("core-dump", "dumped")])
        {
            Assert.Equal(0, End(result, code));
            Assert.Equal(1, await AskAsync());
            Assert.Contains("<4>not started (unseen-data): the server did not end in order", _said[^1], StringComparison.Ordinal);
        }

        Assert.Equal(0, End("success", "exited"));
        var marked = await File.ReadAllBytesAsync(NotesPath + ".end", Stop);
        Assert.Equal(0, await AskAsync());
        Assert.False(File.Exists(NotesPath + ".end"), "the server writes from here on");
        Assert.Equal(1, await AskAsync());

        // It speaks for the files that it was written of, and for a primary.
        await File.WriteAllBytesAsync(NotesPath + ".end", marked, Stop);
        File.AppendAllText(_root + "/data/appendonlydir/a.1.incr.aof", "*1\r\n$4\r\nPING\r\n");
        Assert.Equal(1, await AskAsync());
        File.WriteAllText(_root + "/role.conf", RedisRender.Role(RedisRole.Follows("127.0.0.1:9")));
        Assert.Equal(0, End("success", "exited"));
        File.WriteAllText(_root + "/role.conf", RedisRender.Role(RedisRole.Primary));
        Assert.Equal(1, await AskAsync());
        Assert.Equal(0, End("success", "exited"));
        Assert.Equal(0, await AskAsync());
    }

    [Fact]
    public async Task End_WhatCannotBeBroughtToTheDiskOrTakenBack_CountsAsNotThere()
    {
        WriteCut();
        Directory.CreateSymbolicLink(_root + "/data/appendonlydir/elsewhere", "/nowhere"); // It cannot be opened, as on a disk that fails.
        Assert.Equal(1, End("success", "exited"));
        Assert.False(File.Exists(NotesPath + ".end"));
        File.Delete(_root + "/data/appendonlydir/elsewhere");
        Assert.Equal(0, End("success", "exited"));
        var mark = await File.ReadAllBytesAsync(NotesPath + ".end", Stop);
        await File.WriteAllTextAsync(NotesPath + ".end", "{}", Stop);
        Assert.Equal(1, await AskAsync());
        await File.WriteAllTextAsync(NotesPath + ".end", "half a mar", Stop);
        Assert.Equal(1, await AskAsync());
        await File.WriteAllBytesAsync(NotesPath + ".end", mark, Stop);
        Assert.Equal(0, await AskAsync());
    }

    /// <summary>An old copy of data, notes and the mark of the end fits itself; its configuration knows of later starts.</summary>
    [Fact]
    public async Task Start_OfDataAndNotesThatWerePutBackTogether_KnowsNothingOfWhatTheServerHad()
    {
        WriteCut();
        Assert.Equal(0, End("success", "exited"));
        Assert.Equal(0, await AskAsync());
        Assert.Equal(0, End("success", "exited"));
        var copies = Directory.GetFiles(_root, "m.json*").ToDictionary(f => f, File.ReadAllBytes);
        Assert.Equal(0, await AskAsync());
        Assert.Equal("uid-1 2\n", await File.ReadAllTextAsync(_root + "/starts", Stop));
        Assert.Equal(0, End("success", "exited"));

        foreach (var (file, bytes) in copies) await File.WriteAllBytesAsync(file, bytes, Stop);
        for (var i = 0; i < 3; i++)
        {
            Assert.Equal(1, await AskAsync());
            Assert.Contains("<4>not started (unseen-data): nothing is known here of what the server had, and member 1", _said[^1], StringComparison.Ordinal);
        }

        // Another resource of this name begins anew, and so does one whose configuration was made anew.
        foreach (var counted in (string[])["uid-0 7\n", "", "uid-1 x\n"])
        {
            foreach (var (file, bytes) in copies) await File.WriteAllBytesAsync(file, bytes, Stop);
            await File.WriteAllTextAsync(_root + "/starts", counted, Stop);
            Assert.Equal(0, await AskAsync());
            Assert.Equal("uid-1 2\n", await File.ReadAllTextAsync(_root + "/starts", Stop));
        }
    }

    /// <summary>A build before measured no files: its notes do not say that they were empty.</summary>
    [Fact]
    public void Parse_NotesOfTheBuildBefore_MeasureNothing()
    {
        var notes = RedisNotes.Parse("""{"version":1,"uid":"u","ordinal":0,"dataDir":"/d","confDir":"/c","own":{"role":"primary","id":"a","offset":7},"peers":{"1":{"id":"a"}}}"""u8)!;
        Assert.Equal((null, null), (notes.Own!.Appended, notes.Peers[1].Pair));
        Assert.Null(notes.Peers[1].Appended);
    }

    /// <summary>A primary with an append-only file, and a replica that was seen to have keys and is not there now.</summary>
    private void WriteCut()
    {
        Write(keys: 3);
        var notes = RedisNotes.Parse(File.ReadAllBytes(NotesPath))!;
        File.WriteAllBytes(NotesPath, (notes with
        {
            Members = [new(0, "127.0.0.1", 7), new(1, "127.0.0.1", 9)],
            Peers = notes.Peers.Add(1, Held(RedisRole.Follows("127.0.0.1:7"), keys: 3)),
        }).Render());
        Directory.CreateDirectory(_root + "/data/appendonlydir");
        File.WriteAllText(_root + "/data/appendonlydir/a.manifest", "file a.1.incr.aof seq 1 type i\n");
        File.WriteAllText(_root + "/data/appendonlydir/a.1.incr.aof", "*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\n1\r\n");
    }

    /// <summary>A server with snapshots saves at an orderly stop, and nobody else ties what lies there to its end.</summary>
    [Theory]
    [InlineData("success", "exited", "0", 1000, true)]
    [InlineData("success", "exited", "0", 990, true)] // It took something more until it ended.
    [InlineData("success", "exited", "0", 1001, false)] // It ended without a save (SHUTDOWN NOSAVE, save points that a hand took away), and the dump of a save in the background is older.
    [InlineData("success", "exited", "0", -1, false)] // Nobody asked it: a hand ended it.
    [InlineData("signal", "killed", "KILL", 1000, false)]
    [InlineData("exit-code", "exited", "1", 1000, false)]
    [InlineData("timeout", "killed", "KILL", 1000, false)]
    public async Task End_OfAServerWithSnapshots_IsWholeOnlyWhereItSavedLast(string result, string code, string status, long asked, bool whole)
    {
        Write(keys: 3);
        var notes = RedisNotes.Parse(await File.ReadAllBytesAsync(NotesPath, Stop))!;
        await File.WriteAllBytesAsync(NotesPath, (notes with
        {
            Members = [new(0, "127.0.0.1", 7), new(1, "127.0.0.1", 9)],
            Peers = notes.Peers.Add(1, Held(RedisRole.Follows("127.0.0.1:7"), keys: 3)),
            Keeps = Kept.Snapshots,
        }).Render(), Stop);
        await File.WriteAllTextAsync(_root + "/redis.conf", "appendonly no\nsave 3600 1\n", Stop);
        Directory.CreateDirectory(_root + "/data");
        await File.WriteAllBytesAsync(_root + "/data/dump.rdb", Dump(1), Stop);
        if (asked >= 0) WriteAsked(asked);
        Assert.Equal(0, RedisEndProgram.Run(NotesPath, new FileReader(), new FileWriter(), _clock, new(result, code, status, "run-1"), _said.Add));
        var mark = await File.ReadAllBytesAsync(NotesPath + ".end", Stop);
        Assert.Equal(whole ? 0 : 1, await AskAsync());
        if (!whole) Assert.Contains("<4>not started (unseen-data): the server did not end in order: what it took after its dump is not here", _said[^1], StringComparison.Ordinal);

        // It speaks for the dump that it was written of.
        await File.WriteAllBytesAsync(NotesPath + ".end", mark, Stop);
        await File.WriteAllBytesAsync(_root + "/data/dump.rdb", Dump(2), Stop);
        Assert.Equal(1, await AskAsync());
    }

    /// <summary>A dump of one key, made at a time (rdb.h of the Redis source).</summary>
    private static byte[] Dump(byte made) => [.. "REDIS0011"u8, 0xFA, 5, .. "ctime"u8, 0xC0, made,
        0xFA, 7, .. "repl-id"u8, 40, .. Encoding.ASCII.GetBytes(Held(RedisRole.Primary).Id), 0xFA, 11, .. "repl-offset"u8, 4, .. "1000"u8, 0xFE, 0, 0xFB, 1, 0, 0, 1, (byte)'a', 1, (byte)'1', 0xFF, 0, 0, 0, 0, 0, 0, 0, 0];

    /// <summary>
    /// One that exits by itself may have been told by a hand to append no more; what it said of another run, or that it could not, is no
    /// word for this one.
    /// </summary>
    [Theory]
    [InlineData("run-1", true, "run-1", 0)]
    [InlineData("run-0", true, "run-1", 1)]
    [InlineData("", true, "", 1)]
    [InlineData("run-1", false, "run-1", 1)]
    [InlineData(null, true, "run-1", 1)]
    public async Task End_WithAnAppendOnlyFile_IsWholeOnlyWhereTheServerWasAsked(string? asked, bool appending, string run, int code)
    {
        WriteCut();
        if (asked is not null) WriteAsked(1000, asked, appending);
        Assert.Equal(0, RedisEndProgram.Run(NotesPath, new FileReader(), new FileWriter(), _clock, new("success", "exited", "0", run), _said.Add));
        Assert.Equal(code, await AskAsync());
        if (code == 1) Assert.Contains("the server did not end in order", _said[^1], StringComparison.Ordinal);
    }

    private void WriteAsked(long offset, string run = "run-1", bool appending = true) =>
        File.WriteAllBytes(NotesPath + ".stop", new RedisStop(run, Held(RedisRole.Primary).Id, offset, appending).Render());

    private int End(string result, string? exitCode)
    {
        if (result == "success") WriteAsked(1000);
        return RedisEndProgram.Run(NotesPath, new FileReader(), new FileWriter(), _clock, new(result, exitCode, exitCode == "exited" ? "0" : "KILL", "run-1"), _said.Add);
    }

    private Task<int> AskAsync() => RedisGateProgram.RunAsync(NotesPath, new FileReader(), new FileWriter(), _clock, _said.Add, Stop);

    private void Write(long keys)
    {
        File.WriteAllText(_root + "/redis.conf", "appendonly yes\n");
        File.WriteAllText(_root + "/role.conf", RedisRender.Role(RedisRole.Primary));
        File.WriteAllBytes(NotesPath, new RedisNotes
        {
            Uid = "uid-1",
            Ordinal = 0,
            DataDir = _root + "/data",
            ConfDir = _root,
            Keeps = Kept.AppendOnly,
            Own = keys == 0 ? null : Held(RedisRole.Primary, keys: keys),
        }.Render());
    }
}
