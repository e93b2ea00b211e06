using AgentMetal.NodeAgent.Edge.Consoles;
using AgentMetal.NodeAgent.Pipeline;
using AgentMetal.Runtime.Consoles;
using Microsoft.Extensions.Logging.Abstractions;
using Microsoft.Extensions.Time.Testing;

namespace AgentMetal.NodeAgent.Tests.Edge.Consoles;

public sealed class ConsoleDeskTests
{
    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(20);

    private readonly FakeTimeProvider _clock = new();
    private readonly FakeConsoles _consoles = new();
    private readonly List<(string Resource, string Kind, string Body)> _audit = [];
    private readonly ConsoleDesk _desk;
    private bool _auditFails;

    public ConsoleDeskTests() => _desk = new([_consoles], (resource, kind, body) =>
    {
        if (_auditFails) throw new IOException("no space left");
        lock (_audit) _audit.Add((resource, kind, body));
        return default;
    }, _clock, NullLogger<ConsoleDesk>.Instance);

    private static CancellationToken Ct => TestContext.Current.CancellationToken;

    [Fact]
    public async Task Console_Opened_CarriesBothWaysAfterTheLastLinesAndIsAudited()
    {
        _consoles.Log = "one\ntwo\nthree";
        var peer = new FakePeer(lines: 2);
        var serving = ServeAsync(peer, new("alice", "k1", Force: true));
        Assert.Equal(ConsoleFrameKind.Opened, (await peer.NextAsync()).Kind);
        Assert.Equal("two\nthree", await peer.SaidAsync());
        var guest = Assert.Single(_consoles.Guests);
        guest.Say("/ # ");
        Assert.Equal("/ # ", await peer.SaidAsync());
        peer.Type("ls\r");
        Assert.Equal("ls\r", await guest.TypedAsync());
        peer.Leave();
        Assert.Equal(ConsoleEnd.Left, (await serving.WaitAsync(s_patience, Ct)).Why);
        Assert.True(guest.Disposed);
        Assert.True(_consoles.LastForce);
        Assert.Equal([("Instance default/hello", "ConsoleOpened", """{"by":"alice","key":"k1","force":"1"}"""), ("Instance default/hello", "ConsoleClosed", """{"by":"alice","key":"k1","force":"1","why":"Left","detail":""}""")], _audit);
        Assert.Equal(0, _desk.Open);
    }

    [Fact]
    public async Task Audit_CannotBeWritten_OpensNothing()
    {
        _auditFails = true;
        var peer = new FakePeer();
        Assert.Equal(ConsoleEnd.Failed, (await ServeAsync(peer, new("alice", "k1", false)).WaitAsync(s_patience, Ct)).Why);
        Assert.Contains("audit", (await peer.NextAsync()).Ending.Message, StringComparison.Ordinal);
        Assert.True(Assert.Single(_consoles.Guests).Disposed);
    }

    [Fact]
    public async Task Second_WithoutForce_IsToldWhoHasItAndChangesNothing()
    {
        var (first, _) = await OpenAsync(new("alice", "k1", false));
        var second = new FakePeer();
        var refused = await ServeAsync(second, new("bob", "k2", false)).WaitAsync(s_patience, Ct);
        Assert.Equal(ConsoleEnd.Busy, refused.Why);
        var told = (await second.NextAsync()).Ending;
        Assert.Contains("open already, by alice since ", told.Message, StringComparison.Ordinal);
        _consoles.Guests[0].Say("still here");
        Assert.Equal("still here", await first.SaidAsync());
        Assert.Single(_audit);
    }

    [Fact]
    public async Task Second_ByForce_TakesItAndTheFirstIsToldByWhom()
    {
        var (first, serving) = await OpenAsync(new("alice", "k1", false));
        var (second, _) = await OpenAsync(new("bob", "k2", true));
        var told = (await first.NextAsync()).Ending;
        Assert.Equal((ConsoleEnd.Taken, "bob took the console by force"), (told.Why, told.Message));
        first.Cut();
        Assert.Equal(ConsoleEnd.Taken, (await serving.WaitAsync(s_patience, Ct)).Why);
        _consoles.Guests[1].Say("for bob");
        Assert.Equal("for bob", await second.SaidAsync());
        Assert.Equal(1, _desk.Open);
        Assert.Contains(_audit, a => a.Kind == "ConsoleClosed" && a.Body.Contains("\"why\":\"Taken\"", StringComparison.Ordinal));
    }

    [Fact]
    public async Task Machine_Stops_TheOtherSideIsToldAndGoesByItself()
    {
        var (peer, serving) = await OpenAsync(new("alice", "k1", false));
        _consoles.Guests[0].Stop();
        Assert.Equal(ConsoleEnd.Guest, (await peer.NextAsync()).Ending.Why);
        for (var i = 0; i < 100; i++) await Task.Yield();
        peer.Cut();
        Assert.Equal(ConsoleEnd.Guest, (await serving.WaitAsync(s_patience, Ct)).Why);
        Assert.False(peer.BrokenOff, "the connection was broken off before the other side had read why");
    }

    [Fact]
    public async Task Nothing_CarriedForHalfAnHour_EndsTheSession()
    {
        var (peer, serving) = await OpenAsync(new("alice", "k1", false));
        await AdvanceAsync(TimeSpan.FromMinutes(29));
        peer.Type("x");
        Assert.Equal("x", await _consoles.Guests[0].TypedAsync());
        await AdvanceAsync(TimeSpan.FromMinutes(29));
        Assert.False(serving.IsCompleted, "what was typed did not count");
        await AdvanceAsync(TimeSpan.FromMinutes(2));
        Assert.Equal(ConsoleEnd.Idle, (await peer.NextAsync()).Ending.Why);
        peer.Cut();
        Assert.Equal(ConsoleEnd.Idle, (await serving.WaitAsync(s_patience, Ct)).Why);
    }

    [Fact]
    public async Task Key_NoLongerAllowed_NothingMoreIsTyped()
    {
        string? why = null;
        var (peer, serving) = await OpenAsync(new("alice", "k1", false) { WhyNot = () => why });
        why = "key k1 is not in the approver set of version 2";
        peer.Type("rm -rf /\r");
        var told = (await peer.NextAsync()).Ending;
        Assert.Equal((ConsoleEnd.Refused, why), (told.Why, told.Message));
        peer.Cut();
        await serving.WaitAsync(s_patience, Ct);
        Assert.False(_consoles.Guests[0].Heard(out _));
    }

    [Fact]
    public async Task Daemon_Stops_TheSessionIsToldAndAuditedBeforeItIsOver()
    {
        using var stop = new CancellationTokenSource();
        var peer = new FakePeer();
        _ = _desk.ServeAsync(FakeConsoles.Input(), new("alice", "k1", false), peer, stop.Token);
        Assert.Equal(ConsoleFrameKind.Opened, (await peer.NextAsync()).Kind);
        await stop.CancelAsync();
        Assert.Contains("stops", (await peer.NextAsync()).Ending.Message, StringComparison.Ordinal);
        await _desk.EndedAsync().WaitAsync(s_patience, Ct);
        Assert.Equal(["ConsoleOpened", "ConsoleClosed"], _audit.Select(a => a.Kind));
    }

    [Fact]
    public async Task Nobody_AsksInTime_NothingIsOpened()
    {
        var serving = ServeAsync(new FakePeer(lines: null), new("alice", "k1", false));
        _clock.Advance(ConsoleDesk.OpeningDeadline);
        await serving.WaitAsync(s_patience, Ct);
        Assert.Empty(_consoles.Guests);
        Assert.Empty(_audit);
    }

    [Fact]
    public async Task Data_BeforeItIsAskedFor_IsTypedNowhere()
    {
        var peer = new FakePeer(lines: null);
        peer.Type("x");
        await ServeAsync(peer, new("alice", "k1", false)).WaitAsync(s_patience, Ct);
        Assert.Empty(_consoles.Guests);
    }

    [Fact]
    public async Task OtherSide_TakesNothing_TheMachineIsReadNoFurther()
    {
        var peer = new FakePeer();
        var serving = ServeAsync(peer, new("alice", "k1", false));
        Assert.Equal(ConsoleFrameKind.Opened, (await peer.NextAsync()).Kind);
        peer.Stuck = true;
        for (var i = 0; i < 1000; i++) _consoles.Guests[0].Say("line");
        peer.Cut();
        Assert.Equal(ConsoleEnd.Left, (await serving.WaitAsync(s_patience, Ct)).Why);
        // One is on its way, and the session holds nothing beside it.
        Assert.InRange(_consoles.Guests[0].Reads, 0, 1);
    }

    private Task<ConsoleEnding> ServeAsync(FakePeer peer, ConsoleCaller caller) => _desk.ServeAsync(FakeConsoles.Input(), caller, peer, Ct);

    private async Task<(FakePeer Peer, Task<ConsoleEnding> Serving)> OpenAsync(ConsoleCaller caller)
    {
        var peer = new FakePeer();
        var serving = ServeAsync(peer, caller);
        Assert.Equal(ConsoleFrameKind.Opened, (await peer.NextAsync()).Kind);
        return (peer, serving);
    }

    // The session looks at the clock once a minute; each look must have been made before the next minute passes.
    private async Task AdvanceAsync(TimeSpan span)
    {
        for (var passed = TimeSpan.Zero; passed < span; passed += TimeSpan.FromMinutes(1))
        {
            _clock.Advance(TimeSpan.FromMinutes(1));
            await Task.Yield();
        }
    }
}
