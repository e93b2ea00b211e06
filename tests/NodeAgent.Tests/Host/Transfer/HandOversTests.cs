using System.Collections.Immutable;
using System.Security.Cryptography;
using AgentMetal.NodeAgent.Host.Transfer;
using AgentMetal.Runtime.Planning;

namespace AgentMetal.NodeAgent.Tests.Host.Transfer;

/// <summary>Two hosts hand a machine over through real files, certificates and connections; what must not happen is tried.</summary>
public sealed class HandOversTests
{
    private const string M = TransferRig.Machine;

    [Fact]
    public async Task HandOver_OfAMachine_ArrivesWholeAndIsReleasedOnce()
    {
        await using var rig = new TransferRig();
        var (disk, sparse) = (Random(5_000_001), new byte[7 << 20]);
        sparse[3 << 20] = 1;
        rig.Source.Put("root.qcow2", disk);
        rig.Source.Put("data.raw", sparse);
        rig.Source.Put("console.log", [1, 2, 3]);
        rig.Source.Put("reserved", [1]);
        rig.Source.Put("more.raw.partial", [1]);
        var (source, target) = (rig.Source.Start(), rig.Target.Start());
        source.Open(rig.Offered());
        target.Receive(rig.Taken());

        await HeldAsync(source, target);
        Assert.Equal(disk, File.ReadAllBytes(Path.Combine(rig.Target.Machines, "root.qcow2")));
        Assert.Equal(sparse, File.ReadAllBytes(Path.Combine(rig.Target.Machines, "data.raw")));
        Assert.Equal(["data.raw", "root.qcow2"], Directory.GetFiles(rig.Target.Machines).Select(Path.GetFileName).Order(StringComparer.Ordinal));
        Assert.Throws<WorldException>(() => target.Own(M)); // Its source has not let go.

        source.Release(M);
        await TransferRig.UntilAsync(() => target.Receipt(M)!.IsReleased, () => "not told: " + target.Receipt(M));
        Assert.Equal(OfferPhase.Released, source.Offer(M)!.Record.Phase);
        target.Own(M);
        await TransferRig.UntilAsync(() => source.Offer(M)!.Record.Phase == OfferPhase.Settled, () => "not settled: " + source.Offer(M));
        Assert.Throws<WorldException>(() => source.Withdraw(M, OfferPhase.Offered)); // Not taken back by who still thinks that it is only offered.
        source.Withdraw(M, OfferPhase.Settled);
        target.Close(M);
        Assert.Null(source.Offer(M));
        Assert.Null(target.Receipt(M));
        Assert.Empty(Directory.GetFileSystemEntries(Path.Combine(rig.Target.Root, "moves")));
    }

    /// <summary>Each daemon is started anew between any two words; what is on the disk is enough.</summary>
    [Fact]
    public async Task HandOver_OfDaemonsThatStartAnew_GoesOn()
    {
        await using var rig = new TransferRig();
        var disk = Random(3_000_000);
        rig.Source.Put("root.raw", disk);
        await using (var source = rig.Source.Start()) source.Open(rig.Offered());
        await using (var target = rig.Target.Start()) target.Receive(rig.Taken());
        var again = rig.Source.Start();
        await using (var target = rig.Target.Start()) await HeldAsync(again, target);
        again.Release(M);
        await again.DisposeAsync();
        again = rig.Source.Start();
        var owner = rig.Target.Start();
        Assert.Equal(OfferPhase.Released, again.Offer(M)!.Record.Phase);
        Assert.Equal(ReceiptPhase.Held, owner.Receipt(M)!.Record.Phase);
        await TransferRig.UntilAsync(() => owner.Receipt(M)!.IsReleased, () => "not told: " + owner.Receipt(M));
        owner.Own(M);
        await owner.DisposeAsync();
        owner = rig.Target.Start();
        Assert.Equal(ReceiptPhase.Owned, owner.Receipt(M)!.Record.Phase);
        await TransferRig.UntilAsync(() => again.Offer(M)!.Record.Phase == OfferPhase.Settled, () => "not settled: " + again.Offer(M));
        Assert.Equal(disk, File.ReadAllBytes(Path.Combine(rig.Target.Machines, "root.raw")));
    }

    [Fact]
    public async Task Fetch_OfAConnectionThatBreaks_GoesOnWhereItWas()
    {
        await using var rig = new TransferRig();
        var disk = Random(6 << 20);
        rig.Source.Put("root.raw", disk);
        var source = rig.Source.Start();
        source.Open(rig.Offered());
        long passed = 0;
        var meddler = new Meddler(rig.Target.Transport) { BreaksAfter = 4 << 20, Read = m => passed += m.Length };
        var target = rig.Target.Start(meddler);
        target.Receive(rig.Taken());
        await HeldAsync(source, target);
        Assert.Null(meddler.BreaksAfter);
        Assert.Equal(disk, File.ReadAllBytes(Path.Combine(rig.Target.Machines, "root.raw")));
        Assert.InRange(passed, disk.Length, disk.Length + (2 << 20)); // Not from the beginning.
    }

    [Fact]
    public async Task Fetch_OfAByteThatIsAnother_IsRefusedAndFetchedAgain()
    {
        await using var rig = new TransferRig();
        var disk = Random(2 << 20);
        rig.Source.Put("root.raw", disk);
        var source = rig.Source.Start();
        source.Open(rig.Offered());
        var flips = 1;
        var meddler = new Meddler(rig.Target.Transport) { Read = m => { if (m.Length > 4000 && flips-- > 0) m.Span[4000] ^= 1; } };
        var target = rig.Target.Start(meddler);
        var problem = "";
        target.Receive(rig.Taken());
        await TransferRig.UntilAsync(() => (problem = target.Receipt(M)!.Problem).Contains("SHA-256", StringComparison.Ordinal), () => "nothing was refused: " + target.Receipt(M));
        Assert.Contains("refused", problem, StringComparison.Ordinal);
        Assert.False(File.Exists(Path.Combine(rig.Target.Machines, "root.raw")));
        await HeldAsync(source, target);
        Assert.Equal(disk, File.ReadAllBytes(Path.Combine(rig.Target.Machines, "root.raw")));
    }

    [Fact]
    public async Task Release_OfFilesThatWereWrittenMeanwhile_IsRefusedAndTheyAreFetchedAnew()
    {
        await using var rig = new TransferRig();
        rig.Source.Put("root.raw", Random(1 << 20));
        var (source, target) = (rig.Source.Start(), rig.Target.Start());
        source.Open(rig.Offered());
        target.Receive(rig.Taken());
        await HeldAsync(source, target);
        var newer = Random(1 << 20);
        rig.Source.Put("root.raw", newer);
        Assert.Contains("was written", Assert.Throws<WorldException>(() => source.Release(M)).Message, StringComparison.Ordinal);
        Assert.Equal(OfferPhase.Offered, source.Offer(M)!.Record.Phase);
        Assert.False(source.Offer(M)!.IsHeld);
        await TransferRig.UntilAsync(() => source.Offer(M)!.IsHeld, () => $"{source.Offer(M)} {target.Receipt(M)}");
        Assert.Equal(newer, File.ReadAllBytes(Path.Combine(rig.Target.Machines, "root.raw")));
        source.Release(M);
    }

    [Fact]
    public async Task Offer_ToOneHost_IsNotThereForAnother()
    {
        await using var rig = new TransferRig();
        rig.Source.Put("root.raw", Random(1000));
        var source = rig.Source.Start();
        source.Open(rig.Offered(rig.Target));
        await TransferRig.UntilAsync(() => !source.Offer(M)!.IsReading, () => "not read");
        await using var connected = await ConnectAsync(rig.Stranger.Transport, rig);
        Assert.Equal((byte)Answer.No, (await AskAsync(connected, Ask.Manifest, Frames.Request(Ask.Manifest, M)))!.Value.What);
        await using var own = await ConnectAsync(rig.Target.Transport, rig);
        Assert.Equal((byte)Answer.Yes, (await AskAsync(own, Ask.Manifest, Frames.Request(Ask.Manifest, M)))!.Value.What);
        // And the one who dials wants one host and no other.
        await Assert.ThrowsAsync<IOException>(async () => await rig.Target.Transport.DialAsync(rig.Stranger.Uid, "127.0.0.1", rig.Source.Port, TestContext.Current.CancellationToken));
    }

    [Fact]
    public async Task Listener_OfAStrangersFleet_IsNotSpokenWith()
    {
        await using var rig = new TransferRig();
        await using var others = new TransferRig();
        rig.Source.Put("root.raw", Random(1000));
        var source = rig.Source.Start();
        source.Open(rig.Offered());
        // What is still read is written down once it is, and would outlive the directories of this test.
        await TransferRig.UntilAsync(() => !source.Offer(M)!.IsReading, () => "not read");
        var dialled = await Record.ExceptionAsync(async () =>
        {
            await using var stream = await ConnectAsync(others.Target.Transport, rig);
            await AskAsync(stream, Ask.Manifest, Frames.Request(Ask.Manifest, M));
        });
        Assert.IsAssignableFrom<IOException>(dialled);
    }

    [Fact]
    public async Task Requests_WithoutForm_EndTheConnectionAndReadNothing()
    {
        await using var rig = new TransferRig();
        rig.Source.Put("root.raw", Random(1000));
        var source = rig.Source.Start();
        source.Open(rig.Offered());
        await TransferRig.UntilAsync(() => !source.Offer(M)!.IsReading, () => "not read");
        var manifest = System.Text.Json.JsonSerializer.Deserialize((await AskAsync(await ConnectAsync(rig.Target.Transport, rig), Ask.Manifest, Frames.Request(Ask.Manifest, M)))!.Value.Body, TransferJson.Default.Manifest)!;
        foreach (var (ask, body) in new (Ask, byte[])[] { (Ask.Manifest, []), ((Ask)9, new byte[36]), (Ask.Read, new byte[20]), (Ask.Read, Frames.Request(Ask.Read, M, manifest.Id, 0, 0, -1)), (Ask.Read, Frames.Request(Ask.Read, M, manifest.Id, 0, 0, 1 << 30)) })
        {
            await using var stream = await ConnectAsync(rig.Target.Transport, rig);
            Assert.Null(await AskAsync(stream, ask, body));
        }
        await using var within = await ConnectAsync(rig.Target.Transport, rig);
        foreach (var (file, offset, count) in new[] { (1, 0L, 10), (0, 991L, 10), (0, -1L, 10), (0, long.MaxValue, 10), (0, 0L, 0) })
            Assert.Equal((byte)Answer.No, (await AskAsync(within, Ask.Read, Frames.Request(Ask.Read, M, manifest.Id, file, offset, count)))!.Value.What);
        Assert.Equal((byte)Answer.No, (await AskAsync(within, Ask.Read, Frames.Request(Ask.Read, M, new string('0', 32), 0, 0, 10)))!.Value.What);
        Assert.Equal((byte)Answer.No, (await AskAsync(within, Ask.Settled, Frames.Request(Ask.Settled, M, manifest.Id)))!.Value.What);
        Assert.Equal((byte)Answer.Yes, (await AskAsync(within, Ask.Read, Frames.Request(Ask.Read, M, manifest.Id, 0, 0, 1000)))!.Value.What);
        Assert.Equal(OfferPhase.Offered, source.Offer(M)!.Record.Phase);
    }

    [Fact]
    public async Task Drop_OfWhatMayBeOursByNow_IsRefused()
    {
        await using var rig = new TransferRig();
        rig.Source.Put("root.raw", Random(100_000));
        var (source, target) = (rig.Source.Start(), rig.Target.Start());
        source.Open(rig.Offered());
        target.Receive(rig.Taken());
        await HeldAsync(source, target);
        await Assert.ThrowsAsync<WorldException>(async () => await target.DropAsync(M, ReceiptPhase.Receiving, CancellationToken.None));
        await target.DropAsync(M, ReceiptPhase.Held, CancellationToken.None);
        Assert.Throws<WorldException>(() => target.Own(M));
        source.Release(M); // It said that it held it; from now on only a person can say whose it is.
        await Task.Delay(1200, TestContext.Current.CancellationToken);
        Assert.False(target.Receipt(M)!.IsReleased);
    }

    [Fact]
    public async Task Withdraw_OfWhatIsHeld_IsToldToTheTarget()
    {
        await using var rig = new TransferRig();
        rig.Source.Put("root.raw", Random(100_000));
        var (source, target) = (rig.Source.Start(), rig.Target.Start());
        source.Open(rig.Offered());
        target.Receive(rig.Taken());
        await HeldAsync(source, target);
        source.Withdraw(M, OfferPhase.Offered);
        Assert.Null(source.Offer(M));
        Assert.Throws<WorldException>(() => source.Release(M));
        await TransferRig.UntilAsync(() => target.Receipt(M)!.IsDeclined, () => "not told: " + target.Receipt(M));
        await target.DropAsync(M, ReceiptPhase.Held, CancellationToken.None);
        target.Close(M);
        source.Open(rig.Offered(rig.Stranger)); // Another one takes its place.
        Assert.Equal(rig.Stranger.Uid, source.Offer(M)!.Record.Target);
    }

    [Fact]
    public async Task Offer_OfAFolderWithWhatCannotBeHandedOver_SaysWhat()
    {
        await using var rig = new TransferRig();
        rig.Source.Put("root.raw", Random(100));
        File.CreateSymbolicLink(Path.Combine(rig.Source.Machines, "shadow.raw"), "/etc/shadow");
        var source = rig.Source.Start();
        source.Open(rig.Offered());
        await TransferRig.UntilAsync(() => source.Offer(M)!.Problem.Length > 0, () => "nothing was said");
        Assert.Contains("shadow.raw", source.Offer(M)!.Problem, StringComparison.Ordinal);
    }

    [Fact]
    public void Record_ThatCannotBeRead_IsNotNothing()
    {
        var root = Directory.CreateTempSubdirectory("agentmetal-moves-").FullName;
        File.WriteAllText(Path.Combine(root, M + ".offer"), "{");
        var overs = new HandOvers(new(root, new NodeAgent.Host.Files.FileReader(), new NodeAgent.Host.Files.FileWriter()), null!, TimeProvider.System, Microsoft.Extensions.Logging.Abstractions.NullLogger<HandOvers>.Instance);
        Assert.Throws<WorldException>(() => overs.Offer(M));
        Assert.Throws<WorldException>(() => overs.Receipt(M));
        Directory.Delete(root, recursive: true);
    }

    [Theory]
    [InlineData("../evil", 1, null)]
    [InlineData(".hidden", 1, null)]
    [InlineData("a/b", 1, null)]
    [InlineData("", 1, null)]
    [InlineData("root.raw", -1, null)]
    [InlineData("root.raw", long.MaxValue, null)]
    [InlineData("root.raw", 1, "xyz")]
    public void Manifest_FromAHostileHost_IsRefused(string name, long size, string? digest)
    {
        Assert.NotNull(new Manifest(new string('a', 32), [new(name, size, digest ?? new string('b', 64), 0)]).Error());
        Assert.Null(new Manifest(new string('a', 32), [new("root.raw", 1, new string('b', 64), 0)]).Error());
        Assert.NotNull(new Manifest("short", []).Error());
        Assert.NotNull(new Manifest(new string('a', 32), default).Error());
        Assert.NotNull(new Manifest(new string('a', 32), [.. Enumerable.Repeat(new ManifestFile("a", 1, new string('b', 64), 0), 2)]).Error());
        Assert.NotNull(new Manifest(new string('a', 32), [.. Enumerable.Range(0, 129).Select(i => new ManifestFile("a" + i, 1, new string('b', 64), 0))]).Error());
    }

    private static Task HeldAsync(HandOvers source, HandOvers target) =>
        TransferRig.UntilAsync(() => target.Receipt(M)!.Record.Phase == ReceiptPhase.Held && source.Offer(M)!.IsHeld, () => $"not held: {source.Offer(M)} {target.Receipt(M)}");

    private static ValueTask<Stream> ConnectAsync(IPeerTransport transport, TransferRig rig) => transport.DialAsync(rig.Source.Uid, "127.0.0.1", rig.Source.Port, TestContext.Current.CancellationToken);

    private static async Task<(byte What, byte[] Body)?> AskAsync(Stream stream, Ask ask, byte[] body)
    {
        var buffer = new byte[Frames.MaxAnswer];
        await Frames.WriteAsync(stream, (byte)ask, body, TestContext.Current.CancellationToken);
        return await Frames.ReadAsync(stream, buffer, TestContext.Current.CancellationToken) is var (what, length) ? (what, buffer[..length]) : null;
    }

    private static byte[] Random(int length) => RandomNumberGenerator.GetBytes(length);
}
