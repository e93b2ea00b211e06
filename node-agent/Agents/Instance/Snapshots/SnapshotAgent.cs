using System.Collections.Immutable;
using System.Globalization;
using AgentMetal.Runtime.Planning;

namespace AgentMetal.NodeAgent.Agents.Instance.Snapshots;

/// <summary>Values of facts.</summary>
internal static class Moment
{
    public const string Present = "present", Foreign = "foreign", Ours = "ours", Others = "another's", Made = "made", Ok = "ok";
}

/// <summary>Kinds of differences.</summary>
internal static class MomentKind
{
    public const string Machine = "machine", Missing = "missing", Taken = "taken", Gone = "gone", Present = "present";
}

/// <summary>The planning facts of one snapshot.</summary>
internal sealed record MomentState
{
    /// <summary>Whether its machine is here: present, absent, or foreign for a domain of its name that is not it.</summary>
    public required string Machine { get; init; }

    /// <summary>ok, or why the machine can have no snapshot now.</summary>
    public string Can { get; init; } = Moment.Ok;

    /// <summary>absent, ours, or another's of its name.</summary>
    public string Snapshot { get; init; } = FactValue.Absent;

    /// <summary>Whether it was made once.</summary>
    public string Made { get; init; } = FactValue.Absent;

    // For people.

    /// <summary>running, paused or off when it was made.</summary>
    public string Power { get; init; } = "";

    /// <summary>When it was made, Unix time; 0 = not known.</summary>
    public long At { get; init; }

    /// <summary>Bytes that the machine's disks grew by when it was made; 0 = not known.</summary>
    public long Bytes { get; init; }
}

/// <summary>The node half of Snapshot: one moment of a machine on this host.</summary>
internal sealed class SnapshotAgent(SnapshotScope scope, SnapshotActuator? actuator = null) : Agent<SnapshotGoal, MomentState>
{
    private const string FactMachine = "machine", FactCan = "can", FactSnapshot = "snapshot", FactMade = "made";

    public override string Name => "snapshot";

    public override ImmutableArray<Tool<SnapshotGoal, MomentState>> Tools { get; } = [new MakeSnapshot(scope, actuator), new DropSnapshot(scope, actuator)];

    public override ImmutableArray<Invariant<SnapshotGoal, MomentState>> Invariants { get; } =
    [
        new("wanted-stays", Strength.Never, FactSnapshot, static (goal, before, after) => goal is not null && before.Snapshot == Moment.Ours && after.Snapshot != Moment.Ours ? "a snapshot that is wanted would go" : null),
    ];

    public static ImmutableArray<string> Reads => [FactMachine, FactCan];
    public static ImmutableArray<string> Writes => [FactSnapshot, FactMade];

    public override IEnumerable<Difference> Differences(SnapshotGoal? goal, MomentState s)
    {
        if (goal is null)
        {
            if (s.Snapshot == Moment.Ours) yield return new(MomentKind.Present, "", "it is to go");
        }
        else if (s.Snapshot == Moment.Ours) { if (s.Made != Moment.Made) yield return new(MomentKind.Missing, "", "that it was made is not noted"); }
        else if (s.Machine == Moment.Foreign) yield return new(MomentKind.Machine, "", $"libvirt has a domain of the name of {goal.Machine} that is not it");
        else if (s.Machine != Moment.Present)
            yield return new(MomentKind.Machine, "", s.Made == Moment.Made ? $"{goal.Machine} is gone from libvirt, and this snapshot with it: agentmetal delete snapshot {goal.Name}" : $"{goal.Machine} is not on this host (yet)");
        else if (s.Snapshot != FactValue.Absent) yield return new(MomentKind.Taken, "", $"{goal.Machine} has a snapshot {goal.Name} that is not this one: take another name, or delete it (virsh snapshot-delete)");
        else if (s.Made == Moment.Made) yield return new(MomentKind.Gone, "", $"it was made, and {goal.Machine} does not have it any more; another moment is not made under its name: agentmetal delete snapshot {goal.Name}");
        else yield return new(MomentKind.Missing, "", "it is not made yet");
    }

    public override string Fact(MomentState s, string key) => key switch
    {
        FactMachine => s.Machine,
        FactCan => s.Can,
        FactSnapshot => s.Snapshot,
        FactMade => s.Made,
        _ => throw new ArgumentOutOfRangeException(nameof(key), key, "not a fact of a snapshot"),
    };

    public override IEnumerable<string> FactKeys(MomentState state) => [FactMachine, FactCan, FactSnapshot, FactMade];

    public override string Summary(SnapshotGoal? goal, MomentState s)
    {
        if (s.Snapshot != Moment.Ours) return goal is null ? "gone" : "not made";
        var at = s.At > 0 ? string.Create(CultureInfo.InvariantCulture, $" {DateTimeOffset.FromUnixTimeSeconds(s.At):yyyy-MM-dd HH:mm:ss} UTC") : "";
        var size = s.Bytes > 0 ? string.Create(CultureInfo.InvariantCulture, $", {Math.Max(1, s.Bytes >> 20)} MiB") : "";
        return $"made{at}{(s.Power.Length > 0 ? " while " + s.Power : "")}{size}";
    }
}
