using System.Collections.Immutable;
using System.Runtime.CompilerServices;
using AgentMetal.NodeAgent.Host;
using AgentMetal.NodeAgent.Host.Files;
using AgentMetal.NodeAgent.Host.Systemd;
using AgentMetal.NodeAgent.Pipeline;
using AgentMetal.Runtime.Approval;
using AgentMetal.Runtime.Execution;
using AgentMetal.Runtime.Planning;
using AgentMetal.Runtime.Trust;
using Microsoft.Extensions.Logging.Abstractions;

namespace AgentMetal.NodeAgent.Tests.Pipeline;

public sealed class ControllerProbeTests
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(20);

    [Fact]
    public async Task Probe_AMemberThatHangs_KeepsNobodyElseWaiting()
    {
        using var world = new World();
        await using var controller = world.Controller();
        controller.Assign(World.Input("hangs"));
        controller.Assign(World.Input("answers"));
        controller.Start();
        await world.Hanging.Task.WaitAsync(Patience, TestContext.Current.CancellationToken);
        // The hanging probe ends only when the test says so: whatever else is asked now is asked beside it.
        var before = world.Asked;
        world.Wanted = before + 3;
        await world.Reached.Task.WaitAsync(Patience, TestContext.Current.CancellationToken);
        world.Let.TrySetResult();
    }

    [Fact]
    public async Task Pass_CausedByAProbe_DoesNotAskTheSameAgain()
    {
        using var world = new World();
        await using var controller = world.Controller();
        controller.Assign(World.Input("hangs"));
        controller.Start();
        await world.Hanging.Task.WaitAsync(Patience, TestContext.Current.CancellationToken);
        var passes = world.Passes;
        world.Let.TrySetResult();
        await world.PassAfter(passes).WaitAsync(Patience, TestContext.Current.CancellationToken);
        // One for the first pass's baseline, one that hung; the pass that it caused begins from what it saw.
        Assert.Equal(2, world.AskedOfHanging);
    }

    /// <summary>Two members: one whose second probe waits, one that answers at once.</summary>
    private sealed class World : IMemberRunner, IMemberState, IUnitReader, ITurns, IApprovalVerifier, IDisposable
    {
        private readonly Lock _lock = new();
        private readonly PathWatcher _paths = new();
        private readonly List<(int Count, TaskCompletionSource Reached)> _passes = [];

        public TaskCompletionSource Hanging { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);

        public TaskCompletionSource Let { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);

        public TaskCompletionSource Reached { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);

        public int Wanted { get; set; } = int.MaxValue;

        public int Asked { get; private set; }

        public int AskedOfHanging { get; private set; }

        public int Passes { get; private set; }

        public string Kind => "Fake";

        public static MemberInput Input(string name) => new()
        {
            Key = $"node/Fake/{name}/0",
            ResourceKey = "Fake default/" + name,
            Project = "default",
            Name = name,
            ResourceUid = name,
            Ordinal = 0,
            Generation = 1,
            Spec = "{}"u8.ToArray(),
            NodeUid = "node",
        };

        public Controller Controller() => new(new ControllerOptions { Probe = TimeSpan.FromMilliseconds(20) }, [this], this, this, _paths, this, this, TimeProvider.System, NullLogger<Controller>.Instance);

        public Task PassAfter(int count)
        {
            lock (_lock)
            {
                if (Passes > count) return Task.CompletedTask;
                var reached = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
                _passes.Add((count, reached));
                return reached.Task;
            }
        }

        public MemberWatch WatchFor(MemberInput input) => new([], [], _ => ProbeAsync(input.Name));

        public Task<PassResult> ReconcileAsync(MemberInput input, PassContext context, CancellationToken stop)
        {
            lock (_lock)
            {
                Passes++;
                foreach (var (count, reached) in _passes)
                    if (Passes > count) reached.TrySetResult();
            }
            return Task.FromResult(new PassResult(new ReconcileReport { Phase = ReconcilePhase.Converged, Again = TimeSpan.FromHours(1) }, false, []));
        }

        public Task<PassResult> PreviewAsync(MemberInput input, PassContext context, CancellationToken stop) => ReconcileAsync(input, context, stop);

        public IPassStore For(MemberInput input) => null!;

        public ValueTask<OpenRun?> OpenRunAsync(string key, CancellationToken stop) => new((OpenRun?)null);

        public ValueTask<ImmutableArray<Attempt>> AttemptsAsync(string key, long generation, CancellationToken stop) => new([]);

        public Task<Observed<UnitState>> GetUnitAsync(string name, CancellationToken ct) => throw new InvalidOperationException("nobody asks for a unit here");

        public async IAsyncEnumerable<UnitSignal> WatchAsync(IReadOnlyCollection<string> names, [EnumeratorCancellation] CancellationToken ct)
        {
            await Task.Delay(Timeout.Infinite, ct);
            yield break;
        }

        public ValueTask<string?> TakeAsync(string key, TimeSpan hold, CancellationToken stop) => new((string?)null);

        public void Release(string key) => throw new InvalidOperationException("nobody takes a turn here");

        public ApprovalVerdict Verify(PlanSubject subject, Step step, ImmutableArray<SignedApproval> found, DateTimeOffset now) => throw new InvalidOperationException("nobody approves here");

        public void Dispose() => _paths.Dispose();

        private async ValueTask<string> ProbeAsync(string name)
        {
            int mine;
            lock (_lock)
            {
                if (name == "answers" && ++Asked >= Wanted) Reached.TrySetResult();
                mine = name == "hangs" ? ++AskedOfHanging : 0;
            }
            if (mine != 2) return "well";
            Hanging.TrySetResult();
            await Let.Task;
            return "hung";
        }
    }
}
