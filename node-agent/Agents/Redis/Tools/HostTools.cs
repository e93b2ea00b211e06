using AgentMetal.NodeAgent.Agents.Redis.Data;
using AgentMetal.Runtime.Planning;
using AgentMetal.Runtime.Risk;

namespace AgentMetal.NodeAgent.Agents.Redis.Tools;

/// <summary>Installs redis-server without starting the package's own service.</summary>
internal sealed class InstallPackage(RedisScope scope, RedisActuator? actuator)
    : RedisTool<PackageArgs>("install-package", RedisJson.Default.PackageArgs, scope, actuator, Kind.Package)
{
    public override IEnumerable<Move<PackageArgs>> Propose(RedisGoal? goal, RedisState state, Difference difference) =>
        [Move.Do(new PackageArgs(difference.Subject), 1, "package missing")];

    public override Footprint Touches(RedisState state, PackageArgs args) => new([], [RedisFacts.Package]);
    public override RedisState Predict(RedisState state, PackageArgs args) => state with { Package = RedisPackage.Installed };
    public override RedisState During(RedisState state, PackageArgs args) => state with { Package = RedisPackage.Broken };
    public override Assessment Assess(RedisState state, PackageArgs args) => Assessment.Safe;
    public override Undo Inverse(RedisState before, PackageArgs args) => Undo.Keep("the package stays: others may use it by now");
    public override Timing Timing(PackageArgs args) => Within(TimeSpan.FromMinutes(10));
    public override string Describe(PackageArgs args) => "install " + args.Package;
    public override ValueTask ApplyAsync(PackageArgs args, ToolContext context) => Actuator.InstallAsync(args.Package, context.Stop);
}

/// <summary>
/// Makes the data directory, empty; its inverse removes it only while it is empty. One that was there and is gone, with data that no peer gives back, is made
/// anew only once that is signed: it may lie on a file system that is not mounted.
/// </summary>
internal sealed class CreateDataDir(RedisScope scope, RedisActuator? actuator)
    : RedisTool<DirArgs>("create-data-dir", RedisJson.Default.DirArgs, scope, actuator, Kind.DataDirMissing)
{
    public override IEnumerable<Move<DirArgs>> Propose(RedisGoal? goal, RedisState state, Difference difference)
    {
        if (goal is null) yield break;
        if (state.Package != RedisPackage.Installed) yield return Move.Wait<DirArgs>("the package brings the user that owns it");
        else if (RedisCopies.Missing(state) is null) yield return Move.Do(new DirArgs(DataDirState.Ok), 2, "data directory missing");
        else if (RedisRoles.ForStart(goal, state) is not { Role: not null } choice) yield return Move.Wait<DirArgs>(RedisRoles.ForStart(goal, state).Why, RedisRoles.ForStart(goal, state).Retry);
        else yield return Move.Do(new DirArgs(DataDirState.Ok, choice.Code.Length == 0 ? null : choice.Loss), 2, "the data directory is gone: mount the file system that it lies on, or put it back");
    }

    protected override string? LossOf(DirArgs args) => args.Loss;
    protected override DirArgs Losing(DirArgs args, string loss) => args with { Loss = loss };
    protected override bool Grows(RedisState state, DirArgs args) => PeersGrow(state, RedisRole.Primary);

    public override Footprint Touches(RedisState state, DirArgs args) => new([RedisFacts.Package, RedisFacts.Data, RedisFacts.Missing], [RedisFacts.DataDir]);
    public override RedisState Predict(RedisState state, DirArgs args) => state with { DataDir = args.To };
    public override Assessment Assess(RedisState state, DirArgs args) => args.Loss is null ? Moderate("create") : new(RiskLevel.Dangerous, ["data-missing"], LosesData: true);
    public override Undo Inverse(RedisState before, DirArgs args) => By(new(before.DataDir));
    public override Timing Timing(DirArgs args) => Within(TimeSpan.FromSeconds(30));
    public override string Describe(DirArgs args) => (args.To == FactValue.Absent ? "remove the empty " : args.Loss is null ? "create " : "make anew, empty, ") + Scope.Layout.DataDir
        + (args.Loss is null ? "" : "; lost: " + args.Loss);
    public override ValueTask ApplyAsync(DirArgs args, ToolContext context) => args.To == FactValue.Absent ? Actuator.RemoveEmptyDataDir() : Actuator.CreateDataDir();
}

/// <summary>Gives the data directory back to its owner.</summary>
internal sealed class FixDataDir(RedisScope scope, RedisActuator? actuator)
    : RedisTool<DirArgs>("fix-data-dir", RedisJson.Default.DirArgs, scope, actuator, Kind.DataDirWrong)
{
    public override IEnumerable<Move<DirArgs>> Propose(RedisGoal? goal, RedisState state, Difference difference)
    {
        if (state.DataDir.StartsWith("not-a-directory", StringComparison.Ordinal)) yield return Move.Wait<DirArgs>($"{Scope.Layout.DataDir} is not a directory: move it away");
        else if (state.Package != RedisPackage.Installed) yield return Move.Wait<DirArgs>("the package brings the user that owns it");
        else yield return Move.Do(new DirArgs(DataDirState.Ok), 2, "owner or mode of the data are wrong") with { Remedies = "permission" };
    }

    public override Footprint Touches(RedisState state, DirArgs args) => new([RedisFacts.Package], [RedisFacts.DataDir]);
    public override RedisState Predict(RedisState state, DirArgs args) => state with { DataDir = args.To };
    public override RedisState During(RedisState state, DirArgs args) => state;
    public override Assessment Assess(RedisState state, DirArgs args) => Moderate("repair");
    public override Undo Inverse(RedisState before, DirArgs args) => Undo.Keep("permissions that stop the server are not brought back");
    public override Timing Timing(DirArgs args) => Within(TimeSpan.FromMinutes(2));
    public override string Describe(DirArgs args) => "give " + Scope.Layout.DataDir + " back to " + RedisLayout.User;
    public override ValueTask ApplyAsync(DirArgs args, ToolContext context) => Actuator.FixDataDir();
}

/// <summary>Writes the unit and makes systemd read it.</summary>
internal sealed class WriteUnit(RedisScope scope, RedisActuator? actuator)
    : RedisTool<TextArgs>("write-unit", RedisJson.Default.TextArgs, scope, actuator, Kind.Unit)
{
    public override IEnumerable<Move<TextArgs>> Propose(RedisGoal? goal, RedisState state, Difference difference) =>
        goal is null ? [] : [Move.Do(new TextArgs(goal.UnitText), 3, difference.Text)];

    public override Footprint Touches(RedisState state, TextArgs args) => new([], [RedisFacts.UnitFile, RedisFacts.UnitStale]);
    public override RedisState Predict(RedisState state, TextArgs args) => state with { UnitFile = Mark(args.Text), UnitText = args.Text, UnitStale = Yes.No };
    public override RedisState During(RedisState state, TextArgs args) => Predict(state, args) with { UnitStale = Yes.It };
    public override Assessment Assess(RedisState state, TextArgs args) => Moderate(state.UnitFile == FactValue.Absent ? "create" : "drift");

    public override Undo Inverse(RedisState before, TextArgs args)
    {
        if (before.UnitStale == Yes.It) return Undo.Keep("systemd has read what is on disk, as it should");
        return before.UnitFile == FactValue.Absent || before.UnitText is not null ? By(new(before.UnitText)) : Undo.Keep("the unit that was there was no text of ours");
    }

    public override Timing Timing(TextArgs args) => Within(TimeSpan.FromMinutes(1));
    public override string Describe(TextArgs args) => (args.Text is null ? "remove unit " : "write unit ") + Scope.Layout.Unit;
    public override ValueTask ApplyAsync(TextArgs args, ToolContext context) => Actuator.WriteUnitAsync(args.Text, context.Stop);
}

/// <summary>Takes an override of the unit away that nobody declared; its text stays in the journal for the undo.</summary>
internal sealed class RemoveDropIn(RedisScope scope, RedisActuator? actuator)
    : RedisTool<DropInArgs>("remove-drop-in", RedisJson.Default.DropInArgs, scope, actuator, Kind.DropIn)
{
    public override IEnumerable<Move<DropInArgs>> Propose(RedisGoal? goal, RedisState state, Difference difference) =>
        goal is null ? [] : [Move.Do(new DropInArgs(difference.Subject, null), 4, "an override that nobody declared")];

    public override Footprint Touches(RedisState state, DropInArgs args) => new([], [RedisFacts.DropIns]);

    public override RedisState Predict(RedisState state, DropInArgs args) =>
        state with { DropIns = args.Text is null ? state.DropIns.Remove(args.Path) : state.DropIns.SetItem(args.Path, args.Text) };

    public override Assessment Assess(RedisState state, DropInArgs args) => Moderate("drift");
    public override Undo Inverse(RedisState before, DropInArgs args) => By(args with { Text = before.DropIns.GetValueOrDefault(args.Path) });
    public override Timing Timing(DropInArgs args) => Within(TimeSpan.FromMinutes(1));
    public override string Describe(DropInArgs args) => (args.Text is null ? "remove override " : "put back override ") + args.Path;
    public override ValueTask ApplyAsync(DropInArgs args, ToolContext context) => Actuator.WriteDropInAsync(args.Path, args.Text, context.Stop);
}

/// <summary>Whether a boot starts the member.</summary>
internal sealed class Enable(RedisScope scope, RedisActuator? actuator)
    : RedisTool<EnableArgs>("enable", RedisJson.Default.EnableArgs, scope, actuator, Kind.Enabled)
{
    public override IEnumerable<Move<EnableArgs>> Propose(RedisGoal? goal, RedisState state, Difference difference)
    {
        if (goal is not null && state.UnitFile != Mark(goal.UnitText)) yield return Move.Wait<EnableArgs>("the unit is written first");
        else yield return Move.Do(new EnableArgs(goal?.StartsItself ?? false), 5, difference.Text);
    }

    public override Footprint Touches(RedisState state, EnableArgs args) => new([RedisFacts.UnitFile], [RedisFacts.UnitEnabled]);
    public override RedisState Predict(RedisState state, EnableArgs args) => state with { UnitEnabled = args.On ? "enabled" : "disabled" };
    public override Assessment Assess(RedisState state, EnableArgs args) => Moderate("boot");
    public override Undo Inverse(RedisState before, EnableArgs args) => By(new(before.UnitEnabled == "enabled"));
    public override Timing Timing(EnableArgs args) => Within(TimeSpan.FromMinutes(1));
    public override string Describe(EnableArgs args) => (args.On ? "enable " : "disable ") + Scope.Layout.Unit;
    public override ValueTask ApplyAsync(EnableArgs args, ToolContext context) => Actuator.EnableAsync(args.On, context.Stop);
}
