using System.Collections.Immutable;
using System.Reflection;
using AgentMetal.NodeAgent.Agents.Redis;
using AgentMetal.NodeAgent.Agents.Redis.Data;
using AgentMetal.NodeAgent.Agents.Redis.Tools;
using AgentMetal.NodeAgent.Pipeline;
using AgentMetal.NodeAgent.Tests.Agents.Redis;
using AgentMetal.Runtime.Planning;
using CsCheck;
using static AgentMetal.NodeAgent.Tests.Agents.Redis.RedisSamples;

namespace AgentMetal.Conformance.Redis;

/// <summary>The node half of Redis. That its predictions are what real servers do is in <see cref="RealRedisToolTests"/>.</summary>
public sealed class RedisConformance : AgentConformance
{
    private protected override ISuite Suite { get; } = new Suite<RedisGoal, RedisState>(new RedisCases());
}

internal sealed class RedisCases : Samples<RedisGoal, RedisState>
{
    public override IReadOnlyCollection<string> Kinds { get; } =
        [.. typeof(Kind).GetFields(BindingFlags.Public | BindingFlags.Static).Where(f => f.IsLiteral).Select(f => (string)f.GetRawConstantValue()!)];

    private static readonly MemberInput s_adopted = Input(members: 1, spec: """{"auth":{"enabled":false},"adopt":{"unit":"redis-server.service"}}""");

    public override Gen<Case<RedisGoal, RedisState>> Any { get; } = Gen.Select(Cases, Gen.Int[0, 19], Gen.Int[0, 4]).Select((c, dice, which) => dice switch
    {
        0 => Of("", c.Input, Unseen(c.State, which)),
        1 or 2 => Of("", s_adopted, c.State with { Adopted = which == 0 ? "missing" : "redis-server.service", Peers = Nothing(s_adopted).Peers }),
        3 => Of("", c.Input, c.State with { Writes = c.State.Answers ? Writes.Refused : c.State.Writes, Port = c.State.IsDown ? Port.Taken : Port.Free }),
        _ => Of("", c.Input, c.State),
    });

    public override IReadOnlyList<Case<RedisGoal, RedisState>> Journeys { get; } = [.. Named()];

    public override IReadOnlyCollection<string> Secrets => [Password];

    public override bool HoldsData => true;

    public override int Count => 900;

    /// <summary>A start ends, a link comes up, an activation is over, a disk has space and a port is free again, an unreadable fact can be read again.</summary>
    public override RedisState Settle(RedisState s)
    {
        if (s.Serving == Serving.Loading) s = s with { Serving = Serving.Hung };
        if (s is { Serving: Serving.Refused, UnitActive: "activating" }) s = s with { UnitActive = "failed" };
        if (s is { Answers: true, Adopted: not FactValue.Absent, Role: FactValue.Absent }) s = s with { Role = RedisRole.Primary, AuthLive = RedisAuth.Off, Live = Goal(s_adopted).Settings };
        if ((s.Writes == Writes.Refused && !s.HasRoomToSave) || s.Port == Port.Taken) s = s with { Writes = s.Answers ? Writes.Taken : s.Writes, Port = Port.Free };
        if (s.Answers && s.PeerPrimary is { } p && s.Role == RedisRole.Follows(p.Value.Address)) s = s with { Link = Link.Up };
        return s;
    }

    public override IEnumerable<RedisState> Between(RedisState a, RedisState b) =>
    [
        a with { Package = b.Package }, a with { UnitFile = b.UnitFile, UnitText = b.UnitText }, a with { ConfigFile = b.ConfigFile, ConfigText = b.ConfigText },
        a with { UnitActive = b.UnitActive }, a with { UnitEnabled = b.UnitEnabled }, a with { UnitStale = b.UnitStale }, a with { Serving = b.Serving }, a with { Live = b.Live },
        a with { Writes = b.Writes, HasRoomToSave = b.HasRoomToSave }, a with { Port = b.Port }, a with { Role = b.Role }, a with { AuthFile = b.AuthFile }, a with { DataDir = b.DataDir }, a with { Data = b.Data }, a with { Backup = b.Backup },
        a with { Own = b.Own }, a with { Disk = b.Disk }, a with { Notes = b.Notes }, a with { HasRoom = b.HasRoom }, a with { End = b.End }, a with { Peers = b.Peers }, a with { Keys = b.Keys }, a with { Link = b.Link }, a with { DropIns = b.DropIns }, a with { AuthLive = b.AuthLive }, a with { RoleFile = b.RoleFile },
        .. a.Peers.Keys.Intersect(b.Peers.Keys).Select(n => a with { Peers = a.Peers.SetItem(n, b.Peers[n]) }),
    ];

    public override bool MovesByItself => true;

    /// <summary>
    /// Keys or files with keys, of which neither this member nor one that answers has any afterwards; or a place in a history that somebody held and nobody has
    /// reached afterwards.
    /// </summary>
    public override bool Loses(RedisState before, RedisState after) =>
        ((before.Keys == Stored.Some || before.Data is Stored.Aof or Stored.Rdb) && after.Data == Stored.None && after.Keys != Stored.Some
            && !before.Peers.Values.Any(p => p.Answers && p.Keys == Stored.Some) && RedisSettings.Persists(before.FileSettings))
        || InMemory(before).Any(held => !Everywhere(after, before).Concat(SavedAtItsStop(before, after)).Any(p => p == held || p.Covers(held) == true));

    /// <summary>A server with snapshots that is stopped and can write saves what it has.</summary>
    private static IEnumerable<RedisPosition> SavedAtItsStop(RedisState before, RedisState after) =>
        before is { Answers: true, Own: { } own } && !after.Answers && after.Data == Stored.Rdb && before.Writes != Writes.Refused && RedisSettings.Persists(before.FileSettings) ? [own.Position] : [];

    private static IEnumerable<RedisPosition> InMemory(RedisState s) => (s is { Answers: true, Keys: Stored.Some, Own: { } own } ? [own.Position] : Enumerable.Empty<RedisPosition>())
        .Concat(s.Peers.Values.Where(p => p.Answers && p.Keys == Stored.Some && p.Data is not null).Select(p => p.Data!.Position));

    private static IEnumerable<RedisPosition> Everywhere(RedisState s, RedisState before) => InMemory(s).Concat(AtRest(s, before.Own) is { } rest ? [rest] : []);

    /// <summary>What the files hold: a dump says it; an append-only file holds all that the server last had, and what came after in the same history.</summary>
    private static RedisPosition? AtRest(RedisState s, NotedData? before = null)
    {
        if (s.Data == Stored.Rdb) return s.Disk.Dump?.Position;
        var last = s.Own ?? before ?? s.Notes?.Own;
        if (s.Data != Stored.Aof || last is null) return null;
        var reached = s.Peers.Values.Where(p => p.Data?.Id == last.Id).Select(p => p.Data!.Offset).Append(last.Offset).Max();
        return last.Position with { Offset = reached };
    }

    /// <summary>systemd starts what is enabled, as the gate lets it; whoever follows a primary, directly or along a chain, gets its data.</summary>
    public override IEnumerable<RedisState> Starts(RedisState s)
    {
        if (s.Adopted != FactValue.Absent) yield break;
        if (s is { IsDown: true, UnitEnabled: "enabled", ConfigText: not null, Address.Length: > 0 } && s.RoleFile is not (FactValue.Absent or "other"))
        {
            var answer = RedisCopies.Judge(s, s.RoleFile);
            if (answer.Gate == Gate.Hold) yield break;
            var lead = s.Peers.Values.FirstOrDefault(p => p.Leads && RedisRole.Follows(p.Address) == answer.Role);
            var loaded = s.Data == Stored.None ? null : AtRest(s) is { } at ? Held(answer.Role) with { Id = at.Id, Offset = at.Offset, Id2 = at.Id2, Offset2 = at.Offset2 } : null;
            yield return Copied(s with { Serving = Serving.Answering, UnitActive = "active", Role = answer.Role, Own = lead?.Data ?? loaded, Keys = lead is not null ? lead.Keys : loaded is null ? Stored.None : Stored.Some, Link = lead is null ? Link.Down : Link.Up });
        }
    }

    public override IEnumerable<RedisState> ByItself(RedisState s) => s is { Answers: true, Own: not null } ? [Copied(s)] : Starts(s);

    private static RedisState Copied(RedisState s) => s.Address.Length == 0 || !(s.Leads || s.Link == Link.Up) ? s : s with
    {
        Peers = s.Peers.ToImmutableSortedDictionary(p => p.Key, p => p.Value.Answers && p.Value.Role == RedisRole.Follows(s.Address) && p.Value.Link == Link.Down
            ? p.Value with { Data = s.Own, Keys = s.Keys } : p.Value),
    };

    private static Case<RedisGoal, RedisState> Of(string name, MemberInput input, RedisState state) =>
        new(name, new RedisAgent(Scope(input)), input.Absent ? null : Goal(input), state, Request(input) with { Subject = new(new string('a', 32), input.ResourceUid, input.Generation) });

    private static IEnumerable<Case<RedisGoal, RedisState>> Named()
    {
        var alone = Input(members: 1);
        var healthy = Converged(alone, Goal(alone));
        yield return Of("create alone", alone, Nothing(alone));
        yield return Of("create a primary", Input(), Nothing(Input()));
        yield return Of("create a replica", Input(1), Nothing(Input(1)) with { Peers = Converged(Input(1), Goal(Input(1))).Peers });
        yield return Of("live settings", Input(members: 1, spec: """{"memory":{"max":"64Mi","policy":"allkeys-lru"},"timeout":30}"""), healthy);
        yield return Of("settings that need a restart", Input(members: 1, spec: """{"databases":32,"timeout":30}"""), healthy);
        yield return Of("another password", alone, healthy with { AuthFile = Old(alone), AuthLive = Old(alone) });
        yield return Of("files deleted, server down", alone, healthy.Down() with
        {
            UnitFile = FactValue.Absent,
            UnitText = null,
            UnitEnabled = "disabled",
            ConfigFile = FactValue.Absent,
            ConfigText = null,
            AuthFile = FactValue.Absent,
            RoleFile = FactValue.Absent,
        });
        yield return Of("drift", alone, healthy with
        {
            DropIns = healthy.DropIns.Add("/etc/systemd/system/x.d/o.conf", "[Service]\n"),
            DataDir = "wrong:0:0:700",
            RoleFile = "other",
            UnitStale = Yes.It,
            Live = healthy.Live.SetItem("timeout", "77"),
        });
        yield return Of("cannot save", alone, healthy with { Writes = Writes.Refused, HasRoomToSave = true });
        yield return Of("hung", alone, healthy with { Serving = Serving.Hung });
        var replica = Converged(Input(1), Goal(Input(1))).Down();
        yield return Of("a replica whose file is damaged", Input(1), replica with { Disk = replica.Disk with { Aof = replica.Disk.Aof! with { Damage = "damaged" } } });
        yield return Of("the only copy is damaged", alone, healthy.Down() with { Disk = healthy.Disk with { Aof = healthy.Disk.Aof! with { Damage = "damaged", BadAt = 100 } } });
        yield return Of("hand over", Input(primary: 1), Converged(Input(primary: 1), Goal(Input(primary: 1))));
        yield return Of("follow the primary", Input(1), Converged(Input(1), Goal(Input(1))) with { Role = RedisRole.Follows("10.0.0.3:6379"), RoleFile = RedisRole.Follows("10.0.0.3:6379"), Link = Link.Down });
        var wanted = Input(1, primary: 1);
        var orphan = Converged(wanted, Goal(wanted));
        yield return Of("become primary", wanted, orphan with
        {
            Link = Link.Down,
            Peers = orphan.Peers.ToImmutableSortedDictionary(p => p.Key, p => p.Value with { Role = RedisRole.Follows("10.0.0.2:6379"), Link = Link.Down }),
        });
        yield return Of("start what was taken over", s_adopted, Nothing(s_adopted) with { Adopted = "redis-server.service" });
        yield return Of("delete", Input(members: 1, absent: true, teardown: true), healthy);
        yield return Of("scale in", Input(2, absent: true), Converged(Input(2), Goal(Input(2))));
    }

    private static RedisState Unseen(RedisState s, int which) => which switch
    {
        0 => s with { Package = FactValue.Unseen("no answer") },
        1 => s with { ConfigFile = FactValue.Unseen("no answer"), ConfigText = null },
        2 => s with { UnitActive = FactValue.Unseen("no answer") },
        3 => s with { Data = FactValue.Unseen("no answer") },
        _ => s with { Serving = FactValue.Unseen("no answer") },
    };

    private static string Old(MemberInput input) => new RedisAuth(input.NodeUid, input.ResourceUid, "an-old-one").Digest;
}
