using System.Collections.Immutable;
using System.Globalization;
using System.Text;
using AgentMetal.NodeAgent.Agents.Redis.Data;
using AgentMetal.NodeAgent.Pipeline;
using AgentMetal.Runtime.Execution;
using AgentMetal.Runtime.Planning;
using AgentMetal.Runtime.Resources;
using AgentMetal.Runtime.Resources.Kinds;

namespace AgentMetal.NodeAgent.Agents.Redis;

/// <summary>Reads assignments of the kind Redis and makes what converges one.</summary>
/// <param name="readers">The host, to look.</param>
/// <param name="writers">The host, to act.</param>
/// <param name="clock">Bounds of waits within a step.</param>
/// <param name="roots">The directories below which members live.</param>
internal sealed class RedisMember(RedisReaders readers, RedisWriters writers, TimeProvider clock, RedisRoots roots) : MemberAgent<RedisGoal, RedisState>
{
    /// <summary>The name of the secret that holds the password.</summary>
    public const string PasswordSecret = "password";

    private const int MaxOrdinal = 99;

    private readonly RedisNotebook _book = new(readers.Files, writers.Files, clock);

    public override string Kind => RedisKind.Name;

    public override GoalResult<RedisGoal> ReadGoal(MemberInput input)
    {
        var errors = new List<SpecError>();
        CheckIdentity(input, errors);
        if (errors.Count > 0) return GoalResult<RedisGoal>.Unsupported([.. errors]);
        if (input.Absent) return GoalResult<RedisGoal>.Of(null);
        var (_, problems) = RedisKind.Schema.Validate(input.Spec);
        errors.AddRange(problems.Select(p => new SpecError(p.Path, p.Note.Length > 0 ? $"{p.Message}: {p.Note}" : p.Message)));
        if (errors.Count > 0) return GoalResult<RedisGoal>.Unsupported([.. errors]);
        var spec = RedisSpec.Parse(input.Spec);
        CheckMembers(input, spec, errors);
        return errors.Count > 0 ? GoalResult<RedisGoal>.Unsupported([.. errors]) : GoalResult<RedisGoal>.Of(Goal(input, spec));
    }

    public override Agent<RedisGoal, RedisState> AgentFor(MemberInput input)
    {
        var scope = Scope(input);
        return new RedisAgent(scope, new RedisActuator(scope, readers, writers, clock, ct => ObserverFor(input).ObserveAsync(ct)));
    }

    public override IStateObserver<RedisState> ObserverFor(MemberInput input) => new RedisObserver(Scope(input), readers, _book, Others(input), input.StruckOff);

    public override MemberStop StopOf(MemberInput input, RedisGoal? goal, RedisState state)
    {
        var scope = Scope(input);
        // What is in memory only goes with the process: its own settings say so, and not what was declared.
        var memoryOnly = state is { Answers: true, Keys: Stored.Some } && (!RedisSettings.Persists(state.Live) || state.Data == Stored.None);
        var elsewhere = state.Peers.Where(p => p.Value is { Answers: true, Keys: Stored.Some }).Select(p => $"member {p.Key}").ToList();
        return new(!state.IsDown, "stop " + scope.Unit, !memoryOnly ? ""
            : $"{input.ResourceKey} member {input.Ordinal} has its keys in memory only, and they go when it stops{(elsewhere.Count > 0 ? $"; {string.Join(", ", elsewhere)} has keys too" : "; no other member is seen to have any")}",
            new RedisActuator(scope, readers, writers, clock).StopForGoodAsync);
    }

    public override MemberWatch WatchFor(MemberInput input)
    {
        var scope = Scope(input);
        var layout = scope.Layout;
        if (scope.Adopt.Length > 0) return new([scope.Adopt], [], ct => RedisProbe.FingerprintAsync(scope.Endpoint, [], scope.Auth.DigestOf, ct)) { LogWords = RedisTold.LogWords, MemoryAdvice = $"raise MemoryMax= of {scope.Adopt}" };
        return new([layout.Unit], [layout.UnitPath, layout.DropInDir, layout.ConfDir, layout.Config, layout.Auth, layout.Role, layout.DataDir],
            async ct => await RedisProbe.FingerprintAsync(RespEndpoint.Unix(layout.SocketPath), Passwords(), scope.Auth.DigestOf, ct,
                own => _book.SeeAsync(scope, own, () => RedisProbe.OwnAsync(RespEndpoint.Unix(layout.SocketPath), Passwords(), ct), p => RedisProbe.PeerAsync(p, [.. Passwords(), null], ct))).ConfigureAwait(false) is var own && own == Serving.Refused ? own + await PeersAsync(ct).ConfigureAwait(false) : own)
        { LogWords = RedisTold.LogWords, MemoryAdvice = "raise spec.limits.memory, or lower spec.memory.max: a save and a rewrite of the append-only file need as much again" };

        // One that is down may wait for nothing but a peer: that this one is there is news, also while its start is there to sign.
        async ValueTask<string> PeersAsync(CancellationToken ct) => string.Concat((await Task.WhenAll(Others(input).Where(p => !p.Struck)
            .Select(p => RedisProbe.PeerAsync(p, [.. Passwords(), null], ct).AsTask())).ConfigureAwait(false)).Select(p => $"|{p.Ordinal} {p.State.Serving} {p.State.Role}"));

        ImmutableArray<string?> Passwords() => [scope.Auth.Password, .. RedisObserver.PasswordsInFiles(readers.Files, layout.ConfDir)];
    }

    public override ImmutableSortedDictionary<string, string> WatchedOf(RedisGoal? goal, RedisState state) => RedisTold.Watched(goal, state);

    public override MemberServing? ServingOf(RedisGoal? goal, RedisState state) => RedisTold.Serving(goal, state);

    public override string? MovedWords(MemberInput input, string key, string was, string now) => RedisTold.Words(input, key, was, now);

    public override ImmutableArray<OutsideNote> NotesOf(MemberInput input, RedisGoal? goal, RedisState state) => goal is null ? [] : RedisTold.Notes(input, state);

    public override ImmutableSortedDictionary<string, string> DetailsOf(RedisGoal? goal, RedisState state) => RedisTold.Details(goal, state);

    /// <summary>Said once of a resource, by the member that is to be primary.</summary>
    public override ImmutableArray<string> PlanNotesOf(RedisGoal? goal, RedisState state) =>
        goal is { IsPrimary: true, Adopt: "" } ? [$"{RedisGivesUp.Detail}: {RedisGivesUp.Text(goal.Settings, goal.Members.Length)}", .. RedisGivesUp.Room(goal)] : [];

    public override bool IsGone(RedisState state) => !RedisDifferences.Of(null, state).Any();

    private static void CheckIdentity(MemberInput input, List<SpecError> errors)
    {
        // These become file and unit names; the coordinator has checked them, and is not believed.
        if (Names.LabelError(input.Project) is { } project) errors.Add(new("metadata.project", project));
        if (Names.LabelError(input.Name) is { } name) errors.Add(new("metadata.name", name));
        if (input.Ordinal is < 0 or > MaxOrdinal) errors.Add(new("ordinal", $"{input.Ordinal} is not in 0..{MaxOrdinal}"));
        if (input.ResourceUid.Length is 0 or > 128 || !input.ResourceUid.All(c => char.IsAsciiLetterOrDigit(c) || c is '-' or '_')) errors.Add(new("metadata.uid", "is not a uid: letters, digits and hyphens, at most 128"));
        foreach (var peer in input.Peers)
        {
            var path = string.Create(CultureInfo.InvariantCulture, $"peers[{peer.Ordinal}]");
            if (!RedisRole.IsHost(peer.Address)) errors.Add(new(path + ".address", "is neither an IP address nor a host name; re-register the node with one"));
            if (peer.Port is < 1 or > 65535) errors.Add(new(path + ".port", $"{peer.Port} is not in 1..65535"));
        }
        if (input.Peers.DistinctBy(p => p.Ordinal).Count() != input.Peers.Length) errors.Add(new("peers", "two members have one ordinal"));
        if (input.Secrets.TryGetValue(PasswordSecret, out var secret) && !RedisAuth.IsUsable(Encoding.UTF8.GetString(secret.Span)))
            errors.Add(new("secrets.password", "has a character that no Redis password may have here: printable ASCII, 1 to 512 characters"));
    }

    private static void CheckMembers(MemberInput input, RedisSpec spec, List<SpecError> errors)
    {
        if (spec.Auth && !input.Secrets.ContainsKey(PasswordSecret)) errors.Add(new("spec.auth.enabled", "needs the secret \"password\", which did not come with the assignment"));
        if (!input.Peers.IsEmpty && input.Peers.All(p => p.Ordinal != input.Ordinal)) errors.Add(new("peers", $"do not hold member {input.Ordinal} itself"));
        if (!input.Peers.IsEmpty && input.Peers.All(p => p.Ordinal != input.PrimaryOrdinal)) errors.Add(new("spec.primary", $"member {input.PrimaryOrdinal} does not exist"));
        if (spec.AdoptUnit.StartsWith("agentmetal", StringComparison.Ordinal)) errors.Add(new("spec.adopt.unit", "is a unit of agentmetal itself; leave it out"));
    }

    private RedisGoal Goal(MemberInput input, RedisSpec spec)
    {
        var scope = ScopeWithoutGoal(input);
        var members = Members(input, spec.Port);
        var settings = Settings(spec, members.First(m => m.Ordinal == input.Ordinal), members.Length > 1);
        var startsItself = spec.Persistent || members.Length == 1;
        return new()
        {
            Ordinal = input.Ordinal,
            PrimaryOrdinal = members.Length == 1 ? input.Ordinal : input.PrimaryOrdinal,
            Members = members,
            Settings = settings,
            ConfigText = RedisRender.Config(scope.Title, scope.Layout, settings),
            UnitText = RedisRender.Unit(scope.Title, scope.Layout, startsItself, spec.MemoryLimit > 0 ? spec.MemoryLimit : null),
            MemoryLimit = spec.MemoryLimit,
            Adopt = spec.AdoptUnit,
            AuthDigest = spec.Auth ? scope.Auth.Digest : RedisAuth.Off,
        };
    }

    private static ImmutableSortedDictionary<string, string> Settings(RedisSpec spec, RedisPeer self, bool replicated)
    {
        var settings = RedisSettings.None.ToBuilder();
        settings["appendfsync"] = spec.AppendFsync;
        settings["appendonly"] = spec.AppendOnly ? "yes" : "no";
        settings["bind"] = spec.Auth ? "* -::*" : "127.0.0.1 -::1"; // The minus lets a host without IPv6 start.
        settings["databases"] = Text(spec.Databases);
        settings["maxclients"] = Text(spec.MaxClients);
        settings["maxmemory"] = Text(spec.MaxMemory);
        settings["maxmemory-policy"] = spec.MaxMemoryPolicy;
        settings["port"] = Text(self.Port);
        settings["protected-mode"] = "yes";
        // FAILOVER finds its target by the address that the replica announces.
        settings["replica-announce-ip"] = replicated ? self.Host : "";
        settings["save"] = spec.SaveText;
        settings["timeout"] = Text(spec.Timeout);
        return settings.ToImmutable();
    }

    /// <summary>A member that goes is looked at as one of ours: of a server that was taken over nothing is, so it is released at once.</summary>
    private RedisScope Scope(MemberInput input) => ReadGoal(input).Goal is { } goal ? ScopeWithoutGoal(input) with { Goal = goal, Adopt = goal.Adopt } : ScopeWithoutGoal(input);

    private RedisScope ScopeWithoutGoal(MemberInput input) => new()
    {
        Title = string.Create(CultureInfo.InvariantCulture, $"Redis {input.Project}/{input.Name} member {input.Ordinal}"),
        ResourceUid = input.ResourceUid,
        Generation = input.Generation,
        Layout = RedisLayout.Of(input.Project, input.Name, input.Ordinal, roots),
        Auth = new(input.NodeUid, input.ResourceUid, input.Secrets.TryGetValue(PasswordSecret, out var secret) ? Encoding.UTF8.GetString(secret.Span) : null),
        Teardown = input.Teardown,
    };

    private static ImmutableArray<RedisPeer> Members(MemberInput input, int port) => input.Peers.IsEmpty
        ? [new(input.Ordinal, "127.0.0.1", port)]
        : [.. input.Peers.OrderBy(p => p.Ordinal).Select(Of)];

    private static RedisPeer Of(PeerAddress peer) => new(peer.Ordinal, peer.Address, peer.Port) { Struck = peer.StruckOff };

    private static ImmutableArray<RedisPeer> Others(MemberInput input) =>
        [.. input.Peers.Where(p => p.Ordinal != input.Ordinal).OrderBy(p => p.Ordinal).Select(Of)];

    private static string Text(long number) => number.ToString(CultureInfo.InvariantCulture);
}
