using System.Collections.Immutable;
using System.Security.Cryptography;
using AgentMetal.NodeAgent.Edge;
using AgentMetal.NodeAgent.Pipeline;
using AgentMetal.NodeAgent.Tests.Pipeline;
using AgentMetal.Runtime.Trust;
using AgentMetal.WireMaps;
using Google.Protobuf;
using Microsoft.Extensions.Logging.Abstractions;
using Xunit;

namespace AgentMetal.NodeAgent.Tests.Edge;

/// <summary>A host believes that another one is gone when operators signed it for that member, and never otherwise.</summary>
public sealed class FleetWordsTests : IAsyncDisposable
{
    private static readonly DateTimeOffset Now = new(2030, 1, 1, 0, 0, 0, TimeSpan.Zero);
    private static readonly string Gone = new('a', NodeUid.Length), Own = new('b', NodeUid.Length);
    private readonly DirectoryInfo _folder = Directory.CreateTempSubdirectory("agentmetal-words-");
    private readonly ECDsa _alice = P256.Generate(), _bob = P256.Generate();
    private LocalStore _store;
    private FleetWords _words;
    private int _threshold = 1, _stops;

    public FleetWordsTests() => (_store, _words) = Open();

    private static CancellationToken Stop => TestContext.Current.CancellationToken;

    public async ValueTask DisposeAsync()
    {
        await _store.DisposeAsync();
        _alice.Dispose();
        _bob.Dispose();
        _folder.Delete(recursive: true);
    }

    [Fact]
    public async Task StrikeOff_SignedForAMember_MarksThatPeerAndNoOtherAndIsKnownAfterARestart()
    {
        Assert.Equal([false, false], Peers());
        await _words.TakeAsync(Sign(_alice, "uid-1/0"), Stop);
        Assert.Equal([true, false], Peers());
        Assert.Equal([false, false], Peers(resource: "uid-2"));
        // The member is made anew elsewhere: its new host is not gone, and that the old one is stays known.
        var moved = _words.Mark(Member() with { Peers = [Member().Peers[0] with { NodeUid = "n3" }, Member().Peers[1]] });
        Assert.False(moved.Peers[0].StruckOff);
        Assert.Equal([new StruckPeer(0, Gone, "edge-9")], moved.StruckOff);
        await _store.DisposeAsync();
        (_store, _words) = Open();
        await _words.LoadAsync(Stop);
        Assert.Equal([true, false], Peers());
        Assert.Contains(await _store.AuditAfterAsync(0, 10, Stop), r => r.Kind == "NodeStruckOff");
    }

    [Fact]
    public async Task StrikeOff_ByAStrangerOrForgedOrByTooFew_IsNotBelieved()
    {
        using var stranger = P256.Generate();
        await _words.TakeAsync(Sign(stranger, "uid-1/0"), Stop);
        await _words.TakeAsync(Sign(_alice, "uid-2/0") with { Fields = new StrikeOff(Gone, "edge-9", ["uid-1/0"]).Fields }, Stop);
        _threshold = 2;
        await _words.TakeAsync(Sign(_alice, "uid-1/0"), Stop);
        await _words.TakeAsync(Sign(_alice, "uid-1/0"), Stop);
        Assert.Equal([false, false], Peers());
        await _words.TakeAsync(Sign(_bob, "uid-1/0"), Stop);
        Assert.Equal([true, false], Peers());
    }

    /// <summary>A coordinator that refuses this host can make it believe nothing but what operators signed about it.</summary>
    [Fact]
    public async Task OwnStrikeOff_SignedForThisHost_IsBelieved_StopsWhatLosesNothing_AndLeavesTheRest()
    {
        await using var kit = new ControllerKit();
        kit.Runner.Stop = new(true, "stop it", "", _ => { _stops++; return ValueTask.CompletedTask; });
        await kit.BeginAsync();
        var own = new OwnStrikeOff(kit.Controller, _words, kit.Clock, NullLogger<OwnStrikeOff>.Instance);
        await own.HoldAsync(Stop);
        Assert.Null(kit.Controller.StruckOff);
        var (mine, forged, other) = (Sign(_alice, Own, "uid-1/0"), Sign(_bob, Own, "uid-1/0") with { Reason = "changed" }, Sign(_alice, Gone, "uid-1/0"));
        var said = OwnStrikeOff.Read(Farewell(other, forged, mine), Own);
        Assert.Equal(2, said!.Statements.Count);
        Assert.Null(OwnStrikeOff.Read([], Own));
        Assert.Null(OwnStrikeOff.Read([new(StrikeOff.Trailer, [1, 2, 3])], Own));
        await _words.TakeAsync(TrustWire.Read(said.Statements[0]), Stop);
        Assert.Null(_words.Own);
        await _words.TakeAsync(TrustWire.Read(said.Statements[1]), Stop);
        Assert.Contains("struck off by alice (burnt)", _words.Own, StringComparison.Ordinal);
        var passes = kit.Runner.Passes;
        await own.HoldAsync(Stop);
        await ControllerKit.UntilAsync(() => kit.View.Phase == "Paused", "it is looked at");
        Assert.Equal((1, passes), (_stops, kit.Runner.Passes));
        Assert.Contains("its data stays", kit.View.Blocker, StringComparison.Ordinal);
        var hands = new LocalHands(kit.Controller, kit.Clock, (_, _, _) => ValueTask.CompletedTask, Stop);
        Assert.Contains("struck off by alice", (await hands.TakeAsync([kit.View.Input], new("resume", "toy/a"), new(1, 0, "root (uid 0)"), Stop))!.Error, StringComparison.Ordinal);

        // After a restart of the daemon it is known without anybody's word, and what would lose data is not stopped.
        await _store.DisposeAsync();
        (_store, _words) = Open();
        await _words.LoadAsync(Stop);
        await using var next = new ControllerKit();
        next.Runner.Stop = new(true, "stop it", "its keys are in memory only", _ => { _stops++; return ValueTask.CompletedTask; });
        await next.BeginAsync();
        await new OwnStrikeOff(next.Controller, _words, next.Clock, NullLogger<OwnStrikeOff>.Instance).HoldAsync(Stop);
        Assert.Equal(1, _stops);
        Assert.Contains(next.View.Events, e => e.Reason == "StillRuns" && e.Message.Contains("its keys are in memory only", StringComparison.Ordinal));
    }

    private static Grpc.Core.Metadata Farewell(params SignedStatement[] statements)
    {
        var message = new AgentMetal.Proto.V1.CoordinatorMessage();
        message.Statements.AddRange(statements.Select(TrustWire.Write));
        return [new(StrikeOff.Trailer, message.ToByteArray())];
    }

    private (LocalStore, FleetWords) Open()
    {
        var store = Assert.IsType<LocalOpening.Opened>(LocalStore.Open(Path.Combine(_folder.FullName, "local.db"), Own)).Store;
        return (store, new(store, Own, () => new()
        {
            Version = 1,
            NotAfterUnixMs = Now.AddYears(1).ToUnixTimeMilliseconds(),
            Threshold = _threshold,
            Keys = [new() { Name = "alice", Spki = _alice.ExportSubjectPublicKeyInfo() }, new() { Name = "bob", Spki = _bob.ExportSubjectPublicKeyInfo() }],
        }, () => Now, NullLogger<FleetWords>.Instance));
    }

    private ImmutableArray<bool> Peers(string resource = "uid-1") => [.. _words.Mark(Member() with { ResourceUid = resource }).Peers.Select(p => p.StruckOff)];

    private static MemberInput Member() => ControllerKit.Input() with { ResourceUid = "uid-1", Peers = [new(0, Gone, "edge-9", "10.0.0.9", 6379), new(1, "n0", "edge-0", "10.0.0.1", 6379)] };

    private static SignedStatement Sign(ECDsa key, params string[] members) =>
        members[0].Length == NodeUid.Length ? Sign(key, members[0], "edge-9", members[1..]) : Sign(key, Gone, "edge-9", members);

    private static SignedStatement Sign(ECDsa key, string node, string name, string[] members) => SignedStatement.Sign(key, new()
    {
        Purpose = StatementPurpose.StrikeOff,
        Fields = new StrikeOff(node, name, [.. members]).Fields,
        Nonce = Convert.ToHexStringLower(RandomNumberGenerator.GetBytes(16)),
        IssuedUnixMs = Now.ToUnixTimeMilliseconds(),
        ExpiresUnixMs = 0,
        Reason = "burnt",
        KeyId = "",
        Signature = [],
    });
}
