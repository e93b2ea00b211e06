using System.Collections.Immutable;
using AgentMetal.Runtime.Planning;
using AgentMetal.Runtime.Risk;
using CsCheck;
using Xunit;

namespace AgentMetal.Runtime.Tests.Engine;

public sealed class StepHashTests
{
    private static readonly PlanSubject s_subject = new(new string('1', 32), "r-1", 3);

    private static readonly Step s_step = new(0, 1, "restart", 2, """{"To":"on"}""", "switch:a", "g", [new("a", "off"), new("b", "x")], [new("a", "on")],
        Assessment.Moderate("restart", "role-change"), Undo.By(new("flip", """{"To":"off"}""")), ["turn"], "n-1", "");

    /// <summary>Everything that the words of a step say, one change each.</summary>
    private static readonly (string Field, Func<PlanSubject, Step, string, (PlanSubject, Step)> Change)[] s_hashed =
    [
        ("node", (p, s, v) => (p with { NodeUid = p.NodeUid + v }, s)),
        ("resource", (p, s, v) => (p with { ResourceUid = p.ResourceUid + v }, s)),
        ("generation", (p, s, v) => (p with { Generation = p.Generation + v.Length }, s)),
        ("nonce", (p, s, v) => (p, s with { Nonce = s.Nonce + v })),
        ("tool", (p, s, v) => (p, s with { Tool = s.Tool + v })),
        ("version", (p, s, v) => (p, s with { ToolVersion = s.ToolVersion + v.Length })),
        ("args", (p, s, v) => (p, s with { Args = s.Args + v })),
        ("basis key", (p, s, v) => (p, s with { Basis = s.Basis.SetItem(0, new("a" + v, "off")) })),
        ("basis value", (p, s, v) => (p, s with { Basis = s.Basis.SetItem(1, new("b", "x" + v)) })),
        ("basis more", (p, s, v) => (p, s with { Basis = s.Basis.Add(new(v, v)) })),
        ("basis less", (p, s, v) => (p, s with { Basis = s.Basis.RemoveAt(1) })),
        ("basis to expect", (p, s, v) => (p, s with { Basis = [s.Basis[0]], Expect = [s.Basis[1], .. s.Expect] })),
        ("expect value", (p, s, v) => (p, s with { Expect = [new("a", "on" + v)] })),
        ("expect more", (p, s, v) => (p, s with { Expect = s.Expect.Add(new(v, v)) })),
        ("risk level", (p, s, v) => (p, s with { Risk = s.Risk with { Level = RiskLevel.Dangerous } })),
        ("risk reasons", (p, s, v) => (p, s with { Risk = s.Risk with { Reasons = s.Risk.Reasons.Add(v) } })),
        ("loses data", (p, s, v) => (p, s with { Risk = s.Risk with { LosesData = true } })),
        ("undo kind", (p, s, v) => (p, s with { Undo = s.Undo with { Kind = UndoKind.Keep } })),
        ("undo tool", (p, s, v) => (p, s with { Undo = Undo.By(new("flip" + v, s.Undo.Call!.Args)) })),
        ("undo args", (p, s, v) => (p, s with { Undo = Undo.By(new("flip", s.Undo.Call!.Args + v)) })),
    ];

    private static readonly (string Field, Func<Step, string, Step> Change)[] s_notHashed =
    [
        ("index", (s, v) => s with { Index = v.Length }), ("wave", (s, v) => s with { Wave = v.Length + 1 }), ("why", (s, v) => s with { Why = v }),
        ("text", (s, v) => s with { Text = v }), ("undo text", (s, v) => s with { UndoText = v }), ("undo why", (s, v) => s with { Undo = s.Undo with { Why = v } }),
        ("hash", (s, v) => s with { Hash = v }),
    ];

    private static readonly Gen<string> s_text = Gen.String[Gen.Char[' ', '~'], 1, 12];

    [Fact]
    public void Step_AnythingThatChangesItsMeaning_ChangesTheHash() => Gen.Select(Gen.Int[0, s_hashed.Length - 1], s_text).Sample((i, v) =>
    {
        var (subject, step) = s_hashed[i].Change(s_subject, s_step, v);
        Assert.True(Hashes.Of(s_subject, s_step) != Hashes.Of(subject, step), s_hashed[i].Field + " is not hashed");
    }, iter: 3000, threads: 1);

    [Fact]
    public void Step_WordsOrderAndWave_KeepTheHash() => Gen.Select(Gen.Int[0, s_notHashed.Length - 1], s_text).Sample((i, v) =>
        Assert.True(Hashes.Of(s_subject, s_step) == Hashes.Of(s_subject, s_notHashed[i].Change(s_step, v)), s_notHashed[i].Field + " is hashed"), iter: 500, threads: 1);

    [Fact]
    public void Step_TextThatMovesToTheNextField_ChangesTheHash() => Gen.Select(s_text, s_text, Gen.Int[0, 11]).Sample((a, b, cut) =>
    {
        var (whole, at) = (a + b, Math.Min(cut, a.Length + b.Length));
        var moved = s_step with { Nonce = whole[..at], Tool = whole[at..] };
        Assert.Equal(at == a.Length, Hashes.Of(s_subject, s_step with { Nonce = a, Tool = b }) == Hashes.Of(s_subject, moved));
    }, iter: 1000, threads: 1);

    /// <summary>Signatures outlive builds: a change of this value voids every approval in the field, and raises the domain's version.</summary>
    [Fact]
    public void Step_KnownStep_HasTheHashOfEveryBuild() =>
        Assert.Equal("37cae08da62b723b0ee91d26d7e9dd82d4cd1f71b60857af3433cd9f679f6591", Hashes.Of(s_subject, s_step));

    [Fact]
    public void Step_TwoBuildsOfTheBytes_AgreeWithTheirDescription()
    {
        string[] fields = ["agentmetal/step/v1", s_subject.NodeUid, "r-1", "3", "n-1", "restart", "2", """{"To":"on"}""", "Moderate", "0", "2", "restart", "role-change",
            "2", "a", "off", "b", "x", "1", "a", "on", "Call", "flip", """{"To":"off"}"""];
        var text = string.Concat(fields.Select(f => $"{System.Text.Encoding.UTF8.GetByteCount(f)}:{f}"));
        Assert.Equal(Convert.ToHexStringLower(System.Security.Cryptography.SHA256.HashData(System.Text.Encoding.UTF8.GetBytes(text))), Hashes.Of(s_subject, s_step));
    }

    [Fact]
    public void Bind_ANonce_GivesTheHashThatFollows()
    {
        var bound = Hashes.Bind(s_subject, s_step, "n-2");
        Assert.Equal(("n-2", Hashes.Of(s_subject, s_step with { Nonce = "n-2" })), (bound.Nonce, bound.Hash));
    }

    [Fact]
    public void Plan_AnyChangeOfSubjectGoalStepsOrDecisions_ChangesTheHash()
    {
        PlanRequest request = new(s_subject, "goal");
        var one = s_step with { Hash = "h1" };
        var two = s_step with { Hash = "h2" };
        Reasoning.Decision decision = new("q", "o", "rules");
        ImmutableArray<string> hashes =
        [
            Hashes.Plan(request, [one, two], [decision]), Hashes.Plan(request, [two, one], [decision]), Hashes.Plan(request, [one], [decision]),
            Hashes.Plan(request, [one, two], []), Hashes.Plan(request, [one, two], [decision with { Option = "p" }]), Hashes.Plan(request with { GoalHash = "other" }, [one, two], [decision]),
            Hashes.Plan(request with { Subject = s_subject with { Generation = 4 } }, [one, two], [decision]),
        ];
        Assert.Equal(hashes.Length, hashes.Distinct().Count());
        Assert.Equal(hashes[0], Hashes.Plan(request, [one, two], [decision with { By = "device" }]));
    }
}
