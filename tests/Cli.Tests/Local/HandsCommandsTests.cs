using System.Net.Sockets;
using System.Text;
using System.Text.Json;
using AgentMetal.Cli.Tests.Support;
using AgentMetal.Runtime.Local;
using Xunit;

namespace AgentMetal.Cli.Tests.Local;

/// <summary>pause, stop and resume as a person at the host calls them.</summary>
public sealed class HandsCommandsTests
{
    private static readonly LocalMember s_member = new() { Key = "k", Resource = "Redis default/sessions", Ordinal = 1, Generation = 4, Phase = "Paused", Paused = Paused("") };

    private static LocalPaused Paused(string progress) => new(FixedClock.Ms("14:03:11"), 0, "root (uid 0)", "disk swap", progress.Length > 0, progress);

    private static LocalAnswer Answer(string progress = "") => new() { Members = [s_member with { Paused = Paused(progress) }] };

    /// <summary>Runs against a socket that answers in turn; what it was asked.</summary>
    private static async Task<(int Code, string Out, string Error, List<LocalRequest> Asked)> RunAsync(string[] args, LocalAnswer[] answers, string input = "", bool canAsk = false)
    {
        using var place = new Place();
        using var listener = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        listener.Bind(new UnixDomainSocketEndPoint(place.In("s")));
        listener.Listen();
        List<LocalRequest> asked = [];
        var serve = Task.Run(async () =>
        {
            foreach (var answer in answers)
            {
                using var client = await listener.AcceptAsync();
                var buffer = new byte[4096];
                var read = await client.ReceiveAsync(buffer);
                asked.Add(JsonSerializer.Deserialize(Encoding.UTF8.GetString(buffer, 0, read), LocalJson.Default.LocalRequest)!);
                await client.SendAsync(JsonSerializer.SerializeToUtf8Bytes(answer, LocalJson.Default.LocalAnswer));
            }
        });
        var paper = new Paper(input: input, canAsk: canAsk, clock: TimeProvider.System);
        var code = await paper.RunAsync(["local", .. args, "--socket", place.In("s")]);
        await serve.WaitAsync(TimeSpan.FromSeconds(20), TestContext.Current.CancellationToken);
        return (code, paper.Out, paper.Error, asked);
    }

    [Theory]
    [InlineData("pause", "redis/sessions is paused on this host, also when agentmetald restarts. Go on with: agentmetal local resume redis/sessions")]
    [InlineData("resume", "redis/sessions is kept as declared again. See it: agentmetal local why redis/sessions")]
    public async Task PauseAndResume_SayWhatHoldsNowAndHowToGoOn(string verb, string words)
    {
        var (code, text, error, asked) = await RunAsync([verb, "redis/sessions", .. verb == "pause" ? new[] { "--reason", "disk swap" } : []], [Answer()]);
        Assert.True(code == 0, error);
        Assert.Equal(words + "\n", text);
        Assert.Equal(new LocalRequest(verb, "redis/sessions", Reason: verb == "pause" ? "disk swap" : null), Assert.Single(asked));
        var json = await RunAsync([verb, "redis/sessions", "-o", "json"], [Answer()]);
        Assert.Equal("root (uid 0)", JsonDocument.Parse(json.Out).RootElement.GetProperty("members")[0].GetProperty("paused").GetProperty("by").GetString());
    }

    [Theory]
    [InlineData("pause")]
    [InlineData("resume")]
    [InlineData("stop")]
    public async Task Hands_OfWhatIsNotHereOrRefused_SayWhyAndTheNextCommand(string verb)
    {
        var none = await RunAsync([verb, "redis/x"], [new() { Error = "no member of \"redis/x\" on this host" }]);
        Assert.Equal(3, none.Code);
        Assert.Contains("agentmetal local status", none.Error, StringComparison.Ordinal);
        var refused = await RunAsync([verb, "redis/x"], [new() { Error = "this host was struck off by alice", Refused = true }]);
        Assert.Equal(7, refused.Code);
        Assert.Contains("struck off by alice", refused.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Stop_FollowsUntilItHasStopped_AndSaysThatItStaysSo()
    {
        var (code, text, error, asked) = await RunAsync(["stop", "redis/sessions", "--reason", "a new disk"], [Answer("is being stopped"), Answer("is being stopped"), Answer("was stopped at 14:04:00 UTC")]);
        Assert.True(code == 0, error);
        Assert.Contains("was stopped at 14:04:00 UTC, and stays so", text, StringComparison.Ordinal);
        Assert.Equal(["stop", "why", "why"], asked.Select(a => a.Call));
        Assert.Equal(("a new disk", false), (asked[0].Reason, asked[0].Confirmed));
        var failed = await RunAsync(["stop", "redis/sessions"], [Answer("is being stopped"), Answer("was not stopped: it hangs")]);
        Assert.Equal(1, failed.Code);
        Assert.Contains("it stays paused", failed.Error, StringComparison.Ordinal);
        Assert.Contains("agentmetal local resume redis/sessions", failed.Error, StringComparison.Ordinal);
    }

    /// <summary>What goes with the stop is said, and nothing is stopped before it is agreed to.</summary>
    [Fact]
    public async Task Stop_ThatLosesData_AsksFirst()
    {
        LocalAnswer asks = new() { Error = "Dangerous: its keys are in memory only", Refused = true, Confirm = true };
        var alone = await RunAsync(["stop", "redis/sessions"], [asks]);
        Assert.Equal(7, alone.Code);
        Assert.Contains("its keys are in memory only", alone.Error, StringComparison.Ordinal);
        Assert.Contains("agentmetal local stop redis/sessions --yes", alone.Error, StringComparison.Ordinal);
        var no = await RunAsync(["stop", "redis/sessions"], [asks], "n\n", canAsk: true);
        Assert.Equal(1, no.Code);
        var yes = await RunAsync(["stop", "redis/sessions"], [asks, Answer("is being stopped"), Answer("was stopped at 14:04:00 UTC")], "y\n", canAsk: true);
        Assert.Equal(0, yes.Code);
        Assert.Equal([false, true, null], yes.Asked.Select(a => a.Confirmed));
    }

    [Fact]
    public async Task Status_OfAHostThatWasStruckOff_SaysSoAndNotThatItGoesOn()
    {
        var answer = new LocalAnswer { Node = new("edge-1", "0011", "0.1.0", 0, 0, 1, "s1", 7), Link = new("Away", 0, "PermissionDenied: edge-1 was struck off", 0, StruckOff: "this host was struck off by alice (burnt): its data stays where it is") };
        var (_, text, _, _) = await RunAsync(["status"], [answer]);
        Assert.Contains("Struck off   this host was struck off by alice (burnt)", text, StringComparison.Ordinal);
        Assert.DoesNotContain("goes on by itself", text, StringComparison.Ordinal);
    }
}
