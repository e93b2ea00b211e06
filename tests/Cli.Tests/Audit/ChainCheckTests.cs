using AgentMetal.Cli.Audit;
using AgentMetal.Cli.Tests.Support;
using AgentMetal.Runtime.Audit;
using Xunit;
using WireRecord = AgentMetal.Proto.V1.AuditRecord;

namespace AgentMetal.Cli.Tests.Audit;

public sealed class ChainCheckTests
{
    internal static List<WireRecord> Chain(string chain, int count)
    {
        var records = new List<WireRecord>();
        var (seq, hash) = (0L, AuditChain.Genesis);
        for (var i = 0; i < count; i++)
        {
            var next = AuditChain.Next(chain, seq, hash, FixedClock.Noon.AddSeconds(i), "StepDone", "Redis default/sessions", $$"""{"i":{{i}}}""");
            records.Add(new WireRecord { Chain = next.Chain, Seq = next.Seq, AtUnixMs = next.At.ToUnixTimeMilliseconds(), Kind = next.Kind, ResourceKey = next.ResourceKey, Body = next.Body, Previous = next.Previous, Hash = next.Hash });
            (seq, hash) = (next.Seq, next.Hash);
        }
        return records;
    }

    private static string? Problem(IEnumerable<WireRecord> records)
    {
        var check = new ChainCheck("n1");
        foreach (var record in records) check.Add(record);
        return check.Problem;
    }

    [Fact]
    public void Add_WholeChain_HasNoProblem() => Assert.Null(Problem(Chain("n1", 5)));

    [Fact]
    public void Add_AnyFieldChanged_IsNoticed()
    {
        Action<WireRecord>[] changes =
        [
            r => r.Body = """{"i":9}""", r => r.Kind = "StepFailed", r => r.ResourceKey = "Redis default/other", r => r.AtUnixMs++, r => r.Hash = AuditChain.Genesis, r => r.Previous = AuditChain.Genesis, r => r.Chain = "n2", r => r.Seq = 9,
        ];
        foreach (var change in changes)
        {
            var records = Chain("n1", 5);
            change(records[2]);
            Assert.NotNull(Problem(records));
        }
    }

    [Fact]
    public void Add_RecordRemovedFromTheMiddle_IsNoticed() => Assert.Contains("missing", Problem(Chain("n1", 5).Where(r => r.Seq != 3)), StringComparison.Ordinal);

    [Fact]
    public async Task Verify_BrokenChain_Exits1AndNamesTheRecord()
    {
        await using var fleet = await FakeCoordinator.StartAsync();
        fleet.Script.Audit.AddRange(Chain("n1", 5));
        Assert.Equal(0, (await fleet.RunAsync(["audit", "--verify"])).Code);
        fleet.Script.Audit[3].Body = "{}";
        var (code, text, _) = await fleet.RunAsync(["audit", "--verify"]);
        Assert.Equal(1, code);
        Assert.Contains("record 4 was changed", text, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Verify_TailCutOff_Exits1AndSaysHowManyWereTaken()
    {
        await using var fleet = await FakeCoordinator.StartAsync();
        fleet.Script.Audit.AddRange(Chain("n1", 3));
        fleet.Script.Nodes.Add(new Proto.V1.Node { Uid = "n1", Name = "edge-1", AuditSeq = 5 });
        var (code, text, _) = await fleet.RunAsync(["audit", "--verify", "--chain", "edge-1"]);
        Assert.Equal(1, code);
        Assert.Contains("took 5 records from the host and shows 3", text, StringComparison.Ordinal);
    }
}
