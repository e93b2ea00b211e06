using AgentMetal.Runtime.Audit;
using CsCheck;
using Xunit;

namespace AgentMetal.Runtime.Tests.Engine;

public sealed class AuditChainTests
{
    private static readonly DateTimeOffset s_now = new(2030, 1, 1, 0, 0, 0, TimeSpan.Zero);
    private static readonly Gen<AuditRecord[]> s_chain = Gen.Select(Gen.String[Gen.Char['a', 'z'], 1, 8], Gen.Int[0, 9999]).Array[3, 10].Select(parts =>
    {
        var records = new List<AuditRecord>();
        foreach (var (text, ms) in parts)
            records.Add(AuditChain.Next("host", records.Count, records.LastOrDefault()?.Hash ?? AuditChain.Genesis, s_now.AddMilliseconds(ms), "Kind" + text, "Toy " + text, $"{{\"t\":\"{text}\"}}"));
        return records.ToArray();
    });

    [Fact]
    public void Verify_AsWritten_Holds() => s_chain.Sample(c =>
    {
        Assert.Null(AuditChain.Verify(c));
        Assert.Null(AuditChain.Verify(c[1..], c[0].Seq, c[0].Hash));
        Assert.NotNull(AuditChain.Verify(c[1..]));
    }, iter: 200, threads: 1);

    [Fact]
    public void Verify_AnyEdit_IsFound() => Gen.Select(s_chain, Gen.Int[0, 999], Gen.Int[0, 7]).Sample((chain, pick, field) =>
    {
        var at = pick % chain.Length;
        var r = chain[at];
        chain[at] = field switch
        {
            0 => r with { Chain = "other" },
            1 => r with { Seq = r.Seq + 1 },
            2 => r with { At = r.At.AddMilliseconds(1) },
            3 => r with { Kind = r.Kind + "x" },
            4 => r with { ResourceKey = r.ResourceKey + "x" },
            5 => r with { Body = "{}" },
            6 => r with { Previous = r.Hash },
            _ => r with { Hash = AuditChain.Genesis },
        };
        Assert.NotNull(AuditChain.Verify(chain));
    }, iter: 2000, threads: 1);

    [Fact]
    public void Verify_EditWithItsOwnHashMadeNew_IsFoundAtTheNext() => Gen.Select(s_chain, Gen.Int[0, 999]).Sample((chain, pick) =>
    {
        var at = pick % (chain.Length - 1);
        var r = chain[at];
        chain[at] = AuditChain.Next(r.Chain, r.Seq - 1, r.Previous, r.At, r.Kind, r.ResourceKey, "{}");
        Assert.Equal($"record {chain[at + 1].Seq} does not continue record {r.Seq}", AuditChain.Verify(chain));
    }, iter: 500, threads: 1);

    [Fact]
    public void Verify_RemovedRepeatedOrReordered_IsFound() => Gen.Select(s_chain, Gen.Int[0, 999], Gen.Int[0, 2]).Sample((chain, pick, how) =>
    {
        var (list, at) = (chain.ToList(), pick % (chain.Length - 1));
        if (how == 0) list.RemoveAt(at);
        else if (how == 1) list.Insert(at, list[at]);
        else (list[at], list[at + 1]) = (list[at + 1], list[at]);
        Assert.NotNull(AuditChain.Verify(list));
    }, iter: 1000, threads: 1);
}
