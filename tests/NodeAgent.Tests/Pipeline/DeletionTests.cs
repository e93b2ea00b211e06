using System.Collections.Immutable;
using System.Security.Cryptography;
using System.Text.Json.Serialization;
using AgentMetal.NodeAgent.Edge;
using AgentMetal.NodeAgent.Pipeline;
using AgentMetal.Runtime.Approval;
using AgentMetal.Runtime.Execution;
using AgentMetal.Runtime.Planning;
using AgentMetal.Runtime.Risk;
using AgentMetal.Runtime.Trust;

namespace AgentMetal.NodeAgent.Tests.Pipeline;

/// <summary>A whole resource is deleted: nothing begins before it is signed, and until then the member is kept.</summary>
public sealed partial class DeletionTests : IAsyncDisposable
{
    private static readonly string s_node = new('1', 32);
    private readonly DirectoryInfo _folder = Directory.CreateTempSubdirectory("agentmetal-deletion-");
    private readonly ECDsa _key = P256.Generate();
    private readonly LocalStore _store;
    private readonly ApproverSet _set;
    private readonly Server _server = new();
    private readonly MemberInput _input;
    private long _place;
    private int _runs;

    public DeletionTests()
    {
        _store = Assert.IsType<LocalOpening.Opened>(LocalStore.Open(Path.Combine(_folder.FullName, "local.db"), s_node)).Store;
        _set = new() { Version = 1, NotAfterUnixMs = DateTimeOffset.UtcNow.AddDays(9).ToUnixTimeMilliseconds(), Threshold = 1, Keys = [new ApproverKey { Name = "ann", Spki = _key.ExportSubjectPublicKeyInfo() }] };
        _input = ControllerKit.Input() with { NodeUid = s_node, ResourceUid = "r-1", Key = s_node + "/Toy/r-1/0", Absent = true, Teardown = true };
    }

    public async ValueTask DisposeAsync()
    {
        await _store.DisposeAsync();
        _key.Dispose();
        _folder.Delete(recursive: true);
    }

    [Fact]
    public async Task Pass_DeletionWaits_NothingBeginsAndTheMemberIsHealed()
    {
        var first = await PassAsync();
        Assert.Equal((ReconcilePhase.AwaitingApproval, ReconcilePhase.Converged), (first.Report.Phase, first.Kept?.Phase));
        Assert.True(_server is { Up: true, Data: true });
        Assert.Equal(["stop", "remove"], first.Report.Held.Select(s => s.Tool));
        _server.Up = false;
        var healed = await PassAsync();
        Assert.True(_server.Up);
        var again = await PassAsync();
        Assert.Equal(ReconcilePhase.Converged, again.Kept?.Phase);
        Assert.Equal(first.Report.Held[^1].Hash, again.Report.Held[^1].Hash); // One question, whatever was healed.
        Assert.Equal(ReconcilePhase.AwaitingApproval, healed.Report.Phase);
    }

    [Fact]
    public async Task Pass_Denied_KeepsItAndSaysUntilWhen_AndApprovedAfterwards_Goes()
    {
        var held = (await PassAsync()).Report.Held;
        await SignAsync(held, ApprovalDecision.Deny);
        _server.Up = false;
        var denied = await PassAsync();
        Assert.Contains("ann denied it until", denied.Report.Standing, StringComparison.Ordinal);
        Assert.True(_server is { Up: true, Data: true });
        Assert.Equal("", denied.Destroyed);
        await SignAsync(held, ApprovalDecision.Approve);
        await PassAsync();
        Assert.False(_server.Up || _server.Data);
        Assert.Equal("remove it", await _store.DestroyedAsync(_input.Key, _input.Generation, TestContext.Current.CancellationToken));
        Assert.Equal((ReconcilePhase.Converged, null), await PassAsync() is var gone ? (gone.Report.Phase, gone.Kept) : default);
    }

    /// <summary>What is half gone is not made anew: a member whose data was taken would come up empty.</summary>
    [Fact]
    public async Task Pass_AfterSomethingWasDestroyed_IsNotHealed()
    {
        await SignAsync((await PassAsync()).Report.Held, ApprovalDecision.Approve);
        await PassAsync();
        (_server.Up, _server.Data) = (false, true); // Something of it is there again.
        var result = await PassAsync();
        Assert.Equal((ReconcilePhase.AwaitingApproval, null, false), (result.Report.Phase, result.Kept, _server.Up));
    }

    private async Task<PassResult> PassAsync()
    {
        var stop = TestContext.Current.CancellationToken;
        var state = new MemberState(_store, TimeProvider.System);
        var context = new PassContext
        {
            Store = state.For(_input),
            Turns = new ControllerKit.NoTurns(),
            Verifier = new ApprovalVerifier(() => _set),
            Clock = TimeProvider.System,
            Attempts = new(await state.AttemptsAsync(_input.Key, _input.Generation, stop), DateTimeOffset.UtcNow),
            Open = await state.OpenRunAsync(_input.Key, stop),
            NewRunId = "run-" + ++_runs,
            Tell = _ => { },
            Pause = (_, _) => Task.CompletedTask,
            Destroyed = await _store.DestroyedAsync(_input.Key, _input.Generation, stop),
        };
        return await new MemberRunner<Goal, Server>(new Toy(_server)).ReconcileAsync(_input, context, stop);
    }

    private async Task SignAsync(ImmutableArray<Step> held, ApprovalDecision decision) => await _store.AddApprovalAsync(SignedApproval.Sign(_key, decision,
        held.Where(s => s.Risk.Level == RiskLevel.Dangerous).Select(s => s.Hash), "r-1", s_node, DateTimeOffset.UtcNow.ToUnixTimeMilliseconds() + ++_place, DateTimeOffset.UtcNow.AddHours(1), ""), TestContext.Current.CancellationToken);

    private sealed class Server
    {
        public bool Up { get; set; } = true;
        public bool Data { get; set; } = true;
    }

    private sealed record Goal;

    private sealed record Args;

    [JsonSerializable(typeof(Args))]
    private sealed partial class ArgsJson : JsonSerializerContext;

    private sealed class Toy(Server server) : MemberAgent<Goal, Server>, IStateObserver<Server>
    {
        public override string Kind => "Toy";
        public override GoalResult<Goal> ReadGoal(MemberInput input) => GoalResult<Goal>.Of(input.Absent ? null : new());
        public override Agent<Goal, Server> AgentFor(MemberInput input) => new ToyAgent(server);
        public override IStateObserver<Server> ObserverFor(MemberInput input) => this;
        public override MemberWatch WatchFor(MemberInput input) => new([], [], null);
        public override bool IsGone(Server state) => !state.Up && !state.Data;
        public ValueTask<Server> ObserveAsync(CancellationToken stop) => new(new Server { Up = server.Up, Data = server.Data });
    }

    private sealed class ToyAgent(Server world) : Agent<Goal, Server>
    {
        public override string Name => "toy";
        public override ImmutableArray<Tool<Goal, Server>> Tools { get; } =
        [
            new Call(world, "start", "down", "up", s => s.Up = true, Assessment.Safe),
            new Call(world, "stop", "runs", "up", s => s.Up = false, Assessment.Moderate("stop")),
            new Call(world, "remove", "there", "data", s => s.Data = false, new(RiskLevel.Dangerous, ["data-loss"], LosesData: true)),
        ];
        public override ImmutableArray<Invariant<Goal, Server>> Invariants => [];
        public override IEnumerable<Difference> Differences(Goal? goal, Server s)
        {
            if (goal is not null && !s.Up) yield return new("down", "", "it is down");
            if (goal is null && s.Up) yield return new("runs", "", "it runs and is to go") { Group = "teardown" };
            if (goal is null && s.Data) yield return new("there", "", "its data is to go") { Group = "teardown" };
        }

        public override string Fact(Server s, string key) => key == "up" ? s.Up.ToString() : s.Data.ToString();
        public override IEnumerable<string> FactKeys(Server state) => ["up", "data"];
        public override string Summary(Goal? goal, Server state) => state.Up ? "up" : "down";
    }

    private sealed class Call(Server world, string name, string answers, string writes, Action<Server> make, Assessment risk) : Tool<Goal, Server, Args>(name, 1, ArgsJson.Default.Args, answers)
    {
        public override IEnumerable<Move<Args>> Propose(Goal? goal, Server state, Difference difference)
        {
            if (Name == "remove" && state.Up) yield return Move.Wait<Args>("it is stopped first");
            else yield return Move.Do(new Args(), 1, "");
        }

        public override Footprint Touches(Server state, Args args) => new(Name == "remove" ? ["up"] : [], [writes]);
        public override Server Predict(Server state, Args args)
        {
            var next = new Server { Up = state.Up, Data = state.Data };
            make(next);
            return next;
        }

        public override Assessment Assess(Server state, Args args) => risk;
        public override Undo Inverse(Server before, Args args) => risk.LosesData ? Undo.Impossible("gone") : Undo.Keep("");
        public override string Describe(Args args) => Name + " it";
        public override ValueTask ApplyAsync(Args args, ToolContext context)
        {
            make(world);
            return ValueTask.CompletedTask;
        }
    }
}
