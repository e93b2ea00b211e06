using System.Text;
using AgentMetal.NodeAgent.Edge;
using AgentMetal.Runtime.Audit;
using AgentMetal.Runtime.Store;
using AgentMetal.Runtime.Trust;
using Microsoft.Data.Sqlite;
using Xunit;
using V1 = AgentMetal.Proto.V1;

namespace AgentMetal.NodeAgent.Tests.Edge;

public sealed class LocalStoreTests : IAsyncDisposable
{
    private static readonly DateTimeOffset Now = new(2030, 1, 1, 0, 0, 0, TimeSpan.Zero);
    private readonly DirectoryInfo folder = Directory.CreateTempSubdirectory("agentmetal-local-");
    private LocalStore? store;

    private static CancellationToken Stop => TestContext.Current.CancellationToken;

    private string FilePath => Path.Combine(folder.FullName, "local.db");

    public async ValueTask DisposeAsync()
    {
        if (store is not null) await store.DisposeAsync();
        folder.Delete(recursive: true);
    }

    [Fact]
    public async Task Commit_RunJournalAndAudit_AreThereAfterReopen()
    {
        await Open().CommitAsync(Batch() with { Open = new("r1", "n/Redis/u/0", "run"), Journal = [new("r1", "intent")], Audit = [("Planned", "{}")] });
        await store!.CommitAsync(Batch() with { Journal = [new("r1", "done")], Audit = [("StepDone", "{}")] });
        await Reopen();
        var run = Assert.Single(await store.OpenRunsAsync(Stop));
        Assert.Equal(new LocalRun("r1", "n/Redis/u/0", "run"), run.Run);
        Assert.Equal(["intent", "done"], run.Journal);
        Assert.Equal(["Planned", "StepDone"], (await store.AuditAfterAsync(0, 10, Stop)).Select(r => r.Kind));
        await store.CommitAsync(Batch() with { Close = "r1" });
        Assert.Empty(await store.OpenRunsAsync(Stop));
    }

    [Fact]
    public async Task Commit_ApprovalUsedTwice_WritesNothingTheSecondTime()
    {
        await Open().AddApprovalAsync(Approval("aa", "bb"), Stop);
        Assert.True(await store!.CommitAsync(Batch() with { Consume = "aa", ConsumeOf = 1, Audit = [("StepIntent", "{}")] }));
        Assert.False(await store.CommitAsync(Batch() with { Consume = "aa", ConsumeOf = 1, Audit = [("StepIntent", "{}")] }));
        Assert.Equal(1, await store.LastAuditSeqAsync(Stop));
        Assert.Empty(await store.ApprovalsForAsync("aa", Stop));
        Assert.Equal(["aa", "bb"], Assert.Single(await store.ApprovalsForAsync("bb", Stop)).StepHashes);
    }

    [Fact]
    public async Task Preview_SameStepAfterItsApprovalWasUsed_IsANewQuestion()
    {
        var now = DateTimeOffset.UnixEpoch;
        var first = Assert.Single(await Open().PreviewAsync([new("content", "call", "nonce-1", "{}")], now, now.AddDays(1), Stop));
        var again = Assert.Single(await store!.PreviewAsync([new("content", "call", "nonce-2", "{}")], now, now.AddDays(1), Stop));
        Assert.Equal(first.Nonce, again.Nonce);
        await store.AddApprovalAsync(Approval("aa"), Stop);
        Assert.True(await store.CommitAsync(Batch() with { Consume = "aa", ConsumeOf = 1, ConsumedContent = "content" }));
        Assert.Equal("nonce-3", Assert.Single(await store.PreviewAsync([new("content", "call", "nonce-3", "{}")], now, now.AddDays(1), Stop)).Nonce);
    }

    [Fact]
    public async Task AddApproval_AgainOrByAnotherKeyAfterUse_StaysUsed()
    {
        await Open().AddApprovalAsync(Approval("aa"), Stop);
        await store!.CommitAsync(Batch() with { Consume = "aa", ConsumeOf = 1 });
        await store.AddApprovalAsync(Approval("aa"), Stop);
        await store.AddApprovalAsync(Approval("aa") with { KeyId = "other" }, Stop);
        Assert.Empty(await store.ApprovalsForAsync("aa", Stop));
        await Reopen();
        Assert.False(await store.CommitAsync(Batch() with { Consume = "aa", ConsumeOf = 1 }));
    }

    [Fact]
    public async Task Commit_NoApprovalWaits_WritesNothing()
    {
        Assert.False(await Open().CommitAsync(Batch() with { Consume = "aa", ConsumeOf = 1, Open = new("r1", "k", "run") }));
        Assert.Empty(await store!.OpenRunsAsync(Stop));
    }

    [Fact]
    public async Task Commit_OnePartFails_ConsumesNothing()
    {
        await Open().AddApprovalAsync(Approval("aa"), Stop);
        await Assert.ThrowsAsync<LocalStoreException>(async () => await store!.CommitAsync(Batch() with { Consume = "aa", ConsumeOf = 1, Audit = [("StepIntent", "{}")], Journal = [new("no such run", "intent")] }));
        Assert.Single(await store!.ApprovalsForAsync("aa", Stop));
        Assert.Equal(0, await store.LastAuditSeqAsync(Stop));
    }

    [Fact]
    public async Task AuditAcked_Pruned_ChainGoesOnFromItsHead()
    {
        Open();
        for (var i = 0; i < 5; i++) await store!.CommitAsync(Batch() with { Audit = [("Planned", "{}")] });
        var before = await store!.AuditAfterAsync(0, 10, Stop);
        await store.AuditAckedAsync(99, Stop);
        await Reopen();
        Assert.Empty(await store.AuditAfterAsync(0, 10, Stop));
        await store.CommitAsync(Batch() with { Audit = [("Held", "{}")] });
        Assert.Null(AuditChain.Verify([.. before, .. await store.AuditAfterAsync(0, 10, Stop)]));
        Assert.Null(await store.VerifyAuditAsync(Stop));
    }

    [Theory]
    [InlineData("UPDATE audit SET body = '{\"x\":1}' WHERE seq = 2", "record 2 was changed")]
    [InlineData("DELETE FROM audit WHERE seq = 2", "records are missing")]
    [InlineData("DELETE FROM audit WHERE seq = 3", "records are missing")]
    public async Task VerifyAudit_FileEdited_SaysWhere(string edit, string finding)
    {
        Open();
        for (var i = 0; i < 3; i++) await store!.CommitAsync(Batch() with { Audit = [("Planned", "{}")] });
        Assert.Null(await store!.VerifyAuditAsync(Stop));
        await store.DisposeAsync();
        using (var raw = LocalFile.Connect(FilePath)) LocalFile.Run(raw, edit);
        Open();
        Assert.Contains(finding, await store.VerifyAuditAsync(Stop), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Preview_ContentUnchanged_KeepsItsNonceAndMovedVoidsIt()
    {
        Open();
        Assert.Equal("n1", (await Preview("c1", "n1", Now))[0].Nonce);
        await Reopen();
        Assert.Equal("n1", (await Preview("c1", "n2", Now))[0].Nonce);
        var moved = (await Preview("c2", "n3", Now))[0];
        Assert.Equal(("n3", "facts of c1"), (moved.Nonce, Assert.Single(moved.Voided).Body));
        Assert.Equal("n4", (await Preview("c1", "n4", Now))[0].Nonce);
        Assert.Equal("n5", (await Preview("c1", "n5", Now.AddMinutes(15)))[0].Nonce);
    }

    [Fact]
    public async Task Save_AssignmentsAndCursor_AreOneThing()
    {
        Open();
        await store!.SaveAsync([new V1.Assignment { Key = "a", Revision = 7 }, new V1.Assignment { Key = "b", Revision = 7 }], [], new LinkCursor("s", 7), StoreMark.None, Stop);
        Assert.Equal(1, await store.AckAssignmentAsync("a", 7, Stop));
        Assert.Equal(0, await store.AckAssignmentAsync("b", 6, Stop));
        await store.SaveAsync([new V1.Assignment { Key = "a", Revision = 8 }], ["b"], new LinkCursor("s", 8), StoreMark.None, Stop);
        await Reopen();
        Assert.Equal(new LinkCursor("s", 8), await store.CursorAsync(Stop));
        Assert.Equal([("a", 8L)], (await store.AssignmentsAsync(Stop)).Select(a => (a.Key, a.Revision)));
        Assert.False(Assert.Single(await store.RawAssignmentsAsync(Stop)).Acked);
    }

    [Fact]
    public async Task Attempts_MoreThanTheLimit_KeepsTheLast()
    {
        await Open().CommitAsync(Batch() with { Attempts = [.. Enumerable.Range(0, LocalStore.AttemptLimit + 3).Select(i => ("k", $"{i}"))] });
        var kept = await store!.AttemptsAsync("k", Stop);
        Assert.Equal((LocalStore.AttemptLimit, "3"), (kept.Count, kept[0]));
    }

    [Fact]
    public async Task Secret_SetAndDeleted_IsRootOnlyAndLeavesNoTrace()
    {
        var secret = Encoding.UTF8.GetBytes("correct-horse-battery");
        await Open().SetSecretAsync("redis", secret, Stop);
        Assert.Equal(secret, await store!.SecretAsync("redis", Stop));
        foreach (var file in folder.GetFiles()) Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite, file.UnixFileMode);
        await store.SetSecretAsync("redis", null, Stop);
        await Reopen();
        Assert.Null(await store.SecretAsync("redis", Stop));
        await store.DisposeAsync();
        Assert.DoesNotContain("correct-horse", Encoding.Latin1.GetString(await File.ReadAllBytesAsync(FilePath, Stop)), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Open_GarbageFile_IsRefusedByNameAndNotMadeAnew()
    {
        var garbage = Enumerable.Repeat((byte)0x5A, 8192).ToArray();
        await File.WriteAllBytesAsync(FilePath, garbage, Stop);
        var refused = Assert.IsType<LocalOpening.Refused>(LocalStore.Open(FilePath, "n1"));
        Assert.StartsWith($"{FilePath} is damaged", refused.Message, StringComparison.Ordinal);
        Assert.Contains("mv ", refused.Message, StringComparison.Ordinal);
        Assert.Equal(garbage, await File.ReadAllBytesAsync(FilePath, Stop));
    }

    [Fact]
    public async Task Open_NewerSchema_IsRefused()
    {
        await Open().DisposeAsync();
        using (var raw = LocalFile.Connect(FilePath)) LocalFile.Run(raw, "PRAGMA user_version=9");
        Assert.Contains("has schema 9", Assert.IsType<LocalOpening.Refused>(LocalStore.Open(FilePath, "n1")).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Open_SecondDaemon_IsRefused()
    {
        Open();
        Assert.Contains("in use by another process", Assert.IsType<LocalOpening.Refused>(LocalStore.Open(FilePath, "n1")).Message, StringComparison.Ordinal);
    }

    private static LocalBatch Batch() => new() { At = Now, ResourceKey = "Redis default/sessions" };

    private static SignedApproval Approval(params string[] steps) => new()
    {
        StepHashes = steps,
        ResourceUid = "u",
        NodeUid = "n1",
        Decision = ApprovalDecision.Approve,
        ExpiresUnixMs = Now.AddHours(1).ToUnixTimeMilliseconds(),
        Reason = "",
        KeyId = "k",
        Signature = new byte[64],
    };

    private async Task<IReadOnlyList<PreviewAnswer>> Preview(string content, string nonce, DateTimeOffset at) =>
        await store!.PreviewAsync([new PreviewAsk(content, "call", nonce, $"facts of {content}")], at, at.AddMinutes(15), Stop);

    private LocalStore Open() => store = Assert.IsType<LocalOpening.Opened>(LocalStore.Open(FilePath, "n1")).Store;

    private async Task Reopen()
    {
        await store!.DisposeAsync();
        Open();
    }
}
