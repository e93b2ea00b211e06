using System.Diagnostics;
using AgentMetal.Coordinator.Store;
using AgentMetal.Runtime.Store;
using Xunit;

namespace AgentMetal.Coordinator.Tests.Store;

public sealed class SqliteStoreTests : StoreConformance
{
    private readonly DirectoryInfo folder = Directory.CreateTempSubdirectory("agentmetal-store-");
    private int made;

    public override async ValueTask DisposeAsync()
    {
        await base.DisposeAsync();
        folder.Delete(recursive: true);
    }

    protected override IStore Make(int historyLimit) =>
        Assert.IsType<StoreOpening.Opened>(SqliteStore.Open(Options($"{++made}.db") with { HistoryLimit = historyLimit })).Store;

    [Fact]
    public async Task Open_AfterClose_HasEverythingAndTheSameId()
    {
        var first = OpenFile("s.db");
        await Commit(first, StoreTxn.Put("a", Bytes("1"), 0));
        var proof = Assert.IsType<LeaseResult.Granted>(await first.AcquireLeaseAsync("leader", "c1", TimeSpan.FromSeconds(10), Stop)).Proof;
        await first.DisposeAsync();
        await using var second = OpenFile("s.db");
        Assert.Equal(first.StoreId, second.StoreId);
        Assert.Equal(1, (await second.GetAsync("a", Stop)).Entry!.ModifiedAt);
        await Commit(second, StoreTxn.Put("a", Bytes("2"), 1, proof));
    }

    [Fact]
    public async Task Lease_Renewed_WritesNothingAndIsFreeForWhoeverOpensTheFileNext()
    {
        var first = OpenFile("s.db");
        var proof = Assert.IsType<LeaseResult.Granted>(await first.AcquireLeaseAsync("leader", "c1", TimeSpan.FromSeconds(10), Stop)).Proof;
        var before = Written();
        for (var i = 0; i < 3; i++)
        {
            Time.Advance(TimeSpan.FromSeconds(9));
            proof = Assert.IsType<LeaseResult.Granted>(await first.RenewLeaseAsync(proof, TimeSpan.FromSeconds(10), Stop)).Proof;
        }
        Assert.Equal(before, Written());
        await Commit(first, StoreTxn.Put("a", Bytes("1"), 0, proof));
        Assert.NotEqual(before, Written());
        await first.DisposeAsync();
        await using var second = OpenFile("s.db");
        Assert.True(Assert.IsType<LeaseResult.Granted>(await second.AcquireLeaseAsync("leader", "c2", TimeSpan.FromSeconds(10), Stop)).Proof.Token > proof.Token);
        Assert.IsType<StoreResult.Fenced>(await second.TxnAsync(StoreTxn.Put("a", Bytes("2"), 1, proof), Stop));

        string Written() => string.Join(' ', new[] { "s.db", "s.db-wal" }.Select(f => new FileInfo(PathOf(f))).Select(f => f.Exists ? $"{f.Length} {f.LastWriteTimeUtc:O}" : "-"));
    }

    [Fact]
    public async Task Open_Restored_MintsAnIdForgetsHistoryAndFencesOldLeaders()
    {
        var first = OpenFile("s.db");
        var at = await Commit(first, StoreTxn.Put("a", Bytes("1"), 0));
        var proof = Assert.IsType<LeaseResult.Granted>(await first.AcquireLeaseAsync("leader", "c1", TimeSpan.FromSeconds(10), Stop)).Proof;
        await first.DisposeAsync();
        await using var second = Assert.IsType<StoreOpening.Opened>(SqliteStore.Open(Options("s.db") with { Restored = true })).Store;
        Assert.NotEqual(first.StoreId, second.StoreId);
        await using var watch = second.WatchAsync("", at, Stop).GetAsyncEnumerator(Stop);
        Assert.Equal(ReListReason.ForeignStore, Assert.IsType<WatchEvent.ReList>(await Next(watch)).Reason);
        Assert.IsType<StoreResult.Fenced>(await second.TxnAsync(StoreTxn.Put("a", Bytes("2"), 1, proof), Stop));
        Assert.Equal("1", Text((await second.GetAsync("a", Stop)).Entry!.Value));
    }

    [Fact]
    public async Task Open_WhileAnotherHasIt_NamesProcessAndTime()
    {
        await using var first = OpenFile("s.db");
        var held = Assert.IsType<StoreOpening.HeldBy>(SqliteStore.Open(Options("s.db")));
        Assert.Contains($"coordinator process {Environment.ProcessId} since 2030-01-01T00:00:00Z", held.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Open_NewerSchema_IsRefusedAndUnchanged()
    {
        await OpenFile("s.db").DisposeAsync();
        using (var raw = SqliteFile.Connect(PathOf("s.db"), write: true)) SqliteFile.Run(raw, "PRAGMA user_version=99");
        Assert.Contains("has schema 99, this coordinator knows up to 1", Assert.IsType<StoreOpening.Refused>(SqliteStore.Open(Options("s.db"))).Message, StringComparison.Ordinal);
        using var again = SqliteFile.Connect(PathOf("s.db"), write: false);
        Assert.Equal(99L, SqliteFile.Scalar(again, "PRAGMA user_version"));
    }

    [Fact]
    public void Open_AnotherProgramsDatabase_IsRefused()
    {
        using (var raw = SqliteFile.Connect(PathOf("s.db"), write: true)) SqliteFile.Run(raw, "CREATE TABLE theirs(x)");
        Assert.Contains("database of another program", Assert.IsType<StoreOpening.Refused>(SqliteStore.Open(Options("s.db"))).Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Open_DamagedPage_IsRefusedNamingTheFile()
    {
        var store = OpenFile("s.db");
        for (var i = 0; i < 40; i++) await Commit(store, StoreTxn.Put($"k{i}", new byte[2_000], 0));
        await store.DisposeAsync();
        using (var file = File.OpenHandle(PathOf("s.db"), FileMode.Open, FileAccess.ReadWrite))
            for (var page = 3; page < 12; page++) RandomAccess.Write(file, Enumerable.Repeat((byte)0xA5, 512).ToArray(), page * 4096L);
        var refused = Assert.IsType<StoreOpening.Refused>(SqliteStore.Open(Options("s.db")));
        Assert.Contains($"{PathOf("s.db")} is damaged", refused.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Open_GarbageFile_IsRefusedAndLeftAsItWas()
    {
        var garbage = Enumerable.Range(0, 8192).Select(i => (byte)(i * 7)).ToArray();
        File.WriteAllBytes(PathOf("s.db"), garbage);
        Assert.Contains("is damaged", Assert.IsType<StoreOpening.Refused>(SqliteStore.Open(Options("s.db"))).Message, StringComparison.Ordinal);
        Assert.Equal(garbage, File.ReadAllBytes(PathOf("s.db")));
    }

    [Fact]
    public void Open_NoDirectory_IsRefusedWithWhatToDo() =>
        Assert.Contains("directory must exist", Assert.IsType<StoreOpening.Refused>(SqliteStore.Open(Options("none/s.db"))).Message, StringComparison.Ordinal);

    [Fact]
    public async Task Txn_DiskFull_IsAwayWithTheReasonAndLosesNothingAcknowledged()
    {
        if (Environment.UserName != "root") Assert.Skip("mounting a tmpfs needs root (CAP_SYS_ADMIN)");
        var mount = folder.CreateSubdirectory("small").FullName;
        if (await Run("mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", mount) != 0) Assert.Skip("mounting a tmpfs needs CAP_SYS_ADMIN");
        try
        {
            await FillAndCheck(Path.Combine("small", "s.db"));
        }
        finally
        {
            Assert.Equal(0, await Run("umount", mount));
        }
    }

    /// <summary>Not a test of its own: the process that <see cref="Txn_ProcessKilledWhileWriting_EverythingAcknowledgedIsThere"/> kills.</summary>
    [Fact(Explicit = true)]
    public async Task Victim()
    {
        var path = Environment.GetEnvironmentVariable("STORE_VICTIM");
        if (path is null) Assert.Skip("started by the test that kills it");
        var store = Assert.IsType<StoreOpening.Opened>(SqliteStore.Open(new SqliteStoreOptions { Path = path })).Store;
        using var acknowledged = new FileStream(path + ".acks", FileMode.Append, FileAccess.Write, FileShare.ReadWrite, bufferSize: 0);
        await Task.WhenAll(Enumerable.Range(0, 16).Select(async writer =>
        {
            // Bounded, should the killer die first.
            for (var i = 0; i < 100_000; i++)
            {
                await Commit(store, StoreTxn.Put($"{writer}/{i}", Bytes("v"), 0));
                lock (acknowledged) acknowledged.Write(Bytes($"{writer}/{i}\n"));
            }
        }));
    }

    [Fact]
    public async Task Txn_ProcessKilledWhileWriting_EverythingAcknowledgedIsThere()
    {
        var path = PathOf("s.db");
        var start = new ProcessStartInfo(Path.Combine(AppContext.BaseDirectory, "Coordinator.Tests"), ["-explicit", "only", "-method", "*SqliteStoreTests.Victim"]) { RedirectStandardOutput = true, RedirectStandardError = true };
        start.Environment["STORE_VICTIM"] = path;
        using var victim = Process.Start(start)!;
        var deadline = Stopwatch.StartNew();
        while (!(File.Exists(path + ".acks") && new FileInfo(path + ".acks").Length > 20_000))
        {
            Assert.True(deadline.Elapsed < TimeSpan.FromSeconds(60) && !victim.HasExited, "the victim did not write");
            await Task.Delay(20, Stop);
        }
        Assert.Contains($"process {victim.Id} since", Assert.IsType<StoreOpening.HeldBy>(SqliteStore.Open(Options("s.db"))).Message, StringComparison.Ordinal);
        victim.Kill();
        await victim.WaitForExitAsync(Stop);
        var acknowledged = (await File.ReadAllLinesAsync(path + ".acks", Stop)).ToHashSet();
        await using var store = OpenFile("s.db");
        var listing = await store.ListAsync("", Stop);
        Assert.Empty(acknowledged.Except(listing.Entries.Select(e => e.Key)));
        Assert.Equal(listing.At.Number, listing.Entries.Count);
    }

    private async Task FillAndCheck(string name)
    {
        var acknowledged = new List<string>();
        var store = OpenFile(name);
        StoreAwayException? away = null;
        for (var i = 0; away is null && i < 200; i++)
        {
            try
            {
                await Commit(store, StoreTxn.Put($"k{i:D3}", new byte[32_000], 0));
                acknowledged.Add($"k{i:D3}");
            }
            catch (StoreAwayException e)
            {
                away = e;
            }
        }
        Assert.Contains("is full. Free space there", away?.Reason ?? "the disk never filled", StringComparison.Ordinal);
        Assert.NotEmpty(acknowledged);
        Assert.Equal(acknowledged, (await store.ListAsync("", Stop)).Entries.Select(e => e.Key));
        await store.DisposeAsync();
        await using var again = OpenFile(name);
        Assert.Equal(acknowledged, (await again.ListAsync("", Stop)).Entries.Select(e => e.Key));
    }

    private static async Task<int> Run(string program, params string[] arguments)
    {
        using var process = Process.Start(new ProcessStartInfo(program, arguments) { RedirectStandardError = true })!;
        await process.WaitForExitAsync(Stop);
        return process.ExitCode;
    }

    private string PathOf(string name) => Path.Combine(folder.FullName, name);

    private SqliteStoreOptions Options(string name) => new() { Path = PathOf(name), Time = Time };

    private SqliteStore OpenFile(string name) => Assert.IsType<StoreOpening.Opened>(SqliteStore.Open(Options(name))).Store;
}
