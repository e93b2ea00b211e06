using AgentMetal.NodeAgent.Pipeline;

namespace AgentMetal.NodeAgent.Tests.Pipeline;

/// <summary>Probes of several members beside each other.</summary>
public sealed class ControllerProbeTests
{
    [Fact]
    public async Task Probe_AMemberThatHangs_KeepsNobodyElseWaiting()
    {
        await using var kit = new ControllerKit(new() { Workers = 2 });
        var probes = new Probes(kit);
        kit.Controller.Assign(ControllerKit.Input("n0/Toy/hangs/0"));
        kit.Controller.Assign(ControllerKit.Input("n0/Toy/answers/0"));
        kit.Controller.Start();
        await kit.EndedAsync();
        await kit.EndedAsync();
        await probes.HangAsync();
        // The hanging probe ends only when the test says so: whatever is asked now is asked beside it.
        var before = probes.AskedOfOthers;
        await ControllerKit.UntilAsync(() =>
        {
            kit.Clock.Advance(TimeSpan.FromSeconds(1));
            return probes.AskedOfOthers >= before + 3;
        }, "the other member is asked no more");
        probes.Let.TrySetResult();
    }

    [Fact]
    public async Task Pass_CausedByAProbe_DoesNotAskTheSameAgain()
    {
        await using var kit = new ControllerKit();
        var probes = new Probes(kit);
        kit.Controller.Assign(ControllerKit.Input("n0/Toy/hangs/0"));
        kit.Controller.Start();
        await kit.EndedAsync();
        await probes.HangAsync();
        probes.Let.TrySetResult();
        await kit.EndedAsync();
        // One for the first pass's baseline, one that hung; the pass that it caused begins from what it saw.
        Assert.Equal(2, probes.AskedOfHanging);
    }

    /// <summary>The second probe of the member "hangs" waits until it is let go, and then differs; everybody else answers at once.</summary>
    private sealed class Probes
    {
        private readonly ControllerKit _kit;
        private readonly TaskCompletionSource _hanging = new(TaskCreationOptions.RunContinuationsAsynchronously);
        private int _others;
        private int _ofHanging;

        public Probes(ControllerKit kit)
        {
            _kit = kit;
            kit.Runner.Watch = input => new([], [], _ => ProbeAsync(input.ResourceUid));
        }

        public TaskCompletionSource Let { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);

        public int AskedOfOthers => Volatile.Read(ref _others);

        public int AskedOfHanging => Volatile.Read(ref _ofHanging);

        /// <summary>Time passes until the probe hangs.</summary>
        public Task HangAsync() => ControllerKit.UntilAsync(() =>
        {
            if (!_hanging.Task.IsCompleted) _kit.Clock.Advance(TimeSpan.FromSeconds(1));
            return _hanging.Task.IsCompleted;
        }, "no probe hangs");

        private async ValueTask<string> ProbeAsync(string name)
        {
            if (name != "hangs") Interlocked.Increment(ref _others);
            else if (Interlocked.Increment(ref _ofHanging) == 2)
            {
                _hanging.TrySetResult();
                await Let.Task;
                return "hung";
            }
            return "well";
        }
    }
}
