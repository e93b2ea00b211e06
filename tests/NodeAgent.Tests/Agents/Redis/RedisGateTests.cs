using AgentMetal.NodeAgent.Agents.Redis;
using AgentMetal.NodeAgent.Agents.Redis.Data;

namespace AgentMetal.NodeAgent.Tests.Agents.Redis;

/// <summary>How a start is judged where the notes are older than the files: by what the file grew, and what the peer has had of the stream.</summary>
public sealed class RedisGateTests
{
    private static readonly string s_id = new('a', 40), s_next = new('b', 40);

    /// <summary>A primary noted at offset 1,000 with a file of 1,000 bytes, and a replica that it had.</summary>
    private static GateQuestion Question(long size, bool torn, NotedData replica, params NotedPast[] past) => new(RedisRole.Primary, true, Kept.AppendOnly,
        new(true, null, new(1, "a.1.incr.aof", size, "a.1.base.rdb", 88, true, "") { IsTorn = torn, Size = size + 88 }),
        new()
        {
            Uid = "u",
            Ordinal = 0,
            DataDir = "/d",
            ConfDir = "/c",
            Own = new() { Role = RedisRole.Primary, Id = s_id, Offset = 1000, Keys = 10, Appending = true, Appended = 1088, At = 100 },
            Files = new() { Number = 1, Part = "a.1.incr.aof", PartSize = 1000, Base = "a.1.base.rdb", BaseSize = 88, From = 1000 },
            Past = [.. past],
        },
        [new(1, "10.0.0.2:6379", Serving.Answering, RedisRole.Follows("10.0.0.1:6379"), replica)], 105);

    private static NotedData At(string id, long offset, string id2 = "", long offset2 = -1) => new() { Id = id, Offset = offset, Id2 = id2, Offset2 = offset2, Keys = 10 };

    [Theory]
    [InlineData(6000, false, 6000, Gate.Up)] // Both have all.
    [InlineData(6000, false, 1000, Gate.Up)] // The replica was cut off.
    [InlineData(3000, false, 6000, Gate.Follow)] // The file was cut, and the replica has the end.
    [InlineData(5990, true, 6010, Gate.Follow)] // A power cut tore the end, and the replica has it.
    [InlineData(5990, true, 6000, Gate.Hold)] // The replica has it, or a ping.
    [InlineData(5990, true, 1000, Gate.Up)] // The replica has nothing beyond the note.
    [InlineData(1700, true, 1510, Gate.Up)] // The replica has not had as much as lies there: not what is torn, and nothing behind it.
    [InlineData(5990, true, 1500, Gate.Up)]
    [InlineData(6000, false, 6027, Gate.Follow)] // A short command more: a hand may have told the server to append no more.
    public void Judge_FileThatGrewSinceTheNote(long size, bool torn, long replica, object gate) =>
        Assert.Equal((Gate)gate, RedisGate.Judge(Question(size, torn, At(s_id, replica)) with { End = ServerEnd.Unseen }).Gate);

    /// <summary>
    /// It was asked before it ended, and its files are as it left them: what the stream has beside its commands is nothing that it lacks.
    /// </summary>
    [Fact]
    public void Judge_ServerThatEndedWhole_HasAllOfItsStream() => Assert.Equal(Gate.Up, RedisGate.Judge(Question(3000, false, At(s_id, 6000))).Gate);

    /// <summary>Notes that were lost are no sign that there was nothing to know.</summary>
    [Theory]
    [InlineData(true, "unreachable", Gate.Hold)]
    [InlineData(true, Serving.Refused, Gate.Hold)]
    [InlineData(false, "unreachable", Gate.Hold)]
    public void Judge_NothingIsKnownOfWhatTheServerHad_WaitsForThoseThatMayHaveMore(bool noted, string serving, object gate)
    {
        var q = Question(6000, false, At(s_id, 6000));
        var answer = RedisGate.Judge(q with { Notes = noted ? q.Notes! with { Own = null, Files = new() } : null, Peers = [q.Peers[0] with { Serving = serving, Role = "", Data = null }] });
        Assert.Equal(((Gate)gate, (Gate)gate == Gate.Hold), (answer.Gate, answer.Passes));
        if (answer.Gate == Gate.Hold) Assert.Contains("nothing is known here of what the server had, and member 1", answer.Why, StringComparison.Ordinal);
    }

    /// <summary>A hand told the server to append no more; it took writes, saved them at its end, and loads the append-only file when it starts.</summary>
    [Theory]
    [InlineData('a', 9000, Gate.Hold)]
    [InlineData('a', 6000, Gate.Up)] // The file has grown as far.
    [InlineData('b', 9000, Gate.Up)] // Of another history: nothing tells.
    public void Judge_DumpThatGoesOnWhereTheAppendOnlyFileEnds(char history, long offset, object gate)
    {
        var q = Question(6000, false, At(s_id, 6000)) with { Peers = [] };
        var answer = RedisGate.Judge(q with { Disk = q.Disk with { Dump = new(500, 104, 10, new(new(history, 40), offset), "") } });
        Assert.Equal((Gate)gate, answer.Gate);
        if (answer.Gate == Gate.Hold) Assert.Equal("data-missing", answer.Code);
    }

    /// <summary>A replica that is started anew while its primary is being made a copy of something else: what it holds now it will not hold for long.</summary>
    [Theory]
    [InlineData("follows:10.9.9.9:6379", Gate.Hold)]
    [InlineData("follows:10.0.0.1:6379", Gate.Up)] // A circle: both have the same.
    [InlineData("follows:10.0.0.3:6379", Gate.Up)] // Another member.
    [InlineData(RedisRole.Primary, Gate.Up)]
    public void Judge_ReplicaWhosePrimaryFollowsAStranger(string role, object gate)
    {
        var q = Question(6000, false, At(s_id, 6000));
        q = q with
        {
            Role = RedisRole.Follows("10.0.0.2:6379"),
            Address = "10.0.0.1:6379",
            Notes = q.Notes! with { Own = q.Notes!.Own! with { Role = RedisRole.Follows("10.0.0.2:6379") }, CopyOf = "10.0.0.2:6379" },
            Peers = [q.Peers[0] with { Role = role }, new(2, "10.0.0.3:6379", Serving.Answering, RedisRole.Primary, At(s_id, 6000))],
        };
        Assert.Equal((Gate)gate, RedisGate.Judge(q).Gate);
    }

    [Fact]
    public void Judge_TwoThatCannotBeSeen_NamesBothWithTheirFigures()
    {
        var q = Question(6000, false, At(s_id, 6000));
        q = q with { End = ServerEnd.Unseen, Notes = q.Notes! with { Peers = q.Notes!.Peers.Add(1, At(s_id, 6000)).Add(2, At(s_id, 6000) with { Keys = 2500 }) } };
        var answer = RedisGate.Judge(q with { Peers = [.. ((int[])[1, 2]).Select(n => q.Peers[0] with { Ordinal = n, Serving = "unreachable", Role = "", Data = null })] });
        Assert.Equal((Gate.Hold, "unseen-data", true), (answer.Gate, answer.Code, answer.Passes));
        Assert.Contains("what only member 1 holds of what the server took before its host went down, at most 10 keys", answer.Loss, StringComparison.Ordinal);
        Assert.Contains("what only member 2 holds of what the server took before its host went down, at most 2,500 keys", answer.Loss, StringComparison.Ordinal);
        Assert.Contains("member 2, which does not answer", answer.Why, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(6000, 6001, Gate.Follow)] // A hand made it a primary; it had all before.
    [InlineData(9000, 1001, Gate.Hold)] // It left the stream long before, and took writes of its own.
    public void Judge_ReplicaThatLeftTheStream(long offset, long left, object gate) =>
        Assert.Equal((Gate)gate, RedisGate.Judge(Question(6000, true, At(s_next, offset, s_id, left))).Gate);

    [Theory]
    [InlineData(5000, Gate.Up)]
    [InlineData(50_000, Gate.Hold)] // Of that history, and further than the files went.
    public void Judge_ReplicaOfTheHistoryBefore(long offset, object gate) =>
        Assert.Equal((Gate)gate, RedisGate.Judge(Question(1000, false, At(s_next, offset), new NotedPast(s_next, 6000))).Gate);

    [Theory]
    [InlineData(90, 'b', 500, Gate.Up)] // Older than the note: what was noted is all that it can hold.
    [InlineData(103, 'a', 1200, Gate.Up)] // Newer, and of the primary's stream.
    [InlineData(103, 'b', 1200, Gate.Hold)] // Newer, and of another history: it took writes of its own and saved them.
    public void Judge_ReplicaWithADump(long made, char history, long offset, object gate)
    {
        var position = new RedisPosition(new(history, 40), offset);
        var q = Question(0, false, At(s_id, 2000));
        q = q with
        {
            Role = RedisRole.Follows("10.0.0.2:6379"),
            AppendOnly = false,
            Keeps = Kept.Snapshots,
            Disk = new(true, new(1000, made, 10, position, ""), null),
            Notes = q.Notes! with { Own = q.Notes!.Own! with { Role = RedisRole.Follows("10.0.0.2:6379"), Appending = false }, Files = new() { DumpMade = 80 }, CopyOf = "10.0.0.2:6379" },
            Peers = [q.Peers[0] with { Role = RedisRole.Primary }],
        };
        Assert.Equal((Gate)gate, RedisGate.Judge(q).Gate);
    }

    [Theory]
    [InlineData("unseen:unreachable", 100, 90, "Broken", Gate.Hold)] // The replica had the changes, and cannot be asked yet.
    [InlineData("unseen:unreachable", 0, 90, "Broken", Gate.Hold)] // All was saved when it was noted; what came after is not known.
    [InlineData("unseen:unreachable", 0, 104, "Broken", Gate.Hold)] // A dump that was made after the note, and before the end.
    [InlineData("unseen:unreachable", 0, 104, "Unseen", Gate.Hold)]
    [InlineData("unseen:unreachable", 100, 104, "Whole", Gate.Up)] // It was saved at the end.
    [InlineData("unseen:unreachable", 100, 85, "Whole", Gate.Up)] // The clock was put back.
    [InlineData(Serving.Refused, 100, 90, "Broken", Gate.Hold)] // The replica is down too, and may have saved later.
    [InlineData(Serving.Refused, 100, 104, "Whole", Gate.Up)]
    public void Judge_PrimaryWithSnapshotsWhoseReplicaIsNotSeen(string serving, long changes, long made, string end, object gate)
    {
        var q = Question(0, false, At(s_id, 1000));
        q = q with
        {
            AppendOnly = false,
            Keeps = Kept.Snapshots,
            End = Enum.Parse<ServerEnd>(end),
            Disk = new(true, new(1000, made, 10, made > 100 ? new RedisPosition(s_id, 1000) : new RedisPosition(s_id, 500), ""), null),
            Notes = q.Notes! with { Own = q.Notes!.Own! with { Changes = changes }, Files = new() { DumpMade = 90 }, Peers = q.Notes.Peers.Add(1, At(s_id, 500)) },
            Peers = [new(1, "10.0.0.2:6379", serving, "", null)],
        };
        Assert.Equal((Gate)gate, RedisGate.Judge(q).Gate);
        // That neither had a key when it was noted says nothing of what came since.
        q = q with { Disk = q.Disk with { Dump = end == "Whole" ? q.Disk.Dump : null }, Notes = q.Notes! with { Own = q.Notes!.Own! with { Keys = 0, Changes = 0 }, Files = new(), Peers = q.Notes.Peers.SetItem(1, At(s_id, 500) with { Keys = 0 }) } };
        Assert.Equal((Gate)gate, RedisGate.Judge(q).Gate);
    }

    /// <summary>The host went down under a primary with an append-only file; a replica with keys was noted.</summary>
    private static GateQuestion Cut(long size, NotedData replica, string serving = Serving.Answering, bool torn = false, NotedPair? pair = null, string ended = "Unseen")
    {
        var q = Question(size, torn, replica);
        return q with
        {
            End = Enum.Parse<ServerEnd>(ended),
            Address = "10.0.0.1:6379",
            Disk = q.Disk with { Aof = q.Disk.Aof! with { Size = size + 88 } },
            Notes = q.Notes! with { Own = q.Notes.Own! with { Appended = 1088 }, Peers = q.Notes.Peers.Add(1, At(s_id, 1000) with { Pair = pair }) },
            Peers = [q.Peers[0] with { Serving = serving, Data = serving == Serving.Answering ? replica : null }],
        };
    }

    [Theory]
    [InlineData("unseen:unreachable", "Unseen", Gate.Hold)] // The host is up before its network.
    [InlineData(Serving.Refused, "Unseen", Gate.Hold)] // The replica's file has the end too.
    [InlineData("unseen:unreachable", "Broken", Gate.Hold)] // Its process was killed, with what it had not written yet.
    [InlineData(Serving.Refused, "Broken", Gate.Hold)]
    [InlineData("unseen:unreachable", "Whole", Gate.Up)] // It ended in order.
    public void Judge_PrimaryThatDidNotEndInOrder_WaitsForItsReplica(string serving, string ended, object gate)
    {
        var answer = RedisGate.Judge(Cut(1000, At(s_id, 1000), serving, ended: ended));
        Assert.Equal((Gate)gate, answer.Gate);
        if (answer.Gate == Gate.Hold) Assert.Equal(("unseen-data", true), (answer.Code, answer.Passes));
    }

    [Fact]
    public void Judge_HostThatWentDown_WaitsForNobodyWhoHadNothingOrIsGone()
    {
        var q = Cut(1000, At(s_id, 1000), "unseen:unreachable");
        Assert.Equal(Gate.Up, RedisGate.Judge(q with { Peers = [q.Peers[0] with { Struck = true }] }).Gate);
        Assert.Equal(Gate.Up, RedisGate.Judge(q with { Peers = [] }).Gate);
        Assert.Equal(Gate.Up, RedisGate.Judge(q with { Notes = q.Notes! with { Peers = q.Notes.Peers.Clear() } }).Gate); // Made, and never seen to answer.
        var empty = q with { Notes = q.Notes! with { Own = q.Notes.Own! with { Keys = 0 }, Peers = q.Notes.Peers.SetItem(1, At(s_id, 0) with { Keys = 0 }) } };
        Assert.Equal(Gate.Hold, RedisGate.Judge(empty).Gate); // Its file has keys: they came after the note, there too.
        Assert.Equal(Gate.Up, RedisGate.Judge(empty with { Disk = empty.Disk with { Aof = empty.Disk.Aof! with { HasKeys = false } } }).Gate);
    }

    /// <summary>Both were asked at once when this file had 1,088 bytes and the replica's 5,000; both have grown since.</summary>
    [Theory]
    [InlineData(6000, 10_000, false, Gate.Up)] // By as much.
    [InlineData(6000, 10_017, false, Gate.Follow)] // The replica has one short command more.
    [InlineData(6000, 9_983, false, Gate.Up)] // The file has one more.
    [InlineData(6000, 10_023, false, Gate.Follow)]
    [InlineData(6000, 9_977, false, Gate.Up)] // It names its database once more.
    [InlineData(6000, 9_998, false, Gate.Follow)] // It does, and lacks a command of 21 bytes.
    [InlineData(6000, 10_030, true, Gate.Follow)] // It ends within a command that the replica has.
    [InlineData(6000, 10_000, true, Gate.Follow)] // It ends where the replica does, and the server would cut that off.
    [InlineData(6000, 9_970, true, Gate.Up)] // It ends within a command that the replica has not.
    public void Judge_AfterTheHostWentDown_WhoHasMoreLeads(long size, long replica, bool torn, object gate) => Assert.Equal((Gate)gate,
        RedisGate.Judge(Cut(size, At(s_id, 6300) with { Appended = replica, AppendedBase = 88 }, torn: torn, pair: new(1000, 1088, "a.1.incr.aof", 1000, 5000, 88))).Gate);

    [Theory]
    [InlineData(6000, 10_000, "a.1.incr.aof", Gate.Up)] // Both lost power, and have the same.
    [InlineData(6000, 10_040, "a.1.incr.aof", Gate.Hold)] // The replica has more, or other writes.
    [InlineData(6000, 9_960, "a.1.incr.aof", Gate.Hold)]
    [InlineData(6000, 10_000, "a.0.incr.aof", Gate.Hold)] // It was measured against a file of before.
    public void Judge_BothHostsWentDown_OnlyEqualsNeedNoPerson(long size, long replica, string part, object gate) => Assert.Equal((Gate)gate,
        RedisGate.Judge(Cut(size, At(s_next, 1) with { Appended = replica, AppendedBase = 99 }, pair: new(1000, 1088, part, 1000, 5000, 88))).Gate);

    /// <summary>The replica made its file anew since: only the stream tells, with its pings.</summary>
    [Theory]
    [InlineData(1000, 1000, Gate.Up)] // It has had nothing since the note.
    [InlineData(3000, 1500, Gate.Up)] // The file has grown by more.
    [InlineData(3000, 6000, Gate.Follow)]
    [InlineData(1000, 1014, Gate.Up)] // A ping: no command is as short.
    [InlineData(1500, 1500, Gate.Up)] // Both have the same, or there were pings and the file has more.
    [InlineData(1500, 1514, Gate.Up)]
    [InlineData(1500, 1527, Gate.Follow)] // A short command.
    [InlineData(1500, 1528, Gate.Follow)] // Two pings, or a short command: all that is here is there.
    [InlineData(1500, 1486, Gate.Up)]
    public void Judge_AfterTheHostWentDown_WhereFilesCannotBeMeasured(long size, long replica, object gate) =>
        Assert.Equal((Gate)gate, RedisGate.Judge(Cut(size, At(s_id, replica))).Gate);

    /// <summary>Nobody looked for a minute: what may be pings may be commands too, and either may have more.</summary>
    [Theory]
    [InlineData(1500, 1528, Gate.Hold)]
    [InlineData(1500, 1500, Gate.Up)]
    [InlineData(1500, 1700, Gate.Follow)]
    public void Judge_NotedLongBeforeTheHostWentDown_IsAskedWhereItCannotBeTold(long size, long replica, object gate) =>
        Assert.Equal((Gate)gate, RedisGate.Judge(Cut(size, At(s_id, replica)) with { Now = 165 }).Gate);

    [Theory]
    [InlineData(5912, 0, 6000)] // Started without files: it does not count the base of 88 bytes that it made.
    [InlineData(6000, 88, 6000)]
    [InlineData(6100, 88, 6100)] // It has written since the file was looked at.
    [InlineData(5900, 88, null)] // The file was made anew in between.
    [InlineData(null, 88, null)]
    public void Measured_AsItsFilesAre(int? said, long made, int? expected)
    {
        var disk = Question(5912, false, At(s_id, 1)).Disk;
        Assert.Equal(expected, (At(s_id, 1) with { Appended = said, AppendedBase = made }).Measured(disk with { Aof = disk.Aof! with { Size = 6000 } }).Appended);
        Assert.Null((At(s_id, 1) with { Appended = said, AppendedBase = made }).Measured(RedisDisk.Nothing).Appended);
    }
}
