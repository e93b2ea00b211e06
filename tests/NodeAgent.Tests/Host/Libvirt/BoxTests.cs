using AgentMetal.NodeAgent.Host.Libvirt;
using CsCheck;

namespace AgentMetal.NodeAgent.Tests.Host.Libvirt;

/// <summary>What lies between libvirt's threads and ours: signals and a console's bytes.</summary>
public sealed class BoxTests
{
    private static CancellationToken Ct => TestContext.Current.CancellationToken;

    [Fact]
    public async Task Box_SameEventOfADomainAgain_KeepsTheLatestAtTheEnd()
    {
        var box = new DomainBox();
        foreach (var (uuid, name, detail) in (ReadOnlySpan<(string, string, string)>)[("a", "started", "booted"), ("a", "stopped", "destroyed"), ("b", "started", "booted"), ("a", "started", "restored")])
            box.Put(new DomainSignal(DomainSignalKind.Domain, uuid, "", name, detail));
        var taken = (await box.TakeAsync(Ct))!;
        Assert.Equal(["a stopped destroyed", "b started booted", "a started restored"], taken.Select(one => $"{one.Uuid} {one.Event} {one.Detail}"));
        Assert.Equal(0, box.Count);
    }

    [Fact]
    public async Task Box_UnseenAgain_IsToldOnceUntilAResync()
    {
        var box = new DomainBox();
        box.PutUnseen("first");
        Assert.Equal("first", Assert.Single((await box.TakeAsync(Ct))!).Detail);
        box.PutUnseen("again");
        Assert.Equal(0, box.Count);
        box.PutResync();
        box.PutUnseen("anew");
        Assert.Equal("anew", Assert.Single((await box.TakeAsync(Ct))!).Detail);
    }

    [Fact]
    public async Task Box_ResyncOrUnseen_TakesThePlaceOfAllThatWaits()
    {
        var box = new DomainBox();
        box.Put(new DomainSignal(DomainSignalKind.Domain, "a", "", "started", ""));
        box.PutUnseen("away");
        Assert.Equal(DomainSignalKind.Unseen, Assert.Single((await box.TakeAsync(Ct))!).Kind);
        box.Put(new DomainSignal(DomainSignalKind.Domain, "a", "", "started", ""));
        box.PutResync();
        box.Put(new DomainSignal(DomainSignalKind.Domain, "b", "", "started", ""));
        Assert.Equal(DomainSignalKind.Resync, Assert.Single((await box.TakeAsync(Ct))!).Kind);
    }

    [Fact]
    public void Box_AnySignals_NeverHoldsMoreThanItsCapacity() =>
        Gen.Int[0, 2000].Array[0, 1500].Sample(
            numbers =>
            {
                var box = new DomainBox();
                foreach (var number in numbers)
                    box.Put(new DomainSignal(DomainSignalKind.Domain, $"{number}", "", "started", ""));
                return box.Count <= DomainBox.Capacity && box.Count == (numbers.Distinct().Count() > DomainBox.Capacity ? 1 : numbers.Distinct().Count());
            },
            iter: 200);

    [Fact]
    public void Ring_AnyAddsAndTakes_GivesTheNewestBytesInOrder() =>
        Gen.Select(Gen.Byte.Array[0, 20], Gen.Int[0, 20]).Array[1, 30].Sample(
            steps =>
            {
                var ring = new ByteRing(16);
                var model = new List<byte>();
                var buffer = new byte[20];
                foreach (var (bytes, take) in steps)
                {
                    ring.AddNewest(bytes);
                    model.AddRange(bytes);
                    model.RemoveRange(0, Math.Max(0, model.Count - 16));
                    var count = ring.Take(buffer.AsSpan(0, take));
                    if (count != Math.Min(take, model.Count) || !buffer.AsSpan(0, count).SequenceEqual(model.Take(count).ToArray()))
                        return false;
                    model.RemoveRange(0, count);
                    if (ring.Count != model.Count)
                        return false;
                }

                return true;
            },
            iter: 2000);

    [Theory]
    [InlineData(42, 10, DomainResult.NotFound)]
    [InlineData(43, 19, DomainResult.NotFound)]
    [InlineData(72, 10, DomainResult.NotFound)]
    [InlineData(99, 10, DomainResult.NotFound)]
    [InlineData(1, 10, DomainResult.Refused)]
    [InlineData(1, 7, DomainResult.Unreachable)]
    [InlineData(38, 7, DomainResult.Unreachable)]
    [InlineData(38, 10, DomainResult.Refused)]
    [InlineData(39, 0, DomainResult.Unreachable)]
    [InlineData(45, 0, DomainResult.Unreachable)]
    [InlineData(55, 10, DomainResult.Refused)]
    public void Error_OfTheWayToTheDaemon_IsNeverItsAnswer(int code, int domain, object expected) =>
        Assert.Equal(expected, LibvirtException.ResultOf(code, domain));
}
