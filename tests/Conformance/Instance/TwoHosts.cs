using System.Collections.Immutable;
using AgentMetal.NodeAgent.Agents.Instance;
using AgentMetal.NodeAgent.Pipeline;
using AgentMetal.NodeAgent.Tests.Agents.Instance;
using AgentMetal.Runtime.Execution;
using AgentMetal.Runtime.Planning;
using AgentMetal.Runtime.Risk;
using AgentMetal.TestKit;
using static AgentMetal.NodeAgent.Tests.Agents.Instance.InstanceSamples;

namespace AgentMetal.Conformance.Instance;

/// <summary>What happens to a move besides that the two hosts work at it.</summary>
internal sealed record Course
{
    public static Course Straight { get; } = new();

    /// <summary>The effect (from 1) at which the source and the target die; 0 = never.</summary>
    public int SourceDies { get; init; }
    public int TargetDies { get; init; }

    /// <summary>They die with their host: machines are off, and those that start with the host are started by libvirt before anybody looks.</summary>
    public bool WithHost { get; init; }

    /// <summary>The look (from 1, of either side) after which the coordinator wants it back where it was; 0 = never.</summary>
    public int CalledOff { get; init; }

    /// <summary>The look after which a coordinator in strange hands says this to the target or the source, in no order; 0 = never.</summary>
    public int TargetToGo { get; init; }
    public int SourceToStay { get; init; }
    public int SourceForgotten { get; init; }

    /// <summary>The look after which somebody starts it on the source by hand; 0 = never.</summary>
    public int ByHand { get; init; }

    /// <summary>Of which messages are lost, come twice or late; 0 = none.</summary>
    public int Mischief { get; init; }
}

/// <summary>
/// Two hosts, a machine and what they say to each other, in memory: the real agents, the real engine with its journals, and one fake transfer that keeps
/// the rules of the real one. At every effect of either host at most one of them may know the machine to libvirt, and at most one may think that it is its own.
/// </summary>
internal sealed class TwoHosts
{
    private const int MaxRounds = 160;
    private static readonly string Here = new('a', 32);
    private static readonly string There = new('b', 32);

    private enum Word { Held, Released, Settled }

    private sealed record Message(Word Word, int Manifest, int Due);

    private sealed class Side(Rig<InstanceGoal, InstanceState> rig)
    {
        public Rig<InstanceGoal, InstanceState> Rig => rig;
        public MemberInput Input { get; set; } = null!;
        public InstanceGoal? Goal { get; set; }
        public ReconcileReport? Report { get; set; }

        /// <summary>What the guest wrote last to the disks here; 0 = there are none.</summary>
        public int Content { get; set; }

        /// <summary>What was read, or what is here of it.</summary>
        public int Manifest { get; set; }

        public InstanceState State { get => rig.World.State; set => rig.World.State = value; }
    }

    private readonly Course _course;
    private readonly Random _dice;
    private readonly Side _source;
    private readonly Side _target;
    private readonly List<Message> _toSource = [];
    private readonly List<Message> _toTarget = [];
    private readonly List<string> _findings = [];
    private int _written;
    private int _looks;

    public TwoHosts(Course course)
    {
        _course = course;
        _dice = new(course.Mischief);
        _source = Make(Input() with { MoveTo = new(0, There, "edge-2", "10.0.0.2", 7444), NodeUid = Here }, Converged(Input()), course.SourceDies);
        _target = Make(Input() with { MoveFrom = new(0, Here, "edge-1", "10.0.0.1", 7444), NodeUid = There }, Nothing(Input()), course.TargetDies);
        _source.Content = _written = 1;
    }

    public int Effects(bool source) => (source ? _source : _target).Rig.Port.Trace.Count;

    public int Looks => _looks;

    public bool IsCalledOff { get; private set; }

    public bool Moved => _target.Content == _written && _target.State.Power == Power.Running;

    /// <summary>Lets both work until nothing is left to do, and says what was wrong.</summary>
    public IReadOnlyList<string> Run()
    {
        for (var round = 0; round < (Mayhem ? MaxRounds / 3 : MaxRounds) && _findings.Count == 0; round++)
        {
            Pass(_source);
            Pass(_target);
            Coordinate();
            if (IsAtRest()) return Judge();
        }
        if (_findings.Count == 0) _findings.Add($"{MaxRounds} rounds did not end: source {Said(_source)}, target {Said(_target)}");
        return _findings;
    }

    /// <summary>What an honest coordinator tells: the source first when it changes its mind, and each host that what it has given up may go.</summary>
    private void Coordinate()
    {
        var (s, t) = (Member.MoveOf(_source.State), Member.MoveOf(_target.State));
        if (_course.CalledOff > 0 && _looks >= _course.CalledOff && !IsCalledOff && _source.Input is { Absent: false, MoveTo: not null } && s.HandedOver.Length == 0)
        {
            IsCalledOff = true;
            Tell(_source, _source.Input with { MoveTo = null });
        }
        if (IsCalledOff && !_source.Input.Absent && !_target.Input.Absent && s.HandedOver.Length == 0 && _source.Report is { Phase: ReconcilePhase.Converged }) Tell(_target, Input(absent: true) with { NodeUid = There, Teardown = false });
        if (s.HandedOver == There && t.Received == Here && !_source.Input.Absent) Tell(_source, Input(absent: true) with { NodeUid = Here, Teardown = false });
        if (_source.Input.Absent && IsGone(_source) && _target.Input.MoveFrom is not null) Tell(_target, _target.Input with { MoveFrom = null });
    }

    private bool IsAtRest() => _source.Report is { Phase: ReconcilePhase.Converged } && _target.Report is { Phase: ReconcilePhase.Converged } && _source.Rig.Open is null && _target.Rig.Open is null
        && (Mayhem ? _looks > 60 : (IsGone(_source) && _target.Input is { MoveFrom: null, Absent: false }) || (IsGone(_target) && _target.Input.Absent));

    private bool Mayhem => _course.TargetToGo > 0 || _course.SourceToStay > 0 || _course.SourceForgotten > 0;

    private IReadOnlyList<string> Judge()
    {
        if (Mayhem) return _findings;
        Side[] sides = [_source, _target];
        var running = sides.Where(s => s.State.Power == Power.Running).ToList();
        if (running is not [var one]) { _findings.Add($"{running.Count} run at the end"); return _findings; }
        // What a guest writes while nobody looks is not part of it.
        if (one.Content < _written) _findings.Add($"the guest wrote {_written}, and what runs has {one.Content}");
        var other = one == _source ? _target : _source;
        if (other.State is not { Domain: FactValue.Absent, Data: Stored.None, Dir: FactValue.Absent, Offer: FactValue.Absent, Receipt: FactValue.Absent }) _findings.Add("something is left on the other host: " + Said(other));
        return _findings;
    }

    private Side Make(MemberInput input, InstanceState state, int dies)
    {
        Side? side = null;
        var rig = new Rig<InstanceGoal, InstanceState>(state, world => Agent(input, world), Request(input, 1));
        side = new(rig) { Input = input, Goal = Goal(input) };
        (rig.Port.DieAt, rig.Port.DieAfterwards) = (dies, dies % 2 == 0);
        rig.Port.Before = effect => Before(side, effect);
        rig.World.FaultAt = (_, key) => Allows(side, key) ? Fault.None : Fault.Refuse;
        return side;
    }

    private static Modelled<InstanceGoal, InstanceState> Agent(MemberInput input, FakeWorld<InstanceState> world) => new(new InstanceAgent(Scope(input)), world);

    private static PlanRequest Request(MemberInput input, int generation) => new(new(input.NodeUid, input.ResourceUid, generation), $"goal-{generation}");

    private static void Tell(Side side, MemberInput input)
    {
        (side.Input, side.Goal, side.Report) = (input, input.Absent ? null : Goal(input), null);
        side.Rig.Agent = Agent(input, side.Rig.World);
        side.Rig.Request = Request(input, (int)side.Rig.Request.Subject.Generation + 1);
        // What only a spec names is not looked at without one, and looked at anew with another.
        side.State = input.Absent ? Unnamed(side.State) : side.State;
    }

    private void Pass(Side side)
    {
        var deaths = side.Rig.Port.DieAt;
        try
        {
            side.Report = side.Rig.Pass(side.Goal);
            // The operator signs what leaves the source, and that alone.
            if (!side.Report.Held.IsEmpty && side.Report.Held.All(s => s.Tool == "hand-over" || s.Risk.Level < RiskLevel.Dangerous)) side.Rig.Sign(side.Report.Held.Where(s => s.Risk.Level == RiskLevel.Dangerous));
        }
        catch (DiedException)
        {
            side.Report = null;
            // What the other host said is known again when it says it again, unless it was written down.
            side.State = side.State with { Peer = side.State.Peer switch { Way.Settled => Way.Settled, Way.Held or Way.Released or Way.Declined => Way.Held, _ => FactValue.Absent } };
            if (_course.WithHost && side.State.Domain == Owner.Ours)
                side.State = side.State.Autostart == Yes.It ? side.State with { Power = Power.Running, Live = side.State.Config } : side.State.Off();
        }
        Look();
    }

    /// <summary>Between any two effects of either host the other one, the network and people may do something.</summary>
    private void Before(Side side, Effect effect)
    {
        if (effect is Observe<InstanceState>)
        {
            _looks++;
            if (_looks == _course.ByHand && _source.State is { Domain: Owner.Ours, Power: Power.Off }) _source.State = _source.State with { Power = Power.Running, Live = _source.State.Config };
            if (_looks == _course.SourceToStay) Tell(_source, _source.Input with { MoveTo = null });
            if (_looks == _course.SourceForgotten) Tell(_source, Input(absent: true) with { NodeUid = Here, Teardown = false });
            if (_looks == _course.TargetToGo) Tell(_target, Input(absent: true) with { NodeUid = There, Teardown = false });
        }
        if (_course.Mischief == 0 || _dice.Next(3) > 0) Converse();
        Look();
    }

    /// <summary>The rules of the real transfer: what it refuses is refused here.</summary>
    private bool Allows(Side side, string key)
    {
        var (offer, receipt) = (side.State.WayOut, side.State.WayIn);
        if (key.StartsWith("release{", StringComparison.Ordinal)) return offer == Way.Offered && side.State.Peer == Way.Holds && side.Manifest == side.Content;
        if (key.StartsWith("take-over{", StringComparison.Ordinal)) return receipt == Way.Held && side.State.Peer == Way.Released;
        if (key.StartsWith("drop{", StringComparison.Ordinal)) return key.Contains($"\"{(side.State.Peer == Way.Declined ? Way.Declined : receipt)} ", StringComparison.Ordinal);
        if (key.StartsWith("withdraw{", StringComparison.Ordinal)) return key.Contains($"\"{offer} ", StringComparison.Ordinal);
        if (key.StartsWith("close-receipt{", StringComparison.Ordinal)) return receipt is Way.Owned or Way.Dropped;
        return true;
    }

    private void Converse()
    {
        Write();
        // The source reads its files once, and anew when they are others than it read.
        if (_source.State.WayOut == Way.Offered && _source.State.Power == Power.Off && _source.Manifest != _source.Content)
            (_source.Manifest, _source.State) = (_source.Content, _source.State with { Peer = FactValue.Absent });
        var readable = _source.State.WayOut == Way.Offered && _source.Manifest == _source.Content && _source.State.Power == Power.Off;
        if (_target.State.WayIn == Way.Receiving && readable) Arrive();
        if (_target.State.WayIn == Way.Held) Send(_toSource, Word.Held, _target.Manifest);
        if (_target.State.WayIn == Way.Owned) Send(_toSource, Word.Settled, _target.Manifest);
        foreach (var message in Due(_toSource)) Hear(message);
        foreach (var message in Due(_toTarget))
            if (_target.State.WayIn == Way.Held && _target.Manifest == message.Manifest) _target.State = _target.State with { Peer = Way.Released };
        if (_target.State is { WayIn: Way.Held, Peer: Way.Held } && _source.State.WayOut.Length == 0) _target.State = _target.State with { Peer = Way.Declined };
        // An answer of the moment: the source offers another state of it by now, so it has not let go of this one.
        if (_target.State.WayIn == Way.Held && readable && _source.Manifest != _target.Manifest) _target.State = _target.State with { Peer = FactValue.Absent };
    }

    private void Arrive()
    {
        var named = Goal(Input());
        (_target.Manifest, _target.Content) = (_source.Manifest, _source.Content);
        _target.State = _target.State with { Peer = Way.Held, Dir = Present.It, Data = Stored.Some };
        if (_target.Input.Absent) return;
        var disks = Converged(Input()).DiskStates;
        _target.State = _target.State with { DiskStates = disks, Disks = named.Disks.ToImmutableSortedDictionary(d => d.Name, d => disks[d.Name].ToString(), StringComparer.Ordinal) };
    }

    private void Hear(Message message)
    {
        var phase = _source.State.WayOut;
        if (_source.Manifest != message.Manifest) return;
        if (message.Word == Word.Settled && phase == Way.Released) _source.State = _source.State with { Peer = Way.Settled };
        if (message.Word != Word.Held) return;
        if (phase == Way.Offered && _source.Manifest == _source.Content) _source.State = _source.State with { Peer = Way.Holds };
        if (phase is Way.Released or Way.Settled) Send(_toTarget, Word.Released, message.Manifest);
    }

    private void Send(List<Message> to, Word word, int manifest)
    {
        if (_course.Mischief == 0) { to.Add(new(word, manifest, _looks)); return; }
        if (to.Count > 64) return;
        if (_dice.Next(3) == 0) return;
        to.Add(new(word, manifest, _looks + _dice.Next(12)));
        if (_dice.Next(4) == 0) to.Add(new(word, manifest, _looks + _dice.Next(40)));
    }

    private List<Message> Due(List<Message> messages)
    {
        var due = messages.Where(m => m.Due <= _looks).ToList();
        messages.RemoveAll(due.Contains);
        return due;
    }

    private void Write()
    {
        foreach (var side in new[] { _source, _target })
            if (side.State is { Power: Power.Running, Domain: Owner.Ours }) side.Content = ++_written;
    }

    private void Look()
    {
        Write();
        var (s, t) = (_source.State, _target.State);
        if (s.Domain == Owner.Ours && t.Domain == Owner.Ours) Found("both hosts know it to libvirt");
        if (s.IsUp && t.IsUp) Found("it runs twice");
        var (mine, theirs) = (s.WayOut is "" or Way.Offered && s.Data == Stored.Some, t.WayIn is "" or Way.Owned && t.Data == Stored.Some);
        if (mine && theirs) Found("both hosts think it is theirs");
        if (!mine && !theirs && s.WayOut is not (Way.Released or Way.Settled) && !_source.Input.Absent) Found("nobody has it");
        if (s.Data != Stored.Some && t.Data != Stored.Some) Found("its disks are nowhere");
    }

    private static bool IsGone(Side side) => side.Input.Absent && Member.IsGone(side.State);

    private void Found(string what)
    {
        if (!_findings.Contains(what)) _findings.Add($"{what}: source {Said(_source)}, target {Said(_target)}");
    }

    private static string Said(Side s) => $"[{s.State.Domain} {s.State.Power} data {s.State.Data} dir {s.State.Dir} offer {s.State.Offer} receipt {s.State.Receipt} peer {s.State.Peer} content {s.Content} {s.Report?.Phase} {s.Report?.Blocker}]";
}
