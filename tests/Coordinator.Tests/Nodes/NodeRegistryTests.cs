using System.Text.Json;
using AgentMetal.Coordinator.Agents.Orchestrator;
using AgentMetal.Coordinator.Events;
using AgentMetal.Coordinator.Fleet;
using AgentMetal.Coordinator.Identity;
using AgentMetal.Coordinator.Nodes;
using AgentMetal.Runtime.Store;
using Microsoft.Extensions.Logging.Abstractions;
using Microsoft.Extensions.Time.Testing;
using Xunit;

namespace AgentMetal.Coordinator.Tests.Nodes;

public sealed class NodeRegistryTests : IAsyncLifetime
{
    private readonly FakeTimeProvider _clock = new(new DateTimeOffset(2026, 11, 23, 12, 0, 0, TimeSpan.Zero));
    private readonly string _folder = Directory.CreateTempSubdirectory("agentmetal-registry-").FullName;
    private readonly List<string> _changed = [];
    private MemoryStore _store = null!;
    private FleetModel _model = null!;
    private EventLog _events = null!;
    private NodeRegistry _registry = null!;

    public async ValueTask InitializeAsync()
    {
        _store = new("s1", _clock);
        var record = new NodeRecord { Uid = "n1", Name = "edge-1", KeyId = "k", Labels = new Dictionary<string, string>(), JoinedUnixMs = 1 };
        await _store.TxnAsync(StoreTxn.Put(IdentityKeys.Node("n1"), JsonSerializer.SerializeToUtf8Bytes(record, IdentityJson.Default.NodeRecord), 0), TestContext.Current.CancellationToken);
        _model = new(_store, NullLogger<FleetModel>.Instance, _clock);
        await _model.LoadAsync(TestContext.Current.CancellationToken);
        _events = new(_folder, _clock, NullLogger<EventLog>.Instance);
        _registry = new(_model, _events, _clock) { StandingChanged = _changed.Add };
    }

    public async ValueTask DisposeAsync()
    {
        _events.Dispose();
        await _store.DisposeAsync();
        Directory.Delete(_folder, recursive: true);
    }

    [Fact]
    public void Tick_ThreeMissedHeartbeats_EndTheStreamAndTheNodeIsAway()
    {
        using var session = Session("boot-1");
        _registry.Attach(session);
        Assert.Equal(Standing.Open, _registry.Live("n1").Standing);
        _clock.Advance(NodeRegistry.Silence - TimeSpan.FromSeconds(1));
        _registry.Tick();
        Assert.False(session.Ended.IsCancellationRequested);
        _clock.Advance(TimeSpan.FromSeconds(1));
        _registry.Tick();
        Assert.True(session.Ended.IsCancellationRequested);
        _registry.Detach(session, "three heartbeats are missing");
        Assert.Equal((Standing.Away, "three heartbeats are missing"), (_registry.Live("n1").Standing, _registry.Live("n1").Why));
        Assert.Equal(["n1", "n1"], _changed);
    }

    [Fact]
    public void Tick_EndedCertificate_AsksTheNodeToLeave()
    {
        using var session = Session("boot-1");
        _registry.Attach(session);
        _clock.Advance(TimeSpan.FromHours(1));
        session.HeardAt = _clock.GetUtcNow();
        _registry.Tick();
        Assert.True(session.Leaving);
    }

    [Fact]
    public void Attach_RebootedHostWhoseOldStreamIsSilent_WaitsAndIsServed()
    {
        using var before = Session("boot-1");
        using var after = Session("boot-2");
        _registry.Attach(before);
        Assert.Equal(StreamRuling.Wait, _registry.Attach(after));
        _clock.Advance(NodeRegistry.Silence);
        Assert.Equal(StreamRuling.Replace, _registry.Settle(after));
        Assert.Same(after, _registry.Session("n1"));
        Assert.True(before.Leaving);
        Assert.Equal(Standing.Open, _registry.Live("n1").Standing);
    }

    [Fact]
    public void Attach_Quarantined_IsLetInOnlyWhenTheOtherHasBeenSilentForLong()
    {
        using var first = Session("boot-1");
        using var second = Session("boot-2");
        _registry.Attach(first);
        _registry.Attach(second);
        Assert.False(_registry.Heard(first));
        Assert.Equal(Standing.Quarantined, _registry.Live("n1").Standing);
        Assert.True(first.Leaving && second.Leaving);
        _registry.Detach(first, "");
        _registry.Detach(second, "");
        // Both go on calling: both stay out, however long it takes.
        for (var i = 0; i < 5; i++)
        {
            _clock.Advance(NodeRegistry.QuarantineLasts / 2);
            Assert.Equal(StreamRuling.Quarantine, Attach("boot-1"));
            Assert.Equal(StreamRuling.Quarantine, Attach("boot-2"));
        }
        for (var i = 0; i < 9; i++)
        {
            _clock.Advance(NodeRegistry.QuarantineLasts / 10);
            Assert.Equal(StreamRuling.Quarantine, Attach("boot-1"));
        }
        _clock.Advance(NodeRegistry.QuarantineLasts / 10);
        Assert.Equal(StreamRuling.Serve, Attach("boot-1"));
        Assert.Equal(Standing.Open, _registry.Live("n1").Standing);
    }

    private StreamRuling Attach(string boot)
    {
        var session = Session(boot);
        return _registry.Attach(session);
    }

    private NodeSession Session(string boot) => new(_registry.NewId(), "n1", "edge-1", boot, Google.Protobuf.ByteString.Empty, _clock.GetUtcNow().AddMinutes(30));
}
