using System.Collections.Immutable;
using System.Globalization;
using System.Text.Json.Serialization;
using AgentMetal.Runtime.Planning;

namespace AgentMetal.TestKit;

/// <summary>What is wanted of a cluster.</summary>
/// <param name="Members">Names; the first leads when there is nobody yet.</param>
/// <param name="Config">Taken in by a restart.</param>
/// <param name="Live">Taken in without one.</param>
public sealed record ClusterGoal(ImmutableSortedSet<string> Members, int Config, int Live)
{
    /// <summary>A goal from names.</summary>
    public static ClusterGoal Of(int config, int live, params string[] members) => new([.. members], config, live);
}

/// <summary>One server.</summary>
/// <param name="Up">Serves.</param>
/// <param name="Follows">Whom it copies; "" = it is a primary.</param>
/// <param name="Config">In force.</param>
/// <param name="Live">In force.</param>
/// <param name="InSync">Has all its primary has.</param>
public sealed record ClusterMember(bool Up, string Follows, int Config, int Live, bool InSync)
{
    /// <summary>Whether it leads.</summary>
    public bool Primary => Follows.Length == 0;

    /// <summary>Why it cannot be seen.</summary>
    public string? Unseen { get; init; }
}

/// <summary>All servers, and the last backup.</summary>
public sealed record ClusterState(ImmutableSortedDictionary<string, ClusterMember> Members, Later<string>? Backup)
{
    /// <summary>Nothing yet.</summary>
    public static readonly ClusterState Empty = new(ImmutableSortedDictionary.Create<string, ClusterMember>(StringComparer.Ordinal), null);

    /// <summary>Who leads; null if nobody that is up.</summary>
    public string? PrimaryName => Members.FirstOrDefault(m => m.Value is { Primary: true, Up: true }).Key;

    /// <summary>How many serve.</summary>
    public int Serving => Members.Count(m => m.Value.Up && (m.Value.Primary || m.Value.InSync));

    /// <summary>A healthy cluster with config 1 and live 1; the first name leads.</summary>
    public static ClusterState Healthy(params string[] names) =>
        Empty with { Members = Empty.Members.AddRange(names.Select(n => KeyValuePair.Create(n, new ClusterMember(true, n == names[0] ? "" : names[0], 1, 1, true)))) };

    /// <summary>With one member changed; null removes it.</summary>
    public ClusterState With(string name, ClusterMember? member) => this with { Members = member is null ? Members.Remove(name) : Members.SetItem(name, member) };

    /// <summary>With one member changed.</summary>
    public ClusterState With(string name, Func<ClusterMember, ClusterMember> change) => With(name, change(Members[name]));

    /// <summary>Every fact of one member.</summary>
    public static ImmutableArray<string> FactsOf(string member) => [$"m/{member}/up", $"m/{member}/follows", $"m/{member}/config", $"m/{member}/live", $"m/{member}/sync"];

    /// <summary>One fact.</summary>
    public string Fact(string key) => key.Split('/') switch
    {
        ["primary"] => PrimaryName ?? FactValue.Absent,
        ["serving"] => Serving.ToString(CultureInfo.InvariantCulture),
        ["members"] => string.Join(',', Members.Keys),
        ["backup"] => Backup?.AsFact ?? FactValue.Absent,
        ["m", var name, var what] => !Members.TryGetValue(name, out var m) ? FactValue.Absent : m.Unseen is { } why ? FactValue.Unseen(why) : what switch
        {
            "up" => m.Up ? "yes" : "no",
            "follows" => m.Primary ? "nobody" : m.Follows,
            "config" => m.Config.ToString(CultureInfo.InvariantCulture),
            "live" => m.Live.ToString(CultureInfo.InvariantCulture),
            "sync" => m.InSync ? "yes" : "no",
            _ => throw new ArgumentOutOfRangeException(nameof(key), key, null),
        },
        _ => throw new ArgumentOutOfRangeException(nameof(key), key, null),
    };
}

/// <summary>A call about one member.</summary>
public sealed record OnMember(string Member);

/// <summary>A number for one member.</summary>
public sealed record SetTo(string Member, int To);

/// <summary>A role of one member.</summary>
public sealed record FollowArgs(string Member, string Follows);

/// <summary>All a new member is told.</summary>
public sealed record StartArgs(string Member, string Follows, int Config, int Live);

/// <summary>A backup whose name the server gives.</summary>
public sealed record BackupArgs(string Of, string Token);

[JsonSerializable(typeof(OnMember))]
[JsonSerializable(typeof(SetTo))]
[JsonSerializable(typeof(FollowArgs))]
[JsonSerializable(typeof(StartArgs))]
[JsonSerializable(typeof(BackupArgs))]
internal sealed partial class ClusterJson : JsonSerializerContext;
