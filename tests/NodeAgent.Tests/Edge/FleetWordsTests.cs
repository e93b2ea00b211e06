using System.Collections.Immutable;
using System.Security.Cryptography;
using AgentMetal.NodeAgent.Edge;
using AgentMetal.NodeAgent.Pipeline;
using AgentMetal.NodeAgent.Tests.Pipeline;
using AgentMetal.Runtime.Trust;
using Microsoft.Extensions.Logging.Abstractions;
using Xunit;

namespace AgentMetal.NodeAgent.Tests.Edge;

/// <summary>A host believes that another one is gone when operators signed it for that member, and never otherwise.</summary>
public sealed class FleetWordsTests : IAsyncDisposable
{
    private static readonly DateTimeOffset Now = new(2030, 1, 1, 0, 0, 0, TimeSpan.Zero);
    private static readonly string Gone = new('a', NodeUid.Length);
    private readonly DirectoryInfo _folder = Directory.CreateTempSubdirectory("agentmetal-words-");
    private readonly ECDsa _alice = P256.Generate(), _bob = P256.Generate();
    private LocalStore _store;
    private FleetWords _words;
    private int _threshold = 1;

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

    private (LocalStore, FleetWords) Open()
    {
        var store = Assert.IsType<LocalOpening.Opened>(LocalStore.Open(Path.Combine(_folder.FullName, "local.db"), "n0")).Store;
        return (store, new(store, "n0", () => new()
        {
            Version = 1,
            NotAfterUnixMs = Now.AddYears(1).ToUnixTimeMilliseconds(),
            Threshold = _threshold,
            Keys = [new() { Name = "alice", Spki = _alice.ExportSubjectPublicKeyInfo() }, new() { Name = "bob", Spki = _bob.ExportSubjectPublicKeyInfo() }],
        }, () => Now, NullLogger<FleetWords>.Instance));
    }

    private ImmutableArray<bool> Peers(string resource = "uid-1") => [.. _words.Mark(Member() with { ResourceUid = resource }).Peers.Select(p => p.StruckOff)];

    private static MemberInput Member() => ControllerKit.Input() with { ResourceUid = "uid-1", Peers = [new(0, Gone, "edge-9", "10.0.0.9", 6379), new(1, "n0", "edge-0", "10.0.0.1", 6379)] };

    private static SignedStatement Sign(ECDsa key, params string[] members) => SignedStatement.Sign(key, new()
    {
        Purpose = StatementPurpose.StrikeOff,
        Fields = new StrikeOff(Gone, "edge-9", [.. members]).Fields,
        Nonce = Convert.ToHexStringLower(RandomNumberGenerator.GetBytes(16)),
        IssuedUnixMs = Now.ToUnixTimeMilliseconds(),
        ExpiresUnixMs = 0,
        Reason = "burnt",
        KeyId = "",
        Signature = [],
    });
}
