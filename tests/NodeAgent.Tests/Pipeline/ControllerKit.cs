using System.Collections.Concurrent;
using System.Collections.Immutable;
using System.Runtime.CompilerServices;
using System.Threading.Channels;
using AgentMetal.NodeAgent.Host;
using AgentMetal.NodeAgent.Host.Files;
using AgentMetal.NodeAgent.Host.Systemd;
using AgentMetal.NodeAgent.Pipeline;
using AgentMetal.Runtime.Approval;
using AgentMetal.Runtime.Execution;
using AgentMetal.Runtime.Planning;
using AgentMetal.Runtime.Trust;
using Microsoft.Extensions.Logging.Abstractions;
using Microsoft.Extensions.Time.Testing;

namespace AgentMetal.NodeAgent.Tests.Pipeline;

/// <summary>A controller on virtual time, with a kind "Toy" whose passes a test scripts one by one.</summary>
internal sealed class ControllerKit : IAsyncDisposable
{
    public const string Key = "n0/Toy/uid-1/0";
    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(30);
    private readonly PathWatcher _paths = new();

    public ControllerKit(ControllerOptions? options = null, IDigestVerifier? digests = null)
    {
        Runner = new();
        Controller = new(options ?? new() { Workers = 1 }, [Runner], new NoState(), Units, _paths, new NoTurns(), new Nobody(), digests ?? DigestVerifier.None, Clock, NullLogger<Controller>.Instance);
        Controller.PassEnded = (_, _, _) => Ended.Writer.TryWrite(true);
    }

    public FakeTimeProvider Clock { get; } = new(new DateTimeOffset(2030, 1, 1, 0, 0, 0, TimeSpan.Zero));
    public FakeSignals Units { get; } = new();
    public ToyRunner Runner { get; }
    public Controller Controller { get; }

    /// <summary>One item for each pass that ended, after its view was set.</summary>
    public Channel<bool> Ended { get; } = Channel.CreateUnbounded<bool>();

    public MemberView View => Controller.Members.Single(m => m.Input.Key == Key);

    public static PassResult Report(ReconcilePhase phase = ReconcilePhase.Converged, TimeSpan? again = null, bool backOff = false) => new(new() { Phase = phase, Again = again, BackOff = backOff }, false, []);

    public static MemberInput Input(string key = Key, long generation = 1) => new()
    {
        Key = key,
        ResourceKey = "Toy default/a",
        Project = "default",
        Name = "a",
        ResourceUid = key.Split('/')[2],
        Ordinal = 0,
        Generation = generation,
        Spec = "{}"u8.ToArray(),
        NodeUid = "n0",
    };

    /// <summary>Assigned, started, and the first pass over.</summary>
    public async Task BeginAsync()
    {
        Controller.Assign(Input());
        Controller.Start();
        await EndedAsync();
    }

    public async Task EndedAsync() => await Ended.Reader.ReadAsync(TestContext.Current.CancellationToken).AsTask().WaitAsync(s_patience, TestContext.Current.CancellationToken);

    /// <summary>Virtual time passes. The workers sleep on real time, so they are told to look at the clock.</summary>
    public void Advance(TimeSpan span)
    {
        Clock.Advance(span);
        Controller.Wake("nobody");
    }

    public static async Task UntilAsync(Func<bool> condition, string what)
    {
        var until = DateTimeOffset.UtcNow + s_patience;
        while (!condition())
        {
            Assert.True(DateTimeOffset.UtcNow < until, what);
            await Task.Delay(5, TestContext.Current.CancellationToken);
        }
    }

    public async ValueTask DisposeAsync()
    {
        await Controller.DisposeAsync();
        _paths.Dispose();
    }

    /// <summary>The toy's passes.</summary>
    internal sealed class ToyRunner : IMemberRunner
    {
        private int _passes;

        public string Kind => "Toy";

        /// <summary>The n-th pass, from 1.</summary>
        public Func<int, PassContext, CancellationToken, Task<PassResult>> Pass { get; set; } = static (_, _, _) => Task.FromResult(Report());

        public Func<MemberInput, MemberWatch> Watch { get; set; } = static _ => new([], [], null);

        public int Passes => _passes;

        /// <summary>What the last pass was given.</summary>
        public MemberInput? Last { get; private set; }

        public ConcurrentQueue<(string Key, Mode Mode)> Seen { get; } = new();

        public Task<PassResult> ReconcileAsync(MemberInput input, PassContext context, CancellationToken stop)
        {
            Last = input;
            Seen.Enqueue((input.Key, context.Mode));
            return Pass(Interlocked.Increment(ref _passes), context, stop);
        }

        /// <summary>Looks that change nothing.</summary>
        public int Previews { get; private set; }

        public Task<PassResult> PreviewAsync(MemberInput input, PassContext context, CancellationToken stop)
        {
            Previews++;
            return Task.FromResult(Report(ReconcilePhase.Converging));
        }

        public MemberWatch WatchFor(MemberInput input) => Watch(input);

        public MemberStop? Stop { get; set; }

        public Task<MemberStop?> StopOfAsync(MemberInput input, CancellationToken stop) => Task.FromResult(Stop);
    }

    /// <summary>Unit signals by hand; knows who is watched now.</summary>
    internal sealed class FakeSignals : IUnitReader
    {
        private volatile string[] _watched = [];
        private volatile Channel<UnitSignal> _signals = Channel.CreateUnbounded<UnitSignal>();

        public IReadOnlyCollection<string> Watched => _watched;

        public void Signal(string? unit) => _signals.Writer.TryWrite(new() { Kind = unit is null ? UnitSignalKind.Resync : UnitSignalKind.Changed, Unit = unit });

        public Task<Observed<UnitState>> GetUnitAsync(string name, CancellationToken ct) => throw new NotSupportedException(name);

        public async IAsyncEnumerable<UnitSignal> WatchAsync(IReadOnlyCollection<string> names, [EnumeratorCancellation] CancellationToken ct)
        {
            _signals = Channel.CreateUnbounded<UnitSignal>();
            _watched = [.. names.Order(StringComparer.Ordinal)];
            try
            {
                await foreach (var signal in _signals.Reader.ReadAllAsync(ct)) yield return signal;
            }
            finally { _watched = []; }
        }
    }

    private sealed class NoState : IMemberState
    {
        public IPassStore For(MemberInput input) => null!;
        public ValueTask<OpenRun?> OpenRunAsync(string key, CancellationToken stop) => new((OpenRun?)null);
        public ValueTask<ImmutableArray<Attempt>> AttemptsAsync(string key, long generation, CancellationToken stop) => new(ImmutableArray<Attempt>.Empty);
    }

    internal sealed class NoTurns : ITurns
    {
        public ValueTask<string?> TakeAsync(string key, TimeSpan hold, bool signed, CancellationToken stop) => new("nobody grants it");
        public void Release(string key) { }
    }

    internal sealed class Nobody : IApprovalVerifier
    {
        public ApprovalVerdict Verify(PlanSubject subject, Step step, ImmutableArray<SignedApproval> found, DateTimeOffset now) => new(false, "", "nobody");
    }
}
