using AgentMetal.Runtime.Store;
using Xunit;

namespace AgentMetal.Coordinator.Tests.Store;

public abstract partial class StoreConformance
{
    private static readonly TimeSpan Ttl = TimeSpan.FromSeconds(10);

    [Fact]
    public async Task Lease_HeldByAnother_SaysByWhomAndUntilWhen()
    {
        var store = Open();
        var proof = await Acquire(store, "c1");
        Assert.Equal(new LeaseResult.HeldBy("c1", proof.Token, Time.GetUtcNow() + Ttl), await store.AcquireLeaseAsync("leader", "c2", Ttl, Stop));
    }

    [Fact]
    public async Task Lease_Expired_PassesOnWithAHigherTokenAndFencesTheOldLeader()
    {
        var store = Open();
        var old = await Acquire(store, "c1");
        Time.Advance(Ttl - TimeSpan.FromMilliseconds(1));
        Assert.IsType<LeaseResult.HeldBy>(await store.AcquireLeaseAsync("leader", "c2", Ttl, Stop));
        Time.Advance(TimeSpan.FromMilliseconds(1));
        var now = await Acquire(store, "c2");
        Assert.True(now.Token > old.Token);
        Assert.Equal(new StoreResult.Fenced("leader", old.Token, now.Token, "c2"), await store.TxnAsync(StoreTxn.Put("a", Bytes("old"), 0, old), Stop));
        await Commit(store, StoreTxn.Put("a", Bytes("new"), 0, now));
        Assert.Equal(new LeaseResult.Lost(now.Token, "c2"), await store.RenewLeaseAsync(old, Ttl, Stop));
    }

    [Fact]
    public async Task Lease_ExpiredThoughNobodyTookIt_FencesItsLeader()
    {
        var store = Open();
        var proof = await Acquire(store, "c1");
        Time.Advance(Ttl);
        Assert.Equal(new StoreResult.Fenced("leader", proof.Token, proof.Token, null), await store.TxnAsync(StoreTxn.Put("a", Bytes("1"), 0, proof), Stop));
        Assert.Equal(new LeaseResult.Lost(proof.Token, null), await store.RenewLeaseAsync(proof, Ttl, Stop));
    }

    [Fact]
    public async Task Lease_Renewed_KeepsItsTokenAndLastsLonger()
    {
        var store = Open();
        var proof = await Acquire(store, "c1");
        Time.Advance(Ttl / 2);
        var renewed = Assert.IsType<LeaseResult.Granted>(await store.RenewLeaseAsync(proof, Ttl, Stop)).Proof;
        Assert.Equal((proof.Token, Time.GetUtcNow() + Ttl), (renewed.Token, renewed.Until));
        Time.Advance(Ttl / 2 + TimeSpan.FromSeconds(1));
        await Commit(store, StoreTxn.Put("a", Bytes("1"), 0, proof));
    }

    [Fact]
    public async Task Lease_SameHolderAsksAnew_FencesItsOwnGhost()
    {
        var store = Open();
        var ghost = await Acquire(store, "c1");
        var now = await Acquire(store, "c1");
        Assert.IsType<StoreResult.Fenced>(await store.TxnAsync(StoreTxn.Put("a", Bytes("1"), 0, ghost), Stop));
        await Commit(store, StoreTxn.Put("a", Bytes("2"), 0, now));
    }

    [Fact]
    public async Task Lease_Released_IsFreeAtOnceAndItsTokenIsNeverGivenAgain()
    {
        var store = Open();
        var old = await Acquire(store, "c1");
        await store.ReleaseLeaseAsync(old, Stop);
        Assert.IsType<StoreResult.Fenced>(await store.TxnAsync(StoreTxn.Put("a", Bytes("1"), 0, old), Stop));
        var now = await Acquire(store, "c2");
        Assert.True(now.Token > old.Token);
        await store.ReleaseLeaseAsync(old, Stop);
        await Commit(store, StoreTxn.Put("a", Bytes("1"), 0, now));
    }

    [Fact]
    public async Task Lease_TokenWithAnotherName_IsFenced()
    {
        var store = Open();
        var proof = await Acquire(store, "c1");
        Assert.IsType<StoreResult.Fenced>(await store.TxnAsync(StoreTxn.Put("a", Bytes("1"), 0, proof with { Holder = "c2" }), Stop));
        Assert.IsType<StoreResult.Fenced>(await store.TxnAsync(StoreTxn.Put("a", Bytes("1"), 0, proof with { Lease = "other" }), Stop));
        Assert.Empty((await store.ListAsync("", Stop)).Entries);
    }

    [Fact]
    public async Task Lease_BadTimeToLive_IsRefused()
    {
        var store = Open();
        Assert.Equal("timeToLive", Assert.IsType<LeaseResult.Refused>(await store.AcquireLeaseAsync("leader", "c1", TimeSpan.FromMilliseconds(10), Stop)).Field);
        Assert.Equal("holder", Assert.IsType<LeaseResult.Refused>(await store.AcquireLeaseAsync("leader", "", Ttl, Stop)).Field);
    }

    private static async Task<LeaderProof> Acquire(IStore store, string holder) =>
        Assert.IsType<LeaseResult.Granted>(await store.AcquireLeaseAsync("leader", holder, Ttl, Stop)).Proof;
}
