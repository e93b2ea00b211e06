using System.Collections.Immutable;
using System.Globalization;
using AgentMetal.NodeAgent.Agents.Instance.Volumes;
using AgentMetal.NodeAgent.Pipeline;
using AgentMetal.Runtime.Execution;
using AgentMetal.Runtime.Planning;
using AgentMetal.Runtime.Resources;
using AgentMetal.Runtime.Resources.Kinds;

namespace AgentMetal.NodeAgent.Agents.Instance;

/// <summary>Reads assignments of the kind Instance and makes what converges one.</summary>
/// <param name="readers">The host, to look.</param>
/// <param name="writers">The host, to act.</param>
/// <param name="clock">Bounds of waits within a step.</param>
/// <param name="roots">The directories below which instances live.</param>
internal sealed class InstanceMember(InstanceReaders readers, InstanceWriters writers, TimeProvider clock, InstanceRoots roots) : MemberAgent<InstanceGoal, InstanceState>
{
    private const string DefaultNetwork = "default";

    /// <summary>As the schema says.</summary>
    private const int MaxNics = 8;

    /// <summary>Ships with libvirt: the guest's own MAC and the IP address that it was seen to get, ARP for it, no IPv6 router advertisements.</summary>
    private const string NoSpoofing = "clean-traffic";

    /// <summary>
    /// On a libvirt network nothing but the question for a lease is let through until there is one. By itself libvirt lets a guest speak until it has learned
    /// the address, and takes the first that is heard: one that is not the guest's own, if it is quick.
    /// </summary>
    private const string NoSpoofingBeforeALease = NoSpoofing + "@dhcp";

    public override string Kind => InstanceKind.Name;

    public override GoalResult<InstanceGoal> ReadGoal(MemberInput input)
    {
        var errors = new List<SpecError>();
        // These become names of files and domains; the coordinator has checked them, and is not believed.
        if (Names.LabelError(input.Project) is { } project) errors.Add(new("metadata.project", project));
        if (Names.LabelError(input.Name) is { } name) errors.Add(new("metadata.name", name));
        if (input.Ordinal != 0) errors.Add(new("ordinal", $"{input.Ordinal} is not 0: an instance is one machine"));
        if (errors.Count > 0) return GoalResult<InstanceGoal>.Unsupported([.. errors]);
        if (input.Absent) return GoalResult<InstanceGoal>.Of(null);
        var (_, problems) = InstanceKind.Schema.Validate(input.Spec);
        errors.AddRange(problems.Select(Said));
        if (errors.Count > 0) return GoalResult<InstanceGoal>.Unsupported([.. errors]);
        var spec = InstanceSpec.Parse(input.Spec);
        if (spec.Source == input.Name) errors.Add(new("spec.source.instance", "is the instance itself"));
        var (images, volumes) = (Images(input, spec, errors), Volumes(input, spec, errors));
        return errors.Count > 0 ? GoalResult<InstanceGoal>.Unsupported([.. errors]) : GoalResult<InstanceGoal>.Of(Goal(input, spec, images, volumes));
    }

    public override Agent<InstanceGoal, InstanceState> AgentFor(MemberInput input)
    {
        var scope = Scope(input);
        return new InstanceAgent(scope, new InstanceActuator(scope, readers, writers, clock) { IsSuperseded = input.IsSuperseded });
    }

    public override IStateObserver<InstanceState> ObserverFor(MemberInput input) => new InstanceObserver(Scope(input), readers, writers.Images, clock, writers.Exports);

    public override ImmutableSortedDictionary<string, string> DetailsOf(InstanceGoal? goal, InstanceState state)
    {
        var all = MemberDetails.None.ToBuilder();
        if (goal is null) return MemberDetails.None;
        all[InstanceDetail.Power] = state.Power;
        if (!state.Addresses.IsEmpty) all[InstanceDetail.Addresses] = string.Join(", ", state.Addresses.Take(8));
        if (state.IsUp && state.Live.TryGetValue(Aspect.Type, out var type)) all[InstanceDetail.Accelerator] = type;
        if (state.OtherDisks.Where(d => !state.Config.ContainsKey(Aspect.Disk + d.Key) && !state.Live.ContainsKey(Aspect.Disk + d.Key)).Take(8).ToList() is { Count: > 0 } unused)
            all[InstanceDetail.Unused] = string.Join(", ", unused.Select(d => $"{d.Key} ({d.Value.Format}, {Quantity.Format(d.Value.Size)})"));
        if (state.Downloads.FirstOrDefault(d => d.Value.Failed.Length == 0) is { Value: { } download, Key: { } digest })
            all[InstanceDetail.Download] = $"image {goal.Images.FirstOrDefault(i => i.Spec.Sha256 == digest)?.Name} {download}";
        return all.ToImmutable();
    }

    public override ImmutableSortedDictionary<string, string> WatchedOf(InstanceGoal? goal, InstanceState state) => InstanceTold.Watched(goal, state);

    public override string? MovedWords(MemberInput input, string key, string was, string now) => InstanceTold.Words(key, was, now);

    public override MemberStop StopOf(MemberInput input, InstanceGoal? goal, InstanceState state)
    {
        var args = new Tools.StopArgs(goal?.Spec.ShutdownSeconds ?? 60, goal?.Spec.ForceAllowed ?? false);
        return new(state.IsUp, $"shut the guest down, within {args.Seconds} s", "",
            stop => new InstanceActuator(Scope(input), readers, writers, clock).StopForGoodAsync(args, InstanceDrift.AsBusy(state.Settled), state.Autostart == Yes.It, stop));
    }

    public override MemberWatch WatchFor(MemberInput input)
    {
        var scope = Scope(input);
        // No event of libvirt says that somebody pulled a cable (virsh domif-setlink). It is in what libvirt writes down of a machine that runs.
        string[] status = scope.Adopt.Length > 0 || roots.TestType.Length > 0 ? [] : [scope.Layout.Status];
        return new([], [scope.Layout.Dir, .. status], null) { Topics = [DomainTopics.Of(scope.Adopt.Length > 0 ? "" : scope.Uuid)] };
    }

    public override bool IsGone(InstanceState state) => !InstanceDifferences.Of(null, state).Any();

    public override MemberMove MoveOf(InstanceState s) => new(
        s.WayOut == Way.Settled && s is { Data: Stored.None, Dir: FactValue.Absent or DirIs.Others, Domain: FactValue.Absent } ? Way.NodeOf(s.Offer) : "",
        s.WayIn == Way.Owned ? Way.NodeOf(s.Receipt) : "");

    private static SpecError Said(FieldError p) => new(p.Path, p.Note.Length > 0 ? $"{p.Message}: {p.Note}" : p.Message);

    /// <summary>What the spec refers to came with the assignment, and is checked here like the spec itself.</summary>
    private static Dictionary<string, ImageSpec> Images(MemberInput input, InstanceSpec spec, List<SpecError> errors)
    {
        var images = new Dictionary<string, ImageSpec>(StringComparer.Ordinal);
        foreach (var (path, name) in spec.Images)
        {
            if (!input.References.TryGetValue(ImageKind.Name + "/" + name, out var bytes))
            {
                errors.Add(new(path, $"Image {input.Project}/{name} did not come with the assignment"));
                continue;
            }
            var (_, problems) = ImageKind.Schema.Validate(bytes);
            errors.AddRange(problems.Select(p => Said(p) with { Path = $"{path}: Image {name} {p.Path}" }));
            if (problems.IsEmpty) images[name] = ImageSpec.Parse(bytes);
        }
        Expect("spec.boot.kernel", spec.Kernel, "kernel");
        Expect("spec.boot.initrd", spec.Initrd, "initrd");
        for (var i = 0; i < spec.Disks.Length; i++) Expect($"spec.disks[{i}].image", spec.Disks[i].Image, "qcow2", "raw");
        return images;

        void Expect(string path, string name, params ReadOnlySpan<string> formats)
        {
            if (name.Length > 0 && images.TryGetValue(name, out var image) && !formats.Contains(image.Format))
                errors.Add(new(path, $"Image {name} is a {image.Format}, not {string.Join(" or ", formats.ToArray())}"));
        }
    }

    private static Dictionary<string, VolumeSpec> Volumes(MemberInput input, InstanceSpec spec, List<SpecError> errors)
    {
        var volumes = new Dictionary<string, VolumeSpec>(StringComparer.Ordinal);
        foreach (var (path, name) in spec.Volumes)
        {
            if (!input.References.TryGetValue(VolumeKind.Name + "/" + name, out var bytes)) errors.Add(new(path, $"Volume {input.Project}/{name} did not come with the assignment"));
            else if (VolumeKind.Schema.Validate(bytes) is { Errors: { IsEmpty: false } problems }) errors.AddRange(problems.Select(p => Said(p) with { Path = $"{path}: Volume {name} {p.Path}" }));
            else volumes[name] = VolumeSpec.Parse(bytes);
        }
        return volumes;
    }

    private InstanceGoal Goal(MemberInput input, InstanceSpec spec, Dictionary<string, ImageSpec> images, Dictionary<string, VolumeSpec> volumes)
    {
        var layout = LayoutOf(input);
        if (spec.AdoptDomain.Length > 0) return new() { Spec = spec, Config = null, Adopt = spec.AdoptDomain };
        var disks = spec.Disks.Select((d, i) => Disk(d, "vd" + (char)('a' + i))).ToImmutableArray();
        var source = spec.Source.Length > 0 && InstanceLayout.Of(input.Project, spec.Source, "", 0, roots) is var of ? new SourceGoal(spec.Source, of.Id, of.Dir) : null;
        var seed = spec.CloudInit.Enabled ? CloudInitSeed.Of(input.Name, layout, spec) : null;
        var nics = spec.Nics.Select((n, i) => Nic(input, n, i)).ToImmutableArray();
        return new()
        {
            Spec = spec,
            Own = layout.Own,
            OwnMacs = [.. Enumerable.Range(0, 2 * MaxNics).Select(i => InstanceLayout.MacOf(input.ResourceUid, i))],
            MoveFrom = input.MoveFrom,
            MoveTo = input.MoveTo,
            Disks = disks,
            Seed = seed,
            Source = source,
            Project = input.Project,
            Name = input.Name,
            Declared = input.Spec,
            Images = [.. images.OrderBy(i => i.Key, StringComparer.Ordinal).DistinctBy(i => i.Value.Sha256).Select(i => new UsedImage(i.Key, i.Value))],
            Networks = [.. nics.Where(n => n.Kind == "network").Select(n => n.Source).Distinct(StringComparer.Ordinal)],
            Addresses = nics.Zip(spec.Nics).Where(n => n.First.Kind == "network" && n.Second.Ip.Length > 0).ToImmutableSortedDictionary(n => Card.Of(n.First.Source, n.First.Mac), n => n.Second.Ip, StringComparer.Ordinal),
            Bridges = [.. nics.Where(n => n.Kind == "bridge").Select(n => n.Source).Distinct(StringComparer.Ordinal)],
            Unsigned = [.. Unsigned(input, spec, images)],
            Digest = spec.ReportsDrift ? InstanceDrift.Digest(input.Spec, input.References) : "",
            Config = new()
            {
                Name = layout.Id,
                Uuid = layout.Uuid,
                Title = Title(input),
                Type = roots.TestType.Length > 0 ? roots.TestType : "qemu",
                Cpus = spec.Cpus,
                MaxCpus = spec.MaxCpus,
                MemoryKiB = spec.Memory / 1024,
                MaxMemoryKiB = spec.MaxMemory / 1024,
                Kernel = PathOf(spec.Kernel),
                Initrd = PathOf(spec.Initrd),
                Cmdline = spec.Cmdline,
                Disks = [.. disks.Select(d => new DomainDisk(d.Target, d.Path, d.Format) { Serial = DomainDisk.SerialOf(d.Name) }), .. seed is null ? [] : new[] { new DomainDisk("vdz", seed.Path, "raw", ReadOnly: true) }],
                Nics = nics,
                GuestAgent = spec.GuestAgent,
                ConsoleLog = layout.ConsoleLog,
            },
        };

        DiskGoal Disk(InstanceDisk d, string target) => d.Volume.Length > 0
            ? new(d.Name, target, VolumeLayout.Of(input.Project, d.Volume, roots).File(volumes[d.Volume].Format), volumes[d.Volume].Format, 0, null) { Volume = d.Volume }
            : new(d.Name, target, layout.Disk(d.Name, d.Format), d.Format, d.Size, d.Image.Length > 0 ? new(d.Image, images[d.Image]) : null)
            {
                Source = spec.Source.Length > 0 ? InstanceLayout.Of(input.Project, spec.Source, "", 0, roots).Dir + "/" + d.Name : "",
            };

        string PathOf(string image) => image.Length == 0 ? "" : layout.Image(images[image].Sha256, images[image].Format);
    }

    private static DomainNic Nic(MemberInput input, InstanceNic nic, int index)
    {
        var mac = nic.Mac.Length > 0 ? nic.Mac : InstanceLayout.MacOf(input.ResourceUid, index);
        var filter = nic.MaySpoof ? "" : nic.Ip.Length > 0 ? NoSpoofing + "@" + nic.Ip : nic.Bridge.Length > 0 ? NoSpoofing : NoSpoofingBeforeALease;
        return nic.Bridge.Length > 0 ? new(mac, "bridge", nic.Bridge, filter) : new(mac, "network", nic.Network.Length > 0 ? nic.Network : DefaultNetwork, filter);
    }

    /// <summary>What a guest executes must be signed by operators, whoever says that it is wanted.</summary>
    private static IEnumerable<(string Key, string Text)> Unsigned(MemberInput input, InstanceSpec spec, Dictionary<string, ImageSpec> images)
    {
        var executes = images.Values.Select(i => (ImageKind.Purpose, i.Sha256)).Concat(spec.BootDigest.Length > 0 ? [(InstanceKind.BootPurpose, spec.BootDigest)] : [])
            .Concat(spec.CloudInitDigest.Length > 0 ? [(InstanceKind.CloudInitPurpose, spec.CloudInitDigest)] : []).Distinct().Order();
        foreach (var (purpose, digest) in executes)
            if (input.IsTrusted(purpose, digest) is { IsTrusted: false } outcome) yield return ($"{purpose} {digest}", outcome.Problem);
    }

    /// <summary>An instance that goes is looked at as one of ours: of a domain that was taken over nothing is, so it is released at once.</summary>
    private InstanceScope Scope(MemberInput input)
    {
        var goal = ReadGoal(input).Goal;
        return new() { Layout = LayoutOf(input), Emulator = roots.TestType.Length > 0 ? "" : roots.Emulator, Programs = roots, Goal = goal, Adopt = goal?.Adopt ?? "" };
    }

    private InstanceLayout LayoutOf(MemberInput input) => InstanceLayout.Of(input.Project, input.Name, input.ResourceUid, input.Ordinal, roots);

    private static string Title(MemberInput input) => string.Create(CultureInfo.InvariantCulture, $"{InstanceKind.Name} {input.Project}/{input.Name}");
}
