using System.Collections.Immutable;
using AgentMetal.NodeAgent.Agents.Instance;
using AgentMetal.NodeAgent.Pipeline;
using AgentMetal.Runtime.Planning;
using AgentMetal.Runtime.Risk;
using static AgentMetal.NodeAgent.Tests.Agents.Instance.InstanceSamples;

namespace AgentMetal.NodeAgent.Tests.Agents.Instance;

/// <summary>
/// Random things happen to a machine in the model, and nobody signs: the guest switches itself off, the host boots, somebody uses virsh, the spec changes.
/// Whatever starts it next, its disks are those that it had, in the order that it had, but for what was only taken out or added; and nothing that waited is in force.
/// </summary>
public sealed class InstanceAdversaryTests
{
    private const int Sequences = 500;

    [Fact]
    public void Machine_UnderAnything_HasNothingInForceThatNobodySigned()
    {
        var (held, signed, replaced) = (0, 0, 0);
        for (var seed = 1; seed <= Sequences; seed++)
        {
            var world = new World(seed);
            for (var i = world.Dice.Next(3, 13); i > 0; i--) world.Step();
            (held, signed, replaced) = (held + world.Waited, signed + world.Signed, replaced + world.Replaced);
        }
        // Each of what it is about happened often enough to be broken.
        Assert.True(held > 200 && signed > 100 && replaced > 100, $"{held} changes waited, {signed} were signed, {replaced} would have replaced a disk");
    }

    private sealed class World
    {
        private readonly List<string> _told = [];
        private readonly int _seed;
        private string _policy = "ask", _power = "running", _cmdline = "one";
        private string[] _disks = ["a", "b"];
        private string? _waiting;
        private InstanceState _state;
        private readonly HashSet<string> _files;

        public World(int seed)
        {
            (_seed, Dice) = (seed, new Random(seed));
            _state = Converged(Input());
            _files = [.. Goal(Input()).Disks.Select(d => d.Path)];
        }

        public Random Dice { get; }
        public int Waited { get; private set; }
        public int Signed { get; private set; }
        public int Replaced { get; private set; }

        public void Step()
        {
            var what = Dice.Next(11);
            _told.Add(what switch { < 4 => "declare", 4 or 5 => "off", 6 => "boot", 7 => "power", 8 => "virsh", 9 => "sign", _ => "pass" });
            switch (_told[^1])
            {
                case "declare":
                    _disks = [.. Some(["a", "b", "c", "a:raw", "b:raw"]).DistinctBy(d => d.Split(':')[0])];
                    if (_disks.Length == 0) _disks = ["a"];
                    _cmdline = Dice.Next(3) switch { 0 => "one", 1 => "two", _ => "three" };
                    _policy = Dice.Next(4) == 0 ? "allowed" : "ask";
                    break;
                case "off": _state = _state.Off(); break;
                case "boot": _state = _state.Off(); if (_state.Domain == Owner.Ours) _state = _state with { Power = Power.Running, Live = _state.Config }; break;
                case "power": _power = _power == "running" ? "stopped" : "running"; break;
                case "virsh": Virsh(); break;
                case "sign": Pass(signs: true); return;
            }
            Pass(signs: false);
            if (Dice.Next(3) == 0) Pass(signs: false);
        }

        private string[] Some(string[] all) => [.. all.OrderBy(_ => Dice.Next()).Take(Dice.Next(1, 4))];

        /// <summary>What hands do to what runs; what they do to the definition is theirs to sign for.</summary>
        private void Virsh()
        {
            if (_state.Live.IsEmpty) return;
            var disks = Aspect.DisksOf(_state.Live).ToList();
            _state = Dice.Next(3) switch
            {
                0 when disks.Count > 1 => _state with { Live = _state.Live.Remove(Aspect.KeyOf(disks[^1])) },
                1 => _state with { Live = _state.Live.SetItem(Aspect.Disk + "/srv/other.raw", "raw as vdt") },
                _ => _state with { Hung = Yes.It },
            };
        }

        private void Pass(bool signs)
        {
            var input = Input();
            var goal = Goal(input);
            _state = Looked(_state, goal);
            var before = _state;
            var was = Files(InForce.Of(before));
            var plan = Plan(input, before);
            var replaces = Replaces(was, [.. goal.Disks.Select(d => d.Path)]);
            if (replaces) Replaced++;
            if (signs) Signed++;
            var waits = !before.Live.IsEmpty && _power == "running" && !_cmdline.Equals(Cmdline(before), StringComparison.Ordinal) && _policy == "ask";
            if (waits && !signs) Waited++;
            _state = signs ? plan.Final : Unsigned(plan);
            foreach (var disk in goal.Disks.Where(d => _state.DiskStates.ContainsKey(d.Name))) _files.Add(disk.Path);
            if (signs) { _waiting = null; return; }
            var now = Files(_state.Config);
            Check(!replaces || _state.Domain != Owner.Ours || before.Domain != Owner.Ours || now.SequenceEqual(Files(before.Config)) || now.SequenceEqual(was),
                $"the next start has {string.Join(' ', now)}, it had {string.Join(' ', was)}, and nobody signed that");
            // What was declared while it ran, and is not in force, waits: until it is signed, or something else is declared while it runs.
            if (!before.Live.IsEmpty && _power == "running") _waiting = waits ? _cmdline : null;
            if (_policy == "allowed") _waiting = null;
            Check(_waiting is null || (Cmdline(_state) != _waiting && !_state.Config[Aspect.Boot].EndsWith(_waiting, StringComparison.Ordinal)), $"{_waiting} is in force, and waited");
            if (_power == "running") Check(_state.Power == Power.Running, "it does not run, although nothing keeps it from running as it was");
        }

        /// <summary>As the observer reads files: those that the goal names, and the others.</summary>
        private InstanceState Looked(InstanceState s, InstanceGoal goal)
        {
            var there = goal.Disks.Where(d => _files.Contains(d.Path)).ToImmutableSortedDictionary(d => d.Name, d => new DiskState(d.Format, d.Size, ""), StringComparer.Ordinal);
            return s with
            {
                DiskStates = there,
                Disks = goal.Disks.ToImmutableSortedDictionary(d => d.Name, d => there.TryGetValue(d.Name, out var disk) ? disk.ToString() : FactValue.Absent, StringComparer.Ordinal),
                OtherDisks = _files.Except(goal.Disks.Select(d => d.Path)).ToImmutableSortedDictionary(f => f, f => new DiskState(f[(f.LastIndexOf('.') + 1)..], 32 << 20, ""), StringComparer.Ordinal),
            };
        }

        private static bool Replaces(string[] was, string[] wanted)
        {
            var (stay, come) = (was.Where(wanted.Contains).ToArray(), wanted.Except(was).Any());
            return was.Length > 0 && ((come && stay.Length < was.Length) || wanted[0] != was[0] || !wanted.Where(was.Contains).SequenceEqual(stay)
                || (come && wanted.Take(stay.Length).Except(was).Any()));
        }

        private void Check(bool holds, string why) => Assert.True(holds, $"seed {_seed}: {string.Join(", ", _told)}: {why}");

        private MemberInput Input() => InstanceSamples.Input($"{{\"power\":\"{_power}\",\"restart\":\"{_policy}\",\"boot\":{{\"kernel\":\"kernel\",\"cmdline\":\"{_cmdline}\"}},\"disks\":["
            + string.Join(',', _disks.Select(d => d.Split(':') is [var name, var format] ? $"{{\"name\":\"{name}\",\"size\":\"32Mi\",\"format\":\"{format}\"}}" : $"{{\"name\":\"{d}\",\"size\":\"32Mi\"}}")) + "]}");

        private static string Cmdline(InstanceState s) => InForce.Of(s).GetValueOrDefault(Aspect.Boot, "").Split(' ')[^1];

        private static string[] Files(IEnumerable<KeyValuePair<string, string>> aspects) =>
            [.. Aspect.DisksOf(ImmutableSortedDictionary.CreateRange(StringComparer.Ordinal, aspects)).Where(d => d.Path.Contains("/instances/", StringComparison.Ordinal)).Select(d => d.Path)];
    }

    private static Plan<InstanceGoal, InstanceState> Plan(MemberInput input, InstanceState state) => InstanceIdentityTests.Plan(input, state);

    /// <summary>What a plan does without a signature.</summary>
    internal static InstanceState Unsigned(Plan<InstanceGoal, InstanceState> plan)
    {
        var agent = new InstanceAgent(Scope(Input(FromKernel)));
        return WithoutSignature(plan).Aggregate(plan.Start, (s, step) => agent.Tools.Single(t => t.Name == step.Tool).Bind(step.Args).Predict(s));
    }

    /// <summary>Whole groups that need a signature are left out, and what is built on them.</summary>
    internal static IEnumerable<Step> WithoutSignature(Plan<InstanceGoal, InstanceState> plan)
    {
        var groups = plan.Steps.Where(s => s.Risk.Level == RiskLevel.Dangerous).Select(s => s.Group).ToHashSet(StringComparer.Ordinal);
        for (var before = -1; before != groups.Count;)
        {
            before = groups.Count;
            var changed = new HashSet<string>(StringComparer.Ordinal);
            foreach (var step in plan.Steps)
            {
                if (step.Basis.Any(f => changed.Contains(f.Key))) groups.Add(step.Group);
                if (groups.Contains(step.Group)) changed.UnionWith(step.Expect.Except(step.Basis).Select(f => f.Key));
            }
        }
        return plan.Steps.Where(s => !groups.Contains(s.Group));
    }
}
