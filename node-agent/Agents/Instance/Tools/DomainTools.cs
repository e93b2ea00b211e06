using System.Collections.Immutable;
using AgentMetal.Runtime.Planning;
using AgentMetal.Runtime.Risk;

namespace AgentMetal.NodeAgent.Agents.Instance.Tools;

/// <summary>
/// Gives libvirt the definition that the next start uses; what runs is not touched by it. What waits for a restart is not in it (<see cref="InForce"/>). Of a
/// machine that is off and stays off all of it is, and then a person signs what was held before, and what would put a disk out of use.
/// </summary>
internal sealed class Define(InstanceScope scope, InstanceActuator? actuator)
    : InstanceTool<XmlArgs>("define", InstanceJson.Default.XmlArgs, scope, actuator, Kind.Definition, Kind.Owner, Kind.Hypervisor, Kind.Unsigned, Kind.Bridge, Kind.DiskOther)
{
    public override IEnumerable<Move<XmlArgs>> Propose(InstanceGoal? goal, InstanceState state, Difference difference)
    {
        // What only a person can put right: the difference says how.
        if (difference.Kind != Kind.Definition)
        {
            yield return Move.Wait<XmlArgs>(difference.Text);
            yield break;
        }
        if (goal?.Config is null) yield break;
        if (NotReady(goal, state, toStart: false) is { } why) yield return Move.Wait<XmlArgs>(why);
        else yield return Move.Do(new XmlArgs(DomainXml.Render(InForce.Definition(goal, state), Scope.Emulator), state.Live.IsEmpty && state.Domain == Owner.Ours && !InForce.IsHeldBack(goal, state) ? InForce.Leaves(goal, state) : ""), 4, difference.Text);
    }

    public override Footprint Touches(InstanceState state, XmlArgs args) => new([InstanceFacts.Accelerator, InstanceFacts.Dir, InstanceFacts.Live, InstanceFacts.Held], state.Domain == FactValue.Absent
        ? [InstanceFacts.Domain, InstanceFacts.Config, InstanceFacts.Autostart] : [InstanceFacts.Domain, InstanceFacts.Config]);

    public override InstanceState Predict(InstanceState state, XmlArgs args) => state with
    {
        Domain = Owner.Ours,
        Config = DomainXml.Parse(args.Xml).Config?.Aspects() ?? Aspect.None,
        ConfigXml = args.Xml,
        Autostart = state.Domain == FactValue.Absent ? Yes.No : state.Autostart,
    };

    public override InstanceState During(InstanceState state, XmlArgs args) => state;
    public override Assessment Assess(InstanceState state, XmlArgs args)
    {
        if (state.Domain == FactValue.Absent) return Moderate("create");
        if (!state.Live.IsEmpty || DomainXml.Parse(args.Xml).Config is not { } to) return Moderate("change");
        var held = Scope.Goal is { } goal && !InForce.IsFree(goal) && InForce.WasHeld(state, to);
        return InForce.OutOfUse(Scope.Layout.Own, state.Config, to).Any() ? Assessment.Dangerous(held ? ["disk-out-of-use", "was-held"] : ["disk-out-of-use"])
            : held ? Assessment.Dangerous("was-held") : Moderate("change");
    }

    public override Undo Inverse(InstanceState before, XmlArgs args) => before.Domain == FactValue.Absent
        ? Undo.By(new("undefine", System.Text.Json.JsonSerializer.Serialize(new DomainArgs(Scope.Layout.Uuid), InstanceJson.Default.DomainArgs)))
        : before.ConfigXml.Length > 0 ? By(new(before.ConfigXml)) : Undo.Keep("the definition that was there is not known");

    public override Timing Timing(XmlArgs args) => Within(TimeSpan.FromMinutes(1));
    public override string Describe(XmlArgs args) => $"define domain {Scope.Layout.Id}{(args.Leaves is { Length: > 0 } leaves ? "; " + leaves : "")}";
    public override ValueTask ApplyAsync(XmlArgs args, ToolContext context) => Actuator.DefineAsync(args.Xml, context.Stop);
}

/// <summary>Whether libvirt starts it with the host.</summary>
internal sealed class SetAutostart(InstanceScope scope, InstanceActuator? actuator)
    : InstanceTool<OnArgs>("set-autostart", InstanceJson.Default.OnArgs, scope, actuator, Kind.Autostart)
{
    public override IEnumerable<Move<OnArgs>> Propose(InstanceGoal? goal, InstanceState state, Difference difference)
    {
        if (goal is not null) yield return Move.Do(new OnArgs(goal.Spec.Autostart), 5, difference.Text);
    }

    public override Footprint Touches(InstanceState state, OnArgs args) => new([InstanceFacts.Domain], [InstanceFacts.Autostart]);
    public override InstanceState Predict(InstanceState state, OnArgs args) => state with { Autostart = args.On ? Yes.It : Yes.No };
    public override Assessment Assess(InstanceState state, OnArgs args) => Moderate("boot");
    public override Undo Inverse(InstanceState before, OnArgs args) => By(new(before.Autostart == Yes.It));
    public override Timing Timing(OnArgs args) => Within(TimeSpan.FromMinutes(1));
    public override string Describe(OnArgs args) => args.On ? "start it with the host" : "do not start it with the host";
    public override ValueTask ApplyAsync(OnArgs args, ToolContext context) => Actuator.SetAutostartAsync(args.On, context.Stop);
}

/// <summary>Changes one thing of the machine that runs; the definition has it already, so the next start keeps it.</summary>
internal sealed class ChangeLive(InstanceScope scope, InstanceActuator? actuator)
    : InstanceTool<LiveArgs>("change-live", InstanceJson.Default.LiveArgs, scope, actuator, Kind.Live)
{
    public const string Set = "set", Attach = "attach", Detach = "detach", Update = "update";

    public override IEnumerable<Move<LiveArgs>> Propose(InstanceGoal? goal, InstanceState state, Difference difference)
    {
        if (goal?.Config is not { } config) yield break;
        var aspect = difference.Subject;
        if (!InstanceDifferences.CanBeLive(goal, state, aspect)) yield break;
        if (NotReady(goal, state, toStart: true) is { } why)
        {
            yield return Move.Wait<LiveArgs>(why);
            yield break;
        }
        var (now, wanted) = (state.Live.GetValueOrDefault(aspect, ""), config.Aspects().GetValueOrDefault(aspect, ""));
        var change = aspect is Aspect.Memory or Aspect.Cpus ? Set : now.Length == 0 ? Attach : wanted.Length == 0 ? Detach : Update;
        yield return Move.Do(new LiveArgs(aspect, change, wanted, Device(config, aspect, change == Detach ? now : wanted)), 6, difference.Text);
    }

    public override Footprint Touches(InstanceState state, LiveArgs args) => new([InstanceFacts.Power], [InstanceFacts.Live]);

    public override InstanceState Predict(InstanceState state, LiveArgs args) =>
        !state.IsUp ? state : state with { Live = args.Value.Length == 0 ? state.Live.Remove(args.Aspect) : state.Live.SetItem(args.Aspect, args.Value) };

    public override InstanceState During(InstanceState state, LiveArgs args) => state;
    public override Assessment Assess(InstanceState state, LiveArgs args) => Moderate(args.Change);

    public override Undo Inverse(InstanceState before, LiveArgs args) => args.Aspect == Aspect.Cpus ? Undo.Keep("a guest may refuse to give a processor back") : args.Change switch
    {
        Attach => By(new(args.Aspect, Detach, "", args.Xml)),
        Detach => By(new(args.Aspect, Attach, before.Live[args.Aspect], args.Xml)),
        _ => By(args with { Value = before.Live[args.Aspect], Xml = args.Xml.Length == 0 ? "" : Device(Scope.Goal?.Config, args.Aspect, before.Live[args.Aspect]) }),
    };

    public override Timing Timing(LiveArgs args) => Within(TimeSpan.FromMinutes(2));

    public override string Describe(LiveArgs args) => args.Change switch
    {
        Attach => $"attach {InForce.Named(args.Aspect)} while it runs",
        Detach when args.Aspect.StartsWith(Aspect.Disk, StringComparison.Ordinal) => $"detach {InForce.Named(args.Aspect)} while it runs; {args.Aspect[Aspect.Disk.Length..]} stays where it is",
        Detach => $"detach {args.Aspect} while it runs",
        _ => $"change {args.Aspect} to {args.Value} while it runs",
    };

    public override ValueTask ApplyAsync(LiveArgs args, ToolContext context) => Actuator.ChangeLiveAsync(args, context.Stop);

    /// <summary>The device that an aspect says.</summary>
    private static string Device(DomainConfig? config, string aspect, string text)
    {
        if (aspect.StartsWith(Aspect.Nic, StringComparison.Ordinal)) return DomainXml.Of(Aspect.NicOf(aspect, text));
        if (!aspect.StartsWith(Aspect.Disk, StringComparison.Ordinal)) return "";
        var disk = Aspect.DiskOf(aspect, text);
        return DomainXml.Of(disk with { Serial = config?.Disks.FirstOrDefault(d => d.Path == disk.Path)?.Serial ?? "" });
    }
}

/// <summary>Makes libvirt forget it; disks stay.</summary>
internal sealed class Undefine(InstanceScope scope, InstanceActuator? actuator)
    : InstanceTool<DomainArgs>("undefine", InstanceJson.Default.DomainArgs, scope, actuator, Kind.Present)
{
    public override IEnumerable<Move<DomainArgs>> Propose(InstanceGoal? goal, InstanceState state, Difference difference)
    {
        if (goal is not null || difference.Subject != Part.Definition) yield break;
        if (state.Power != Power.Off) yield return Move.Wait<DomainArgs>("it is stopped first");
        else if (state.Dir == DirIs.Unmarked) yield return Move.Wait<DomainArgs>("its directory says first whose it is");
        // libvirt deletes a snapshot only of a machine that it knows.
        else if (state.Snapshots.Count > 0) yield return Move.Wait<DomainArgs>("its snapshots in volumes go first");
        else yield return Move.Do(new DomainArgs(Scope.Layout.Uuid), 20, difference.Text);
    }

    public override Footprint Touches(InstanceState state, DomainArgs args) => new([InstanceFacts.Power], [InstanceFacts.Domain, InstanceFacts.Config, InstanceFacts.Autostart]);
    public override InstanceState Predict(InstanceState state, DomainArgs args) => state with { Domain = FactValue.Absent, Config = Aspect.None, ConfigXml = "", Autostart = FactValue.Absent };
    public override InstanceState During(InstanceState state, DomainArgs args) => state;
    public override Assessment Assess(InstanceState state, DomainArgs args) => Moderate("remove");
    public override Undo Inverse(InstanceState before, DomainArgs args) => Undo.Keep("a machine that is to go is not defined again");
    public override Timing Timing(DomainArgs args) => Within(TimeSpan.FromMinutes(1));
    public override string Describe(DomainArgs args) => $"undefine domain {Scope.Layout.Id}";
    public override ValueTask ApplyAsync(DomainArgs args, ToolContext context) => Actuator.UndefineAsync(context.Stop);
}

/// <summary>Removes the instance's directory with its disks.</summary>
internal sealed class RemoveData(InstanceScope scope, InstanceActuator? actuator)
    : InstanceTool<PathArgs>("remove-disks", InstanceJson.Default.PathArgs, scope, actuator, Kind.Present)
{
    public override IEnumerable<Move<PathArgs>> Propose(InstanceGoal? goal, InstanceState state, Difference difference)
    {
        if (goal is not null || difference.Subject != Part.Data) yield break;
        if (state.Domain == Owner.Ours) yield return Move.Wait<PathArgs>("libvirt forgets it first");
        else if (state.Users != Stored.None) yield return Move.Wait<PathArgs>(InstanceDifferences.InUse(state, Scope.Layout.Dir));
        else if (state.WayOut is Way.Offered or Way.Released) yield return Move.Wait<PathArgs>("what another host was offered ends first");
        else if (state.WayIn is Way.Receiving or Way.Held) yield return Move.Wait<PathArgs>("what comes from another host ends first");
        else yield return Move.Do(new PathArgs(Scope.Layout.Dir, InstanceDifferences.Files(state) + (state.Dir == DirIs.Unclaimed ? "; nothing says whose they are" : "")), 30, difference.Text);
    }

    public override Footprint Touches(InstanceState state, PathArgs args) => new([InstanceFacts.Domain, InstanceFacts.Dir, InstanceFacts.Users, InstanceFacts.Power, InstanceFacts.Offer, InstanceFacts.Receipt, InstanceFacts.Peer], [InstanceFacts.Data]);
    public override InstanceState Predict(InstanceState state, PathArgs args) => state with { Data = Stored.None };
    public override InstanceState During(InstanceState state, PathArgs args) => Predict(state, args);

    /// <summary>Of a machine that is another host's there is nothing here but a copy.</summary>
    public override Assessment Assess(InstanceState state, PathArgs args) => InstanceMoves.IsCopy(state) ? Moderate("remove") : new(RiskLevel.Dangerous, ["data-loss"], LosesData: true);
    public override Undo Inverse(InstanceState before, PathArgs args) => InstanceMoves.IsCopy(before) ? Undo.Keep("they are another host's") : Undo.Impossible("the disks are gone");
    public override Timing Timing(PathArgs args) => Within(TimeSpan.FromMinutes(5));
    public override string Describe(PathArgs args) => $"delete the disks in {args.Path}{(args.Note is { Length: > 0 } files ? ": " + files : "")}";
    public override ValueTask ApplyAsync(PathArgs args, ToolContext context) => Actuator.RemoveDisksAsync(context.Stop);
}

/// <summary>Removes what is left once the disks are gone: seed, console log, the directory.</summary>
internal sealed class RemoveFiles(InstanceScope scope, InstanceActuator? actuator)
    : InstanceTool<PathArgs>("remove-files", InstanceJson.Default.PathArgs, scope, actuator, Kind.Present)
{
    public override IEnumerable<Move<PathArgs>> Propose(InstanceGoal? goal, InstanceState state, Difference difference)
    {
        if (goal is not null || difference.Subject != Part.Files) yield break;
        if (state.Users != Stored.None) yield return Move.Wait<PathArgs>(InstanceDifferences.InUse(state, Scope.Layout.Dir));
        else if (state.Data != Stored.None) yield return Move.Wait<PathArgs>("its disks go first");
        else if (state.HoldsAddress) yield return Move.Wait<PathArgs>("the addresses that are kept for it go first");
        else if (state.Domain == Owner.Ours) yield return Move.Wait<PathArgs>("libvirt forgets it first");
        else yield return Move.Do(new PathArgs(Scope.Layout.Dir), 40, difference.Text);
    }

    public override Footprint Touches(InstanceState state, PathArgs args) => new([InstanceFacts.Data, InstanceFacts.Domain, InstanceFacts.Users], [InstanceFacts.Dir, InstanceFacts.Seed]);
    public override InstanceState Predict(InstanceState state, PathArgs args) => state with { Dir = FactValue.Absent, Seed = FactValue.Absent };
    public override InstanceState During(InstanceState state, PathArgs args) => state with { Seed = FactValue.Absent };
    public override Assessment Assess(InstanceState state, PathArgs args) => Moderate("remove");
    public override Undo Inverse(InstanceState before, PathArgs args) => Undo.Keep("seed and console log without their machine are of no use");
    public override Timing Timing(PathArgs args) => Within(TimeSpan.FromMinutes(1));
    public override string Describe(PathArgs args) => "remove " + args.Path;
    public override ValueTask ApplyAsync(PathArgs args, ToolContext context) => Actuator.RemoveFilesAsync(context.Stop);
}
