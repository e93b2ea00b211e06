using AgentMetal.Runtime.Planning;
using AgentMetal.Runtime.Risk;

namespace AgentMetal.NodeAgent.Agents.Redis.Tools;

/// <summary>
/// A server that starts with "appendonly yes" and finds no append-only file comes up empty, whatever dump it has (Redis 7.0,
/// loadDataFromDisk). So the file says so only once the append-only file exists, and a server with only a dump is started without.
/// </summary>
internal static class AofOrder
{
    /// <summary>The wanted file would make a restart come up without the data.</summary>
    public static bool IsLater(RedisGoal goal, RedisState s) => goal.Settings["appendonly"] == "yes" && (s.Answers
        ? s.Live.GetValueOrDefault("appendonly") != "yes" || s.Rewriting
        : s.Data == Stored.Rdb);

    /// <summary>The wanted file with the append-only file off.</summary>
    public static string TextWithout(RedisGoal goal) => goal.ConfigText.Replace("\nappendonly yes\n", "\nappendonly no\n", StringComparison.Ordinal);

    /// <summary>The file that a server may be started with now.</summary>
    public static string TextToStart(RedisGoal goal, RedisState s) => IsLater(goal, s) ? TextWithout(goal) : goal.ConfigText;
}

/// <summary>Writes redis.conf; nothing reads it before the next start.</summary>
internal sealed class WriteConfig(RedisScope scope, RedisActuator? actuator)
    : RedisTool<TextArgs>("write-config", RedisJson.Default.TextArgs, scope, actuator, Kind.Config)
{
    public override IEnumerable<Move<TextArgs>> Propose(RedisGoal? goal, RedisState state, Difference difference)
    {
        if (goal is null) yield break;
        if (state.Package != RedisPackage.Installed) yield return Move.Wait<TextArgs>("the package brings the group that reads it");
        else if (state.Answers && RedisDifferences.RestartSettings(goal, state).Any()) yield return Move.Wait<TextArgs>("it is written with the restart");
        else if (state.Answers && AofOrder.IsLater(goal, state) && state.ConfigFile != FactValue.Absent)
            yield return Move.Wait<TextArgs>("the append-only file is made first", RedisRoles.Soon);
        else if (AofOrder.TextToStart(goal, state) is var text && Mark(text) == state.ConfigFile)
            yield return Move.Wait<TextArgs>("the append-only file is made first, by the running server");
        else yield return Move.Do(new TextArgs(text), 3, difference.Text);
    }

    public override Footprint Touches(RedisState state, TextArgs args) => new([RedisFacts.Package, RedisFacts.Live("appendonly")], [RedisFacts.ConfigFile]);
    public override RedisState Predict(RedisState state, TextArgs args) => state with { ConfigFile = Mark(args.Text), ConfigText = args.Text };
    public override Assessment Assess(RedisState state, TextArgs args) => Moderate(state.ConfigFile == FactValue.Absent ? "create" : "config");
    public override Undo Inverse(RedisState before, TextArgs args) => before.ConfigFile == Mark(before.ConfigText) ? By(new(before.ConfigText))
        : Undo.Keep("the file that was there was no text of ours");

    public override Timing Timing(TextArgs args) => Within(TimeSpan.FromSeconds(30));
    public override string Describe(TextArgs args) => (args.Text is null ? "remove " : "write ") + Scope.Layout.Config;
    public override ValueTask ApplyAsync(TextArgs args, ToolContext context) => Actuator.WriteConfig(args.Text);
}

/// <summary>Sets the password, in the file and in the running server; the one before stays in auth.conf.previous.</summary>
internal sealed class WriteAuth(RedisScope scope, RedisActuator? actuator)
    : RedisTool<AuthArgs>("write-auth", RedisJson.Default.AuthArgs, scope, actuator, Kind.Auth)
{
    public override IEnumerable<Move<AuthArgs>> Propose(RedisGoal? goal, RedisState state, Difference difference)
    {
        if (goal is null) yield break;
        if (state.Package != RedisPackage.Installed) yield return Move.Wait<AuthArgs>("the package brings the group that reads it");
        else yield return Move.Do(new AuthArgs(goal.AuthDigest), 3, difference.Text);
    }

    public override Footprint Touches(RedisState state, AuthArgs args) =>
        new([RedisFacts.Package, RedisFacts.Serving], state.Answers ? [RedisFacts.AuthFile, RedisFacts.AuthLive] : [RedisFacts.AuthFile]);

    public override RedisState Predict(RedisState state, AuthArgs args) => state with
    {
        AuthFile = args.Digest,
        AuthLive = state.Answers && args.Digest != FactValue.Absent ? args.Digest : state.AuthLive,
    };

    public override RedisState During(RedisState state, AuthArgs args) => state with { AuthFile = args.Digest };
    public override Assessment Assess(RedisState state, AuthArgs args) => Moderate(state.AuthFile == FactValue.Absent ? "create" : "credential");

    public override Undo Inverse(RedisState before, AuthArgs args)
    {
        if (before.AuthFile == FactValue.Absent && (!before.Answers || before.AuthLive == args.Digest)) return By(new(FactValue.Absent));
        var restorable = before.AuthFile == RedisAuth.Off || (before.AuthFile.StartsWith('k') && !before.AuthFile.Contains('!', StringComparison.Ordinal));
        return restorable && (!before.Answers || before.AuthLive == before.AuthFile) ? By(new(before.AuthFile))
            : Undo.Keep("a password that nobody declared is not brought back");
    }

    public override Timing Timing(AuthArgs args) => Within(TimeSpan.FromSeconds(30));
    public override string Describe(AuthArgs args) => args.Digest switch
    {
        RedisAuth.Off => "ask for no password",
        FactValue.Absent => "remove " + Scope.Layout.Auth,
        _ => "set the password",
    };

    public override ValueTask ApplyAsync(AuthArgs args, ToolContext context) => Actuator.WriteAuthAsync(args.Digest, context.Stop);
}

/// <summary>Sets one setting of the running server.</summary>
internal sealed class ConfigSet(RedisScope scope, RedisActuator? actuator)
    : RedisTool<SetArgs>("config-set", RedisJson.Default.SetArgs, scope, actuator, Kind.LiveSetting)
{
    public override IEnumerable<Move<SetArgs>> Propose(RedisGoal? goal, RedisState state, Difference difference)
    {
        if (goal is not null && goal.Settings.TryGetValue(difference.Subject, out var value))
            yield return Move.Do(new SetArgs(difference.Subject, value), 6, difference.Text);
    }

    public override Footprint Touches(RedisState state, SetArgs args) => new(args.Key == "appendonly" ? [RedisFacts.Serving, RedisFacts.Data, RedisFacts.Held] : [RedisFacts.Serving],
        MakesAof(state, args) ? [RedisFacts.Live(args.Key), RedisFacts.Data] : [RedisFacts.Live(args.Key)]);

    public override RedisState Predict(RedisState state, SetArgs args) => state with
    {
        Live = state.Live.SetItem(args.Key, args.Value),
        Data = MakesAof(state, args) ? Stored.Aof : state.Data,
        Rewriting = false,
    };

    public override RedisState During(RedisState state, SetArgs args) => state with { Live = state.Live.SetItem(args.Key, args.Value) };

    public override Assessment Assess(RedisState state, SetArgs args) => args.Key == "maxmemory" && Evicts(state) && Shrinks(state, args)
        ? Moderate("may-evict") : args is { Key: "appendonly", Value: "no" } ? Moderate("less-durable") : Moderate("live");

    public override Undo Inverse(RedisState before, SetArgs args)
    {
        if (MakesAof(before, args)) return Undo.Keep("the append-only file is written; switch it off with spec.persistence.appendonly: false");
        return before.Live.TryGetValue(args.Key, out var value) ? By(args with { Value = value }) : Undo.Keep("the server has no such setting to go back to");
    }

    /// <summary>The server answers at once and goes on rewriting; until it has, a crash would leave half a file.</summary>
    public override Status? Observe(RedisState observed, SetArgs args) => args is { Key: "appendonly", Value: "yes" } && observed.Rewriting
        ? new(Phase.Running, observed.Progress, "the append-only file is being written") : null;

    public override Timing Timing(SetArgs args) => args.Key == "appendonly" ? new(TimeSpan.FromHours(1), TimeSpan.FromMinutes(10), Shortly) : Within(TimeSpan.FromSeconds(30));
    public override string Describe(SetArgs args) => $"set {args.Key}={(args.Value.Length == 0 ? "\"\"" : args.Value)}";
    public override ValueTask ApplyAsync(SetArgs args, ToolContext context) => Actuator.ConfigSetAsync(args.Key, args.Value, context.Stop);

    private static bool MakesAof(RedisState state, SetArgs args) => args is { Key: "appendonly", Value: "yes" } && state.Keys == Stored.Some && state.Data != Stored.Aof;

    private static bool Evicts(RedisState state) => state.Live.GetValueOrDefault("maxmemory-policy", "noeviction") != "noeviction";

    private static bool Shrinks(RedisState state, SetArgs args) => long.TryParse(args.Value, out var to) && to > 0
        && (!long.TryParse(state.Live.GetValueOrDefault("maxmemory"), out var from) || from == 0 || to < from);
}
