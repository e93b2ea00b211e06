using AgentMetal.Runtime.Planning;
using AgentMetal.Runtime.Resources;
using AgentMetal.Runtime.Risk;

namespace AgentMetal.NodeAgent.Agents.Instance.Tools;

/// <summary>Fetches an image to the host, once for all instances; it appears only when its content is what its digest says.</summary>
internal sealed class FetchImage(InstanceScope scope, InstanceActuator? actuator)
    : InstanceTool<FetchArgs>("fetch-image", InstanceJson.Default.FetchArgs, scope, actuator, Kind.Image)
{
    public override IEnumerable<Move<FetchArgs>> Propose(InstanceGoal? goal, InstanceState state, Difference difference)
    {
        if (goal?.Images.FirstOrDefault(i => i.Spec.Sha256 == difference.Subject) is not { } image) yield break;
        if (goal.Unsigned is [var unsigned, ..])
        {
            yield return Move.Wait<FetchArgs>(unsigned.Text);
            yield break;
        }
        var args = new FetchArgs(image.Name, image.Spec.Url, image.Spec.Sha256, image.Spec.Format);
        var why = "it is not on this host";
        // How large a disk becomes that takes its size from the image is known when the image is here.
        yield return goal.Disks.Any(d => d.Image?.Spec.Sha256 == image.Spec.Sha256 && d.Size == 0) ? Move.DoThenLook(args, 1, why) : Move.Do(args, 1, why);
    }

    public override Footprint Touches(InstanceState state, FetchArgs args) => new([], [InstanceFacts.Image(args.Sha256)]);
    public override InstanceState Predict(InstanceState state, FetchArgs args) => state with { Images = state.Images.SetItem(args.Sha256, Present.It) };
    public override InstanceState During(InstanceState state, FetchArgs args) => state;
    public override Assessment Assess(InstanceState state, FetchArgs args) => Assessment.Safe;
    public override Undo Inverse(InstanceState before, FetchArgs args) => Undo.Keep("an image is a copy that other instances may use by now");
    public override Timing Timing(FetchArgs args) => new(TimeSpan.FromHours(12), TimeSpan.FromMinutes(3), TimeSpan.FromMilliseconds(500));

    public override Status? Observe(InstanceState observed, FetchArgs args)
    {
        if (observed.Images.GetValueOrDefault(args.Sha256) == Present.It) return null;
        if (!observed.Downloads.TryGetValue(args.Sha256, out var download)) return new(Phase.NotStarted);
        return download.Failed.Length > 0 ? new(Phase.Failed, null, download.Failed) : new(Phase.Running, download.Done, $"fetching image {args.Name} {download}");
    }

    public override string Describe(FetchArgs args) => $"fetch image {args.Name} from {args.Url}";
    public override ValueTask ApplyAsync(FetchArgs args, ToolContext context) => Actuator.FetchAsync(args);
}

/// <summary>Starts a libvirt network that is defined and not active.</summary>
internal sealed class StartNetwork(InstanceScope scope, InstanceActuator? actuator)
    : InstanceTool<NameArgs>("start-network", InstanceJson.Default.NameArgs, scope, actuator, Kind.Network)
{
    public override IEnumerable<Move<NameArgs>> Propose(InstanceGoal? goal, InstanceState state, Difference difference)
    {
        if (state.Networks.GetValueOrDefault(difference.Subject) == Present.Inactive) yield return Move.Do(new NameArgs(difference.Subject), 1, "it is not active");
        else yield return Move.Wait<NameArgs>($"{difference.Text}: define it (virsh net-define), or name another in spec.nics");
    }

    public override Footprint Touches(InstanceState state, NameArgs args) => new([InstanceFacts.Hypervisor], [InstanceFacts.Network(args.Name)]);
    public override InstanceState Predict(InstanceState state, NameArgs args) => state with { Networks = state.Networks.SetItem(args.Name, Present.Active) };
    public override Assessment Assess(InstanceState state, NameArgs args) => Moderate("network");
    public override Undo Inverse(InstanceState before, NameArgs args) => Undo.Keep("other domains may use it by now");
    public override Timing Timing(NameArgs args) => Within(TimeSpan.FromMinutes(1));
    public override string Describe(NameArgs args) => $"start libvirt network {args.Name}, now and with the host";
    public override ValueTask ApplyAsync(NameArgs args, ToolContext context) => Actuator.StartNetworkAsync(args.Name, context.Stop);
}

/// <summary>Makes the directory in which the instance's disks, seed and console log are.</summary>
internal sealed class CreateDir(InstanceScope scope, InstanceActuator? actuator)
    : InstanceTool<PathArgs>("create-dir", InstanceJson.Default.PathArgs, scope, actuator, Kind.Dir)
{
    public override IEnumerable<Move<PathArgs>> Propose(InstanceGoal? goal, InstanceState state, Difference difference)
    {
        if (state.Dir == DirIs.Others || (goal is null && state.Dir != DirIs.Unmarked)) yield break;
        yield return Move.Do(new PathArgs(Scope.Layout.Dir, state.Dir switch
        {
            DirIs.Unmarked => $"write down that {Scope.Layout.Dir} is this instance's",
            DirIs.Unclaimed => $"take {Scope.Layout.Dir} over with what is in it, although nothing says whose it is: {InstanceDifferences.Files(state)}",
            _ when WasThere(state) => $"create {Scope.Layout.Dir} anew, where one with its disks was",
            _ => "",
        }), 1, difference.Text);
    }

    /// <summary>Its definition names disks in it: what is gone may be a file system that is not mounted, and another directory would hide it.</summary>
    private bool WasThere(InstanceState s) => s.Dir == FactValue.Absent && s.Domain == Owner.Ours && InForce.Of(s).Keys.Any(a => a.StartsWith(Aspect.Disk + Scope.Layout.Dir + "/", StringComparison.Ordinal));

    public override Footprint Touches(InstanceState state, PathArgs args) => new([InstanceFacts.Domain, InstanceFacts.Config], [InstanceFacts.Dir]);
    public override InstanceState Predict(InstanceState state, PathArgs args) => state with { Dir = Present.It };

    public override Assessment Assess(InstanceState state, PathArgs args) => state.Dir switch
    {
        DirIs.Unmarked => Assessment.Safe,
        DirIs.Unclaimed => Assessment.Dangerous("unclaimed-disks"),
        _ => WasThere(state) ? Assessment.Dangerous("directory-was-there") : Moderate("create"),
    };

    public override Undo Inverse(InstanceState before, PathArgs args) => Undo.Keep("an empty directory goes with the instance");
    public override Timing Timing(PathArgs args) => Within(TimeSpan.FromSeconds(30));
    public override string Describe(PathArgs args) => args.Note is { Length: > 0 } note ? note : "create " + args.Path;
    public override ValueTask ApplyAsync(PathArgs args, ToolContext context) => Actuator.CreateDir();
}

/// <summary>Makes a disk that is not there, from its image or empty.</summary>
internal sealed class CreateDisk(InstanceScope scope, InstanceActuator? actuator)
    : InstanceTool<DiskArgs>("create-disk", InstanceJson.Default.DiskArgs, scope, actuator, Kind.DiskMissing)
{
    public override IEnumerable<Move<DiskArgs>> Propose(InstanceGoal? goal, InstanceState state, Difference difference)
    {
        if (goal?.Disks.FirstOrDefault(d => d.Name == difference.Subject) is not { Source: "" } disk) yield break;
        if (state.Dir != Present.It)
        {
            yield return Move.Wait<DiskArgs>("the directory comes first");
            yield break;
        }
        if (disk.Image is not { } image)
        {
            yield return Move.Do(new DiskArgs(disk.Name, disk.Path, disk.Format, disk.Size, "", ""), 2, "it is not there");
            yield break;
        }
        var size = state.ImageSizes.GetValueOrDefault(image.Spec.Sha256);
        if (goal.Unsigned is [var unsigned, ..]) yield return Move.Wait<DiskArgs>(unsigned.Text);
        else if (state.Images.GetValueOrDefault(image.Spec.Sha256) != Present.It || (disk.Size == 0 && size == 0)) yield return Move.Wait<DiskArgs>($"image {image.Name} comes first");
        else if (disk.Size > 0 && size > disk.Size) yield return Move.Wait<DiskArgs>($"image {image.Name} has {Quantity.Format(size)}: set the size of disk {disk.Name} to that or more");
        else yield return Move.Do(new DiskArgs(disk.Name, disk.Path, disk.Format, disk.Size > 0 ? disk.Size : size, Scope.Layout.Image(image.Spec.Sha256, image.Spec.Format), image.Spec.Format), 2, "it is not there");
    }

    public override Footprint Touches(InstanceState state, DiskArgs args) => new([InstanceFacts.Domain, InstanceFacts.Config, InstanceFacts.Dir], [InstanceFacts.Disk(args.Name), InstanceFacts.Data]);

    public override InstanceState Predict(InstanceState state, DiskArgs args)
    {
        var disk = new DiskState(args.Format, args.Size, args.Format == "qcow2" ? args.Image : "");
        return state with { Disks = state.Disks.SetItem(args.Name, disk.ToString()), DiskStates = state.DiskStates.SetItem(args.Name, disk), Data = Stored.Some };
    }

    public override InstanceState During(InstanceState state, DiskArgs args) => state;

    /// <summary>A disk that a definition of ours names has been there: that it is gone may be a file system that is not mounted, and a new one would hide it.</summary>
    public override Assessment Assess(InstanceState state, DiskArgs args) =>
        WasThere(state, args.Path) ? Assessment.Dangerous("disk-was-there") : Moderate("create");

    /// <summary>Also as a file of the other format: an empty disk would stand where that one's data was.</summary>
    public static bool WasThere(InstanceState state, string path) =>
        state.Config.ContainsKey(Aspect.Disk + path) || state.OtherDisks.Keys.Any(o => Path.ChangeExtension(o, null) == Path.ChangeExtension(path, null));

    public override Undo Inverse(InstanceState before, DiskArgs args) => Undo.Keep("a disk that nobody uses yet goes with the instance");
    public override Timing Timing(DiskArgs args) => Within(TimeSpan.FromMinutes(60));
    public override string Describe(DiskArgs args) => $"create disk {args.Name}, {Quantity.Format(args.Size)} {args.Format}{(args.Image.Length > 0 ? ", from its image" : ", empty")}";
    public override ValueTask ApplyAsync(DiskArgs args, ToolContext context) => Actuator.CreateDiskAsync(args, context.Stop);
}

/// <summary>Makes a disk larger, while the machine runs or while it is off.</summary>
internal sealed class GrowDisk(InstanceScope scope, InstanceActuator? actuator)
    : InstanceTool<GrowArgs>("grow-disk", InstanceJson.Default.GrowArgs, scope, actuator, Kind.DiskSmall)
{
    public override IEnumerable<Move<GrowArgs>> Propose(InstanceGoal? goal, InstanceState state, Difference difference)
    {
        if (goal?.Disks.FirstOrDefault(d => d.Name == difference.Subject) is not { } disk) yield break;
        // A disk that the running machine does not have yet is grown as the file that it is.
        var live = state.IsUp && state.Live.ContainsKey(Aspect.Disk + disk.Path);
        if (state.Power is Power.Stopping or Power.Suspended) yield return Move.Wait<GrowArgs>($"it is {state.Power}", InstanceDifferences.Soon);
        else yield return Move.Do(new GrowArgs(disk.Name, disk.Path, disk.Format, disk.Target, disk.Size, live), 3, difference.Text);
    }

    public override Footprint Touches(InstanceState state, GrowArgs args) => new([InstanceFacts.Power, InstanceFacts.Live], [InstanceFacts.Disk(args.Name)]);

    public override InstanceState Predict(InstanceState state, GrowArgs args)
    {
        if (!state.DiskStates.TryGetValue(args.Name, out var before)) return state;
        var disk = before with { Size = args.Size };
        return state with { Disks = state.Disks.SetItem(args.Name, disk.ToString()), DiskStates = state.DiskStates.SetItem(args.Name, disk) };
    }

    public override InstanceState During(InstanceState state, GrowArgs args) => state;
    public override Assessment Assess(InstanceState state, GrowArgs args) => Moderate("grow");
    public override Undo Inverse(InstanceState before, GrowArgs args) => Undo.Keep("a disk never shrinks");
    public override Timing Timing(GrowArgs args) => Within(TimeSpan.FromMinutes(2));
    public override string Describe(GrowArgs args) => $"grow disk {args.Name} to {Quantity.Format(args.Size)}{(args.Live ? " while it runs" : "")}";
    public override ValueTask ApplyAsync(GrowArgs args, ToolContext context) => Actuator.GrowDiskAsync(args, context.Stop);
}

/// <summary>Writes the disk that cloud-init reads at the first boot.</summary>
internal sealed class WriteSeed(InstanceScope scope, InstanceActuator? actuator)
    : InstanceTool<SeedArgs>("write-seed", InstanceJson.Default.SeedArgs, scope, actuator, Kind.Seed)
{
    public override IEnumerable<Move<SeedArgs>> Propose(InstanceGoal? goal, InstanceState state, Difference difference)
    {
        if (goal?.Seed is not { } seed) yield break;
        if (state.Dir != Present.It) yield return Move.Wait<SeedArgs>("the directory comes first");
        else if (goal.Unsigned is [var unsigned, ..]) yield return Move.Wait<SeedArgs>(unsigned.Text);
        else yield return Move.Do(new SeedArgs(seed.Digest, seed.Path), 2, "it is not there");
    }

    public override Footprint Touches(InstanceState state, SeedArgs args) => new([InstanceFacts.Dir], [InstanceFacts.Seed]);
    public override InstanceState Predict(InstanceState state, SeedArgs args) => state with { Seed = Present.It };
    public override InstanceState During(InstanceState state, SeedArgs args) => state;
    public override Assessment Assess(InstanceState state, SeedArgs args) => Moderate("create");
    public override Undo Inverse(InstanceState before, SeedArgs args) => Undo.Keep("a seed that nobody reads goes with the instance");
    public override Timing Timing(SeedArgs args) => Within(TimeSpan.FromMinutes(1));
    public override string Describe(SeedArgs args) => $"write the seed of cloud-init, {args.Digest[..8]}";
    public override ValueTask ApplyAsync(SeedArgs args, ToolContext context) => Actuator.WriteSeedAsync(args, context.Stop);
}
