using System.Text.Json.Serialization;
using AgentMetal.Runtime.Planning;
using AgentMetal.Runtime.Resources;
using AgentMetal.Runtime.Risk;

namespace AgentMetal.NodeAgent.Agents.Instance.Tools;

/// <param name="Name">Of the disk.</param>
/// <param name="Path">Its file.</param>
/// <param name="Format">qcow2 or raw.</param>
/// <param name="Size">Bytes that it is to have.</param>
/// <param name="Source">File that it is a copy of.</param>
/// <param name="SourceFormat">qcow2 or raw.</param>
internal sealed record CopyArgs(string Name, string Path, string Format, long Size, string Source, string SourceFormat);

[JsonSerializable(typeof(CopyArgs))]
internal sealed partial class CloneJson : JsonSerializerContext;

/// <summary>
/// Makes a disk as a whole copy of one of another instance of the project, while that is off. QEMU and qemu-img lock the files: a source that is started all
/// the same makes the copy fail, and one that is copied does not start until that is over.
/// </summary>
internal sealed class CopyDisk(InstanceScope scope, InstanceActuator? actuator)
    : InstanceTool<CopyArgs>("copy-disk", CloneJson.Default.CopyArgs, scope, actuator, Kind.DiskMissing)
{
    public override IEnumerable<Move<CopyArgs>> Propose(InstanceGoal? goal, InstanceState state, Difference difference)
    {
        if (goal?.Source is not { } source || goal.Disks.FirstOrDefault(d => d.Name == difference.Subject) is not { Source.Length: > 0 } disk) yield break;
        if (state.Dir != Present.It) yield return Move.Wait<CopyArgs>("the directory comes first");
        else if (WhyNot(source, state) is { } why) yield return Move.Wait<CopyArgs>(why, InstanceDifferences.Soon);
        else if (!state.SourceDisks.TryGetValue(disk.Name, out var from)) yield return Move.Wait<CopyArgs>($"instance {source.Name} has no disk {disk.Name} here", InstanceDifferences.Soon);
        else if (disk.Size > 0 && disk.Size < from.Disk.Size) yield return Move.Wait<CopyArgs>($"disk {disk.Name} of instance {source.Name} has {Quantity.Format(from.Disk.Size)}: set the size of this one to that or more");
        else yield return Move.Do(new CopyArgs(disk.Name, disk.Path, disk.Format, Math.Max(disk.Size, from.Disk.Size), from.Path, from.Disk.Format), 2, difference.Text);
    }

    /// <summary>Why nothing can be copied now; null = it can.</summary>
    public static string? WhyNot(SourceGoal source, InstanceState state) => state.Source == FactValue.Absent ? $"instance {source.Name}, whose disks it begins with, is not on this host"
        : state.Source != Power.Off && !FactValue.IsUnseen(state.Source) ? $"instance {source.Name} is {state.Source}, and its disks are copied while it is off: agentmetal stop instance/{source.Name}"
        : null;

    public override Footprint Touches(InstanceState state, CopyArgs args) => new([InstanceFacts.Source, InstanceFacts.Domain, InstanceFacts.Config, InstanceFacts.Dir], [InstanceFacts.Disk(args.Name), InstanceFacts.Data]);

    public override InstanceState Predict(InstanceState state, CopyArgs args)
    {
        var disk = new DiskState(args.Format, args.Size, "");
        return state with { Disks = state.Disks.SetItem(args.Name, disk.ToString()), DiskStates = state.DiskStates.SetItem(args.Name, disk), Data = Stored.Some };
    }

    public override InstanceState During(InstanceState state, CopyArgs args) => state;

    /// <summary>As for every disk that was there once: a new one would hide what is only not mounted.</summary>
    public override Assessment Assess(InstanceState state, CopyArgs args) =>
        CreateDisk.WasThere(state, args.Path) ? Assessment.Dangerous("disk-was-there") : Moderate("copy");

    public override Undo Inverse(InstanceState before, CopyArgs args) => Undo.Keep("a disk that nobody uses yet goes with the instance");
    public override Timing Timing(CopyArgs args) => Within(TimeSpan.FromMinutes(60));
    public override string Describe(CopyArgs args) => $"create disk {args.Name}, {Quantity.Format(args.Size)} {args.Format}, as a copy of {args.Source}";
    public override ValueTask ApplyAsync(CopyArgs args, ToolContext context) => Actuator.CopyDiskAsync(args, context.Stop);
}
