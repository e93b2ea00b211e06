using System.Security.Cryptography;
using System.Text;
using AgentMetal.NodeAgent.Edge.Consoles;
using AgentMetal.Proto.V1;
using AgentMetal.Runtime.Consoles;
using AgentMetal.Runtime.Trust;
using Google.Protobuf;
using Grpc.Net.Client;
using Microsoft.Extensions.Logging.Abstractions;

namespace AgentMetal.NodeAgent.Tests.Edge.Consoles;

/// <summary>A host and a coordinator that is not believed, with an operator behind it.</summary>
public sealed class RemoteConsoleTests : IDisposable
{
    private static readonly DateTimeOffset s_now = new(2026, 11, 23, 12, 0, 0, TimeSpan.Zero);
    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(20);

    private readonly ECDsa _alice = P256.Generate();
    private readonly ECDsa _node = P256.Generate();
    private readonly FakeConsoles _consoles = new();
    private readonly FakeConsoleCoordinator _coordinator = new();
    private readonly ConsoleSessionKey _session = new();
    private readonly List<string> _audit = [];
    private readonly RemoteConsole _remote;
    private ApproverSet? _approvers;

    public RemoteConsoleTests()
    {
        _approvers = Set(1, _alice);
        var desk = new ConsoleDesk([_consoles], (_, kind, body) =>
        {
            lock (_audit) _audit.Add(kind + " " + body);
            return default;
        }, TimeProvider.System, NullLogger<ConsoleDesk>.Instance);
        var trust = new ConsoleTrust { NodeUid = new string('0', 32), NodeKey = () => _node, NodeCertificate = () => [1, 2, 3], Approvers = () => _approvers, Now = () => s_now };
        _remote = new(desk, trust, () => [FakeConsoles.Input()], () => GrpcChannel.ForAddress("http://coordinator.test", new() { HttpHandler = _coordinator }), TimeProvider.System, NullLogger<RemoteConsole>.Instance);
    }

    private static CancellationToken Ct => TestContext.Current.CancellationToken;

    public void Dispose()
    {
        _alice.Dispose();
        _node.Dispose();
        _session.Dispose();
        _coordinator.Dispose();
    }

    [Fact]
    public async Task Operator_SignedByAnApprover_TypesSealedAndIsAudited()
    {
        var (serving, seal) = await OpenAsync();
        _consoles.Guests[0].Say("/ # ");
        var said = await _coordinator.NextAsync();
        Assert.DoesNotContain("/ #", said.Sealed.ToString(Encoding.Latin1), StringComparison.Ordinal);
        Assert.Equal("/ # ", Text(seal, said));
        await _coordinator.SayAsync(Seal(seal, ConsoleFrame.Data("ls\r"u8.ToArray())));
        Assert.Equal("ls\r", await _consoles.Guests[0].TypedAsync());
        await _coordinator.SayAsync(Seal(seal, ConsoleFrame.End(new(ConsoleEnd.Left, "", ""))));
        await serving.WaitAsync(s_patience, Ct);
        Assert.Contains($"\"by\":\"alice\",\"key\":\"{P256.KeyId(_alice)}\",\"force\":\"0\"", _audit[0], StringComparison.Ordinal);
        Assert.StartsWith("ConsoleClosed", _audit[1], StringComparison.Ordinal);
        Assert.Equal(0, _remote.Sessions);
        seal.Dispose();
    }

    [Fact]
    public async Task Opening_OfAnEarlierSession_IsRefusedBecauseTheNonceIsAnother()
    {
        var serving = _remote.ServeAsync(new() { Session = "s1", ResourceUid = "uid-hello" }, Ct);
        var recorded = ToWire(Sign(await OfferAsync(), _alice));
        _coordinator.HangUp();
        await serving.WaitAsync(s_patience, Ct);

        using var again = new FakeConsoleCoordinator();
        using var replayed = new Replay(this, again);
        var offer = await replayed.OfferAsync();
        Assert.NotEqual(recorded.Nonce, offer.Nonce);
        await again.SayAsync(new() { Opening = recorded });
        Assert.Contains("signed for another session", (await again.NextAsync()).Refusal.Message, StringComparison.Ordinal);
        Assert.Empty(_consoles.Guests);
        Assert.Empty(_audit);
    }

    [Theory]
    [InlineData("expired", "has expired")]
    [InlineData("stranger", "is not in the approver set")]
    [InlineData("coordinator's signature", "the signature is not alice's")]
    [InlineData("other resource", "is for resource uid-other")]
    [InlineData("other host", "is for node 1111")]
    [InlineData("no set", "has no approver set")]
    public async Task Opening_ThatIsNotAnApproversForThis_IsRefusedWithWords(string what, string words)
    {
        var serving = _remote.ServeAsync(new() { Session = "s1", ResourceUid = "uid-hello" }, Ct);
        var offer = await OfferAsync();
        using var mallory = P256.Generate();
        if (what == "no set") _approvers = null;
        var opening = what switch
        {
            "expired" => Sign(offer, _alice, seconds: 0),
            "stranger" => Sign(offer, mallory),
            "coordinator's signature" => Sign(offer, mallory) with { KeyId = P256.KeyId(_alice) },
            "other resource" => Sign(new(offer) { ResourceUid = "uid-other" }, _alice),
            "other host" => Sign(new(offer) { NodeUid = new string('1', 32) }, _alice),
            _ => Sign(offer, _alice),
        };
        await _coordinator.SayAsync(new() { Opening = ToWire(opening) });
        Assert.Contains(words, (await _coordinator.NextAsync()).Refusal.Message, StringComparison.Ordinal);
        Assert.Empty(_consoles.Guests);
        _coordinator.HangUp();
        await serving.WaitAsync(s_patience, Ct);
    }

    [Fact]
    public async Task Opening_WhoseSessionKeyTheCoordinatorChanged_IsRefused()
    {
        var serving = _remote.ServeAsync(new() { Session = "s1", ResourceUid = "uid-hello" }, Ct);
        using var own = new ConsoleSessionKey();
        await _coordinator.SayAsync(new() { Opening = new(ToWire(Sign(await OfferAsync(), _alice))) { SessionKey = ByteString.CopyFrom(own.Spki) } });
        Assert.Contains("the signature is not alice's", (await _coordinator.NextAsync()).Refusal.Message, StringComparison.Ordinal);
        _coordinator.HangUp();
        await serving.WaitAsync(s_patience, Ct);
    }

    [Fact]
    public async Task Frame_TouchedOnItsWay_IsNotTypedAndEndsTheSession()
    {
        var (serving, seal) = await OpenAsync();
        var frame = seal.Seal(ConsoleFrame.Data("ls\r"u8.ToArray()).Encode());
        frame[1] ^= 1;
        await _coordinator.SayAsync(new() { Sealed = ByteString.CopyFrom(frame) });
        Assert.Equal(ConsoleEnd.Refused, Frame(seal, await _coordinator.NextAsync()).Ending.Why);
        _coordinator.HangUp();
        await serving.WaitAsync(s_patience, Ct);
        Assert.False(_consoles.Guests[0].Heard(out _));
        Assert.Contains("was changed, left out or sent again", _audit[^1], StringComparison.Ordinal);
        seal.Dispose();
    }

    [Fact]
    public async Task Key_LeavesTheSet_WhatIsTypedThenIsNotTyped()
    {
        var (serving, seal) = await OpenAsync();
        using var bob = P256.Generate();
        _approvers = Set(2, bob);
        await _coordinator.SayAsync(Seal(seal, ConsoleFrame.Data("x"u8.ToArray())));
        Assert.Equal(ConsoleEnd.Refused, Frame(seal, await _coordinator.NextAsync()).Ending.Why);
        _coordinator.HangUp();
        await serving.WaitAsync(s_patience, Ct);
        Assert.False(_consoles.Guests[0].Heard(out _));
        seal.Dispose();
    }

    [Fact]
    public async Task Calls_BeyondTheBound_OpenNoStream()
    {
        using var stop = new CancellationTokenSource();
        var all = Enumerable.Range(0, RemoteConsole.MaxSessions + 3).Select(i => _remote.ServeAsync(new() { Session = "s" + i, ResourceUid = "uid-hello" }, stop.Token)).ToList();
        for (var i = 0; i < RemoteConsole.MaxSessions * 2; i++) await _coordinator.NextAsync();
        Assert.Equal(RemoteConsole.MaxSessions, _coordinator.Calls);
        await stop.CancelAsync();
        await Task.WhenAll(all).WaitAsync(s_patience, Ct);
        Assert.Equal(0, _remote.Sessions);
    }

    private async Task<(Task Serving, ConsoleSeal Seal)> OpenAsync()
    {
        var serving = _remote.ServeAsync(new() { Session = "s1", ResourceUid = "uid-hello" }, Ct);
        var opening = Sign(await OfferAsync(), _alice);
        await _coordinator.SayAsync(new() { Opening = ToWire(opening) });
        var wire = (await _coordinator.NextAsync()).Answer;
        var seal = _session.ForOperator(opening, new Runtime.Trust.ConsoleAnswer { SessionKey = wire.SessionKey.ToByteArray(), ResourceKey = wire.ResourceKey, Signature = wire.Signature.ToByteArray() });
        await _coordinator.SayAsync(Seal(seal, ConsoleFrame.Begin(0)));
        Assert.Equal(ConsoleFrameKind.Opened, Frame(seal, await _coordinator.NextAsync()).Kind);
        return (serving, seal);
    }

    private Task<ConsoleOffer> OfferAsync() => OfferAsync(_coordinator);

    private static async Task<ConsoleOffer> OfferAsync(FakeConsoleCoordinator coordinator)
    {
        Assert.Equal("s1", (await coordinator.NextAsync()).Session);
        var offer = (await coordinator.NextAsync()).Offer;
        Assert.Equal("Instance default/hello", offer.ResourceKey);
        return offer;
    }

    private Runtime.Trust.ConsoleOpening Sign(ConsoleOffer offer, ECDsa key, int seconds = 30) =>
        Runtime.Trust.ConsoleOpening.Sign(key, new(offer.NodeUid, offer.ResourceUid, offer.Nonce), _session.Spki, force: false, s_now.AddSeconds(seconds));

    private static Proto.V1.ConsoleOpening ToWire(Runtime.Trust.ConsoleOpening o) => new()
    {
        NodeUid = o.NodeUid,
        ResourceUid = o.ResourceUid,
        SessionKey = ByteString.CopyFrom(o.SessionKey),
        Nonce = o.Nonce,
        ExpiresUnixMs = o.ExpiresUnixMs,
        Force = o.Force,
        KeyId = o.KeyId,
        Signature = ByteString.CopyFrom(o.Signature),
    };

    private static ConsoleMessage Seal(ConsoleSeal seal, ConsoleFrame frame) => new() { Sealed = ByteString.CopyFrom(seal.Seal(frame.Encode())) };

    private static ConsoleFrame Frame(ConsoleSeal seal, ConsoleMessage message) => ConsoleFrame.Decode(seal.Open(message.Sealed.Span).Value)!;

    private static string Text(ConsoleSeal seal, ConsoleMessage message) => Encoding.UTF8.GetString(Frame(seal, message).Payload.Span);

    private static ApproverSet Set(long version, ECDsa key) => new()
    {
        Version = version,
        NotAfterUnixMs = s_now.AddDays(1).ToUnixTimeMilliseconds(),
        Threshold = 1,
        Keys = [new ApproverKey { Name = version == 1 ? "alice" : "bob", Spki = key.ExportSubjectPublicKeyInfo() }],
    };

    /// <summary>The same host, called a second time.</summary>
    private sealed class Replay : IDisposable
    {
        private readonly FakeConsoleCoordinator _coordinator;
        private readonly CancellationTokenSource _stop = new();

        public Replay(RemoteConsoleTests test, FakeConsoleCoordinator coordinator)
        {
            _coordinator = coordinator;
            var trust = new ConsoleTrust { NodeUid = new string('0', 32), NodeKey = () => test._node, NodeCertificate = () => [1, 2, 3], Approvers = () => test._approvers, Now = () => s_now };
            var desk = new ConsoleDesk([test._consoles], (_, _, _) => default, TimeProvider.System, NullLogger<ConsoleDesk>.Instance);
            var remote = new RemoteConsole(desk, trust, () => [FakeConsoles.Input()], () => GrpcChannel.ForAddress("http://coordinator.test", new() { HttpHandler = coordinator }), TimeProvider.System, NullLogger<RemoteConsole>.Instance);
            _ = remote.ServeAsync(new() { Session = "s1", ResourceUid = "uid-hello" }, _stop.Token);
        }

        public Task<ConsoleOffer> OfferAsync() => RemoteConsoleTests.OfferAsync(_coordinator);

        public void Dispose()
        {
            _stop.Cancel();
            _stop.Dispose();
        }
    }
}
