using System.Collections.Immutable;
using System.Security.Cryptography;
using AgentMetal.NodeAgent.Edge;
using AgentMetal.NodeAgent.Pipeline;
using AgentMetal.NodeAgent.Tests.Pipeline;
using AgentMetal.Runtime.Execution;
using AgentMetal.Runtime.Planning;
using AgentMetal.Runtime.Risk;
using AgentMetal.Runtime.Trust;
using Xunit;

namespace AgentMetal.NodeAgent.Tests.Edge;

/// <summary>What becomes of a decision that comes to a host, whichever way.</summary>
public sealed class DecisionDeskTests : IAsyncDisposable
{
    private static readonly string s_node = new('1', 32);
    private readonly DirectoryInfo _folder = Directory.CreateTempSubdirectory("agentmetal-desk-");
    private readonly ECDsa[] _keys = [P256.Generate(), P256.Generate()];
    private readonly List<(string Kind, string Body)> _audit = [];
    private readonly LocalStore _store;
    private readonly DecisionDesk _desk;
    private readonly MemberInput _input;
    private DateTimeOffset _now = new(2030, 1, 1, 12, 0, 0, TimeSpan.Zero);
    private MemberView _view;
    private ApproverSet _set;

    public DecisionDeskTests()
    {
        _store = Assert.IsType<LocalOpening.Opened>(LocalStore.Open(Path.Combine(_folder.FullName, "local.db"), s_node)).Store;
        _input = ControllerKit.Input() with { NodeUid = s_node, ResourceUid = "r-1", Key = s_node + "/Toy/r-1/0" };
        _view = new() { Input = _input, Phase = "AwaitingApproval" };
        _set = Set(_keys);
        _desk = new(new()
        {
            Store = _store,
            NodeUid = s_node,
            Approvers = () => _set,
            Now = () => _now,
            Members = () => [_view],
            Decided = _ => { },
            Audit = (_, kind, body) => { _audit.Add((kind, body)); return ValueTask.CompletedTask; },
        });
    }

    private static CancellationToken Stop => TestContext.Current.CancellationToken;

    public async ValueTask DisposeAsync()
    {
        _desk.Dispose();
        await _store.DisposeAsync();
        foreach (var key in _keys) key.Dispose();
        _folder.Delete(recursive: true);
    }

    [Fact]
    public async Task Take_ApprovalWhileAnotherDenied_IsRefusedWithReasonAndEnd_AndNeverTakenAgain()
    {
        var step = await AskAsync();
        Assert.True((await TakeAsync(Deny(0, step, 1, 1))).Accepted);
        var late = Yes(1, step, 2, 600);
        var refused = await TakeAsync(late);
        Assert.False(refused.Accepted);
        Assert.Contains("k0 denied it until 12:01:00 UTC", refused.Message, StringComparison.Ordinal);
        Assert.Empty(await CountedAsync(step));
        // Its giver was told: whoever brings it again later, also once the way would be free, brings nothing.
        Assert.True((await TakeAsync(Yes(0, step, 3, 60))).Accepted);
        Assert.Contains("refused before", (await TakeAsync(late)).Message, StringComparison.Ordinal);
        Assert.Equal(["k0"], await CountedAsync(step));
        Assert.Equal(["Denied", "DecisionRefused", "Approved"], _audit.Select(a => a.Kind));
    }

    [Fact]
    public async Task Take_OfWhatMovedOrNobodyAsked_IsRefused()
    {
        var step = await AskAsync();
        Assert.Contains("no step", (await TakeAsync(Yes(0, new string('f', 64), 1))).Message, StringComparison.Ordinal);
        var moved = await AskAsync("other");
        Assert.NotEqual(step, moved);
        Assert.Contains("has moved", (await TakeAsync(Yes(0, step, 2))).Message, StringComparison.Ordinal);
        Assert.Contains("has moved", (await TakeAsync(Deny(0, step, 3))).Message, StringComparison.Ordinal);
        Assert.True((await TakeAsync(Yes(0, moved, 4))).Accepted);
    }

    [Fact]
    public async Task Take_WhileItsRunIsUnderWay_RefusesASecondApproval_AndADenialUntilItBegan()
    {
        var step = await AskAsync();
        Assert.True((await TakeAsync(Yes(0, step, 1))).Accepted);
        _view = _view with { Running = new(_now, "delete", [step]) };
        Assert.Contains("under way since 12:00:00 UTC", (await TakeAsync(Yes(1, step, 2))).Message, StringComparison.Ordinal);
        Assert.True((await TakeAsync(Deny(1, step, 3))).Accepted);
        Assert.True((await TakeAsync(Yes(1, step, 4)) is { Accepted: false }));
        Assert.False(await _store.CommitAsync(new() { At = _now, Consume = step, ConsumeOf = 1 }));
        Assert.True(await _store.CommitAsync(new() { At = _now, Consume = step, ConsumeOf = 2 }));
        Assert.Contains("running since", (await TakeAsync(Deny(0, step, 5))).Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Take_TheSameAgain_IsKnownAndNoSecondRecord()
    {
        var step = await AskAsync();
        var yes = Yes(0, step, 1);
        Assert.Equal((true, false), await Short(yes));
        Assert.Equal((true, true), await Short(yes));
        Assert.Single(_audit);

        async Task<(bool, bool)> Short(SignedApproval a) => await TakeAsync(a) is var answer ? (answer.Accepted, answer.Known) : default;
    }

    [Fact]
    public async Task Take_ByAStrangerOrForAnotherHost_IsRefusedAndLeavesNoTrace()
    {
        var step = await AskAsync();
        using var stranger = P256.Generate();
        Assert.False((await TakeAsync(SignedApproval.Sign(stranger, ApprovalDecision.Approve, [step], "r-1", s_node, Ms(1), _now.AddHours(1), ""))).Accepted);
        Assert.False((await TakeAsync(SignedApproval.Sign(_keys[0], ApprovalDecision.Approve, [step], "r-1", new string('2', 32), Ms(1), _now.AddHours(1), ""))).Accepted);
        Assert.Empty(_audit);
        Assert.Empty(await _store.ApprovalsForAsync(step, Stop));
    }

    [Fact]
    public async Task Take_ExpiredOnItsWay_IsRefused_AndSuchADenialStillTakesBackWhatWasSigned()
    {
        var step = await AskAsync();
        Assert.True((await TakeAsync(Yes(0, step, 1, 600))).Accepted);
        var (yes, no) = (Yes(1, step, 2, 1), Deny(0, step, 3, 1));
        _now = _now.AddMinutes(5);
        Assert.Contains("expired 12:01:00 UTC", (await TakeAsync(yes)).Message, StringComparison.Ordinal);
        Assert.False((await TakeAsync(no)).Accepted);
        Assert.Empty(await CountedAsync(step));
    }

    [Fact]
    public async Task ForgetDenials_OfWhoMayNotDecideAnyMore_AsksAnewInsteadOfFreeingIt()
    {
        var step = await AskAsync();
        Assert.True((await TakeAsync(Yes(1, step, 1))).Accepted);
        Assert.True((await TakeAsync(Deny(0, step, 2))).Accepted);
        _set = Set(_keys[1]);
        Assert.Equal(1, await _store.ForgetDenialsAsync(key => _set.Find(key) is not null, _now, Stop));
        Assert.NotEqual(step, await AskAsync());
        Assert.Contains("asked anew", (await TakeAsync(Yes(1, step, 3))).Message, StringComparison.Ordinal);
    }

    /// <summary>What a daemon of before left: rows without the later tables, an approval in the older form.</summary>
    [Fact]
    public async Task Take_FormWithoutOrder_IsTakenAsBefore()
    {
        var step = await AskAsync();
        Assert.True((await TakeAsync(SignedApproval.Sign(_keys[0], ApprovalDecision.Approve, [step], "r-1", s_node, _now.AddHours(1), ""))).Accepted);
        Assert.Equal(["k0"], await CountedAsync(step));
    }

    /// <summary>A figure that was outgrown after somebody signed: the signature is void, told, and stays told beside the question until that is answered.</summary>
    [Fact]
    public async Task Preview_OutgrownAfterItWasSigned_VoidsItTellsWhyAndKeepsSaying()
    {
        var (first, _) = await ShowAsync("98");
        Assert.True((await TakeAsync(Yes(0, first, 1))).Accepted);
        var (second, told) = await ShowAsync("231", "signed for at most 98 keys, now 231 would be lost");
        Assert.Contains("what was signed for it before is void: signed for at most 98 keys, now 231 would be lost", Assert.Single(told.Voided), StringComparison.Ordinal);
        Assert.Contains("no question any more", (await TakeAsync(Yes(0, first, 2))).Message, StringComparison.Ordinal);
        var (again, shown) = await ShowAsync("231");
        Assert.Equal(second, again);
        Assert.Empty(shown.Voided);
        Assert.Contains("agentmetal approve --list", Assert.Single(shown.Void).Value, StringComparison.Ordinal);
        // The next text was not signed, so the reason is still that of the signature.
        var (_, third) = await ShowAsync("900", "signed for at most 231 keys, now 900 would be lost");
        Assert.Empty(third.Voided);
        Assert.Contains("signed for at most 98 keys", Assert.Single(third.Void).Value, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Preview_OutgrownAndUnsigned_IsNoNews()
    {
        await ShowAsync("98");
        var (_, shown) = await ShowAsync("231", "signed for at most 98 keys, now 231 would be lost");
        Assert.Empty(shown.Voided);
        Assert.Empty(shown.Void);
    }

    [Fact]
    public async Task Recall_GivesWhatWasShownAndNotWhatIsVoid()
    {
        await ShowAsync("98");
        await ShowAsync("231");
        var recall = new Recall();
        await new MemberState(_store, new At(() => _now)).For(_input).RecallAsync(recall, Stop);
        Assert.Equal([new ShownCall("remove", "{\"Most\":231}", "d:")], recall.Shown);
        _now += MemberState.ShownFor;
        await new MemberState(_store, new At(() => _now)).For(_input).RecallAsync(recall, Stop);
        Assert.Empty(recall.Shown);
    }

    private async Task<(string Hash, Preview Shown)> ShowAsync(string most, string outgrown = "")
    {
        var step = new Step(0, 0, "remove", 1, $"{{\"Most\":{most}}}", "d:", "d:", [new("fact", "x")], [], Assessment.Dangerous("boom"), Undo.Keep(""), [], "", "") { Text = "remove", Outgrown = outgrown };
        step = Hashes.Bind(new(s_node, "r-1", _input.Generation), step, "");
        var preview = new Preview([step]);
        await new MemberState(_store, new At(() => _now)).For(_input).PreviewAsync(preview, Stop);
        return (Hashes.Bind(new(s_node, "r-1", _input.Generation), step, preview.Nonces[0]).Hash, preview);
    }

    private async Task<string[]> CountedAsync(string step) =>
        [.. ApprovalRule.Judge(step, await _store.ApprovalsForAsync(step, Stop), new(s_node, "r-1"), _set, _now).Counted.Select(a => _set.Find(a.KeyId)!.Name)];

    /// <summary>Shows a step as a pass does, and returns its hash.</summary>
    private async Task<string> AskAsync(string basis = "x")
    {
        var step = new Step(0, 0, "remove", 1, "{}", "d:", "d:", [new("fact", basis)], [], Assessment.Dangerous("boom"), Undo.Keep(""), [], "", "");
        step = Hashes.Bind(new(s_node, "r-1", _input.Generation), step, "");
        var preview = new Preview([step]);
        await new MemberState(_store, new At(() => _now)).For(_input).PreviewAsync(preview, Stop);
        return Hashes.Bind(new(s_node, "r-1", _input.Generation), step, preview.Nonces[0]).Hash;
    }

    private Task<DecisionAnswer> TakeAsync(SignedApproval decision) => _desk.TakeAsync(decision, Stop);

    private long Ms(int place) => new DateTimeOffset(2030, 1, 1, 12, 0, 0, TimeSpan.Zero).ToUnixTimeMilliseconds() + place;

    private SignedApproval Yes(int key, string step, int place, int minutes = 60) => Sign(key, ApprovalDecision.Approve, step, place, minutes);

    private SignedApproval Deny(int key, string step, int place, int minutes = 60) => Sign(key, ApprovalDecision.Deny, step, place, minutes);

    private SignedApproval Sign(int key, ApprovalDecision decision, string step, int place, int minutes) =>
        SignedApproval.Sign(_keys[key], decision, [step], "r-1", s_node, Ms(place), _now.AddMinutes(minutes), "");

    private ApproverSet Set(params ECDsa[] keys) => new()
    {
        Version = 1,
        NotAfterUnixMs = _now.AddDays(30).ToUnixTimeMilliseconds(),
        Threshold = 1,
        Keys = [.. keys.Select(k => new ApproverKey { Name = "k" + Array.IndexOf(_keys, k), Spki = k.ExportSubjectPublicKeyInfo() })],
    };

    private sealed class At(Func<DateTimeOffset> now) : TimeProvider
    {
        public override DateTimeOffset GetUtcNow() => now();
    }
}
