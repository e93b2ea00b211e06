using System.Security.Cryptography;
using AgentMetal.NodeAgent.Edge;
using AgentMetal.NodeAgent.Pipeline;
using AgentMetal.NodeAgent.Tests.Pipeline;
using AgentMetal.Runtime.Trust;
using Microsoft.Extensions.Logging.Abstractions;
using Xunit;
using V1 = AgentMetal.Proto.V1;

namespace AgentMetal.NodeAgent.Tests.Edge;

/// <summary>What this host has seen of a store it does not go back from, until operators sign; over restarts, and per member also where the store goes on.</summary>
public sealed class StoreGuardTests : IAsyncDisposable
{
    private static readonly DateTimeOffset Now = new(2030, 1, 1, 0, 0, 0, TimeSpan.Zero);
    private readonly DirectoryInfo _folder = Directory.CreateTempSubdirectory("agentmetal-guard-");
    private readonly ECDsa _alice = P256.Generate();
    private readonly string _self = new('b', NodeUid.Length);
    private LocalStore _store = null!;
    private StoreGuard _guard = null!;
    private FleetWords _words = null!;

    private static CancellationToken Stop => TestContext.Current.CancellationToken;

    public async ValueTask DisposeAsync()
    {
        await _store.DisposeAsync();
        _alice.Dispose();
        _folder.Delete(recursive: true);
    }

    [Fact]
    public async Task OlderCopy_IsRefusedAlsoAfterARestartAndWhenWrittenOn_UntilSigned()
    {
        await OpenAsync();
        await FollowAsync(Welcome("s", 300, ("e1", 1, 0)), Told(generation: 2), Told("uid-3", generation: 2));
        // One that was deleted since the copy was made.
        await _store.SaveAsync([], [Told("uid-3").Key], new("s", 300), _guard.At(300), Stop);
        await _store.DisposeAsync();
        await OpenAsync();
        await _guard.WelcomeAsync(Welcome("s", 79, ("e1", 1, 80), ("x", 80, 0)), Stop);
        Assert.Contains("revision 79", _guard.Refused, StringComparison.Ordinal);
        Assert.Contains("300", _guard.Refused, StringComparison.Ordinal);
        await _guard.WelcomeAsync(Welcome("s", 900, ("e1", 1, 80), ("x", 80, 0)), Stop);
        Assert.Contains("written on", _guard.Refused, StringComparison.Ordinal);
        // What is said there of members is compared, not taken.
        _guard.Hear(new() { Full = true, Revision = 900, Assignments = { Told(generation: 1), Told("uid-3"), Told("uid-9") } });
        var standing = await _guard.StandingAsync([View(generation: 2)], Stop);
        Assert.Equal(["older uid-1 1", "returns uid-3 1", "returns uid-9 1"], standing.Members.Select(m => $"{m.Stand} {m.Assignment.ResourceUid} {m.ToldGeneration}").Order());

        // A stranger's signature, one for another host and one for another history change nothing.
        using var stranger = P256.Generate();
        await _words.TakeAsync(Accept(stranger, "s", "x", 80, _self), Stop);
        await _words.TakeAsync(Accept(_alice, "s", "x", 80, "n9"), Stop);
        await _words.TakeAsync(Accept(_alice, "s", "y", 80, _self), Stop);
        Assert.False(_guard.Accepted);
        var signed = Accept(_alice, "s", "x", 80, _self);
        await _words.TakeAsync(signed, Stop);
        Assert.True(_guard.Accepted);
        await _store.DisposeAsync();
        await OpenAsync();
        await _guard.WelcomeAsync(Welcome("s", 901, ("e1", 1, 80), ("x", 80, 0)), Stop);
        Assert.Equal("", _guard.Refused);
        Assert.True(_guard.Take(Told(generation: 1)).Takes);

        // It served once: the same store, put back once more, is not taken by it.
        await _guard.WelcomeAsync(Welcome("s", 100, ("e1", 1, 80), ("x", 80, 90), ("z", 90, 0)), Stop);
        Assert.NotEqual("", _guard.Refused);
        await _words.TakeAsync(signed, Stop);
        Assert.False(_guard.Accepted);
    }

    [Fact]
    public async Task SignatureThatWasNotNeeded_ServesNoLaterCopy()
    {
        await OpenAsync();
        await FollowAsync(Welcome("s", 300, ("e1", 1, 0)), Told());
        var signed = Accept(_alice, "s", "e1", 1, _self);
        await _words.TakeAsync(signed, Stop);
        await _guard.WelcomeAsync(Welcome("s", 200, ("e1", 1, 201), ("x", 201, 0)), Stop);
        Assert.NotEqual("", _guard.Refused);
        await _words.TakeAsync(signed, Stop);
        Assert.False(_guard.Accepted);
    }

    [Fact]
    public async Task AnotherStore_IsRefused_AndAHostOfBeforeTakesTheFirstThatItHears()
    {
        await OpenAsync();
        // As a daemon of before left it: a cursor, and no mark.
        await _store.SetMetaAsync("store_id", "s", Stop);
        await _store.SetMetaAsync("revision", "50", Stop);
        await OpenAsync(again: true);
        Assert.Equal(new("s", "", 0, 50), _guard.Mark);
        await _guard.WelcomeAsync(Welcome("s", 60, ("e1", 60, 0)), Stop);
        Assert.Equal("", _guard.Refused);
        Assert.Equal("e1", _guard.Mark.Epoch);
        await _guard.WelcomeAsync(Welcome("t", 70, ("e1", 60, 0)), Stop);
        Assert.Contains("another store", _guard.Refused, StringComparison.Ordinal);
    }

    [Fact]
    public async Task OlderGenerationOrWhatWasHandedOver_IsRefusedForThatMemberOnly_AlsoOnceTheMemberIsGone()
    {
        await OpenAsync();
        await FollowAsync(Welcome("s", 300, ("e1", 1, 0)), Told(generation: 3), Told("uid-2"));
        Assert.Equal((false, true), _guard.Take(Told(generation: 2)));
        Assert.Equal((false, false), _guard.Take(Told(generation: 2)));
        Assert.True(_guard.Take(Told(generation: 3)).Takes);
        Assert.True(_guard.Take(Told("uid-2")).Takes);

        var other = new string('c', NodeUid.Length);
        var moved = View("uid-2") with { Move = new(other, "") };
        await _guard.SaveHandedAsync(moved.Input.Key, _guard.Handed(moved)!, Stop);
        await _store.SaveAsync([], [moved.Input.Key], new("s", 301), _guard.At(301), Stop);
        await OpenAsync(again: true);
        Assert.False(_guard.Take(Told("uid-2", generation: 9)).Takes);
        Assert.Equal("handed-over", _guard.RefusedOf(Told("uid-2").Key)!.Stand);
        // It may come back from there, or be made here when that host is gone for good.
        Assert.True(_guard.Take(With(Told("uid-2", generation: 9), a => a.MoveFrom = new() { NodeUid = other })).Takes);
        Assert.True(_guard.Take(With(Told("uid-2", generation: 9), a => a.Absent = true)).Takes);
        _guard.IsStruckOff = uid => uid == other;
        Assert.True(_guard.Take(Told("uid-2", generation: 9)).Takes);
    }

    [Fact]
    public async Task Orphans_HaveANameAndATimeAndAreToldOnce()
    {
        await OpenAsync();
        await FollowAsync(Welcome("s", 300, ("e1", 1, 0)), Told());
        Assert.Single(await _guard.OrphanAsync([View()], [], full: true, Stop));
        Assert.Empty(await _guard.OrphanAsync([View()], [], full: true, Stop));
        await OpenAsync(again: true);
        Assert.Empty(await _guard.OrphanAsync([View()], [], full: true, Stop));
        var member = Assert.Single((await _guard.StandingAsync([View()], Stop)).Members);
        Assert.Equal(("orphan", "fw", "{}"), (member.Stand, member.Assignment.Name, member.Assignment.Spec.ToStringUtf8()));
        Assert.True(member.SinceUnixMs > 0);
        await _guard.OrphanAsync([], [View().Input.Key], full: false, Stop);
        Assert.Empty((await _guard.StandingAsync([View()], Stop)).Members);
    }

    private async Task OpenAsync(bool again = false)
    {
        if (again) await _store.DisposeAsync();
        _store = Assert.IsType<LocalOpening.Opened>(LocalStore.Open(Path.Combine(_folder.FullName, "local.db"), "n0")).Store;
        _guard = new(_store, TimeProvider.System);
        await _guard.LoadAsync(Stop);
        var set = new ApproverSet { Version = 1, NotAfterUnixMs = Now.AddYears(1).ToUnixTimeMilliseconds(), Threshold = 1, Keys = [new() { Name = "alice", Spki = _alice.ExportSubjectPublicKeyInfo() }] };
        _words = new(_store, _self, () => set, () => Now, NullLogger<FleetWords>.Instance) { Guard = _guard };
    }

    private async Task FollowAsync(V1.Welcome welcome, params V1.Assignment[] told)
    {
        await _guard.WelcomeAsync(welcome, Stop);
        Assert.Equal("", _guard.Refused);
        await _store.SaveAsync(told, [], new(welcome.StoreId, welcome.Head), _guard.At(welcome.Head), Stop);
        _guard.Saved(told, _guard.At(welcome.Head));
    }

    private static V1.Welcome Welcome(string id, long head, params (string Id, long From, long Until)[] epochs)
    {
        var welcome = new V1.Welcome { StoreId = id, Head = head };
        welcome.Epochs.AddRange(epochs.Select((e, i) => new V1.StoreEpoch { Id = e.Id, Token = i + 1, From = e.From, Until = e.Until }));
        return welcome;
    }

    private static V1.Assignment Told(string uid = "uid-1", long generation = 1) => new()
    {
        Key = $"n0/Toy/{uid}/0",
        Kind = "Toy",
        Project = "default",
        Name = "fw",
        ResourceUid = uid,
        Generation = generation,
        Spec = Google.Protobuf.ByteString.CopyFromUtf8("{}"),
    };

    private static V1.Assignment With(V1.Assignment a, Action<V1.Assignment> change)
    {
        change(a);
        return a;
    }

    private static MemberView View(string uid = "uid-1", long generation = 1) => new() { Input = ControllerKit.Input($"n0/Toy/{uid}/0", generation) with { ResourceUid = uid }, Phase = "Converged" };

    private static SignedStatement Accept(ECDsa key, string store, string epoch, long from, params string[] nodes) => SignedStatement.Sign(key, new()
    {
        Purpose = StatementPurpose.AcceptStore,
        Fields = new StoreAcceptance(store, epoch, from, [.. nodes]).Fields,
        Nonce = Convert.ToHexStringLower(RandomNumberGenerator.GetBytes(16)),
        IssuedUnixMs = Now.ToUnixTimeMilliseconds(),
        ExpiresUnixMs = Now.AddDays(7).ToUnixTimeMilliseconds(),
        Reason = "",
        KeyId = "",
        Signature = [],
    });
}
