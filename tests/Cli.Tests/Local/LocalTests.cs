using System.Net.Sockets;
using System.Text;
using System.Text.Json;
using AgentMetal.Cli.Approve;
using AgentMetal.Cli.Tests.Support;
using AgentMetal.Runtime.Local;
using Google.Protobuf;
using Xunit;

namespace AgentMetal.Cli.Tests.Local;

public sealed class LocalTests
{
    private static readonly LocalAnswer s_answer = new()
    {
        Node = new LocalNode("edge-2", "0011", "0.1.0", FixedClock.Ms("10:05:11"), FixedClock.Ms("14:05:11") + 86_400_000L * 3, 1, "s1", 7),
        Link = new LocalLink("Away", FixedClock.Ms("14:02:11"), "connection refused", FixedClock.Ms("14:05:41")),
        Members = [new LocalMember { Key = "k", Resource = "Redis default/sessions", Ordinal = 1, Generation = 4, Phase = "Waiting", Blocker = "the primary cannot be seen", SinceUnixMs = FixedClock.Ms("14:03:11"), Differences = ["replica link is down"], NextCommand = "agentmetal events --for redis/sessions" }],
    };

    private static async Task<(int Code, string Out, string Error, string Asked)> RunAsync(string answer, params string[] args)
    {
        using var place = new Place();
        using var listener = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        listener.Bind(new UnixDomainSocketEndPoint(place.In("s")));
        listener.Listen();
        var asked = "";
        var serve = Task.Run(async () =>
        {
            using var client = await listener.AcceptAsync();
            var buffer = new byte[4096];
            asked = Encoding.UTF8.GetString(buffer, 0, await client.ReceiveAsync(buffer));
            await client.SendAsync(Encoding.UTF8.GetBytes(answer));
        });
        var paper = new Paper();
        var code = await paper.RunAsync([.. args, "--socket", place.In("s")]);
        await serve;
        return (code, paper.Out, paper.Error, asked);
    }

    [Fact]
    public async Task Why_HostAlone_SaysWhatTheHostKnows()
    {
        var (code, text, error, asked) = await RunAsync(JsonSerializer.Serialize(s_answer, LocalJson.Default.LocalAnswer), "local", "why", "redis/sessions");
        Assert.True(code == 0, error);
        Assert.Equal("{\"call\":\"why\",\"resource\":\"redis/sessions\"}\n", asked);
        Assert.Contains("Away  since 14:02:11 (3 min): connection refused; tried again in 30 s. This host goes on by itself.", text, StringComparison.Ordinal);
        Assert.Contains("since 14:03:11 (2 min)   the primary cannot be seen", text, StringComparison.Ordinal);
        Assert.Contains("Next       agentmetal events --for redis/sessions", text, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Held_WritesWhatTheHostGaveByteForByte()
    {
        using var place = new Place();
        var plan = new Proto.V1.Held { Id = "7f3a9c21", ResourceKey = "Redis default/sessions" };
        var answer = JsonSerializer.Serialize(new LocalAnswer { HeldPlans = [plan.ToByteArray()] }, LocalJson.Default.LocalAnswer);
        var (code, _, error, asked) = await RunAsync(answer, "local", "held", "redis/sessions", "--out", place.In("held.json"));
        Assert.True(code == 0, error);
        Assert.Equal("{\"call\":\"held\",\"resource\":\"redis/sessions\"}\n", asked);
        Assert.Equal(plan, Assert.Single(CarriedFiles.ReadHeld(place.In("held.json"))));
    }

    [Fact]
    public async Task Status_Json_IsTheAnswer() =>
        Assert.Equal("Away", JsonDocument.Parse((await RunAsync(JsonSerializer.Serialize(s_answer, LocalJson.Default.LocalAnswer), "local", "status", "-o", "json")).Out).RootElement.GetProperty("link").GetProperty("state").GetString());

    [Fact]
    public async Task Why_HostRefuses_Exits3() => Assert.Equal(3, (await RunAsync("""{"error":"no member of x"}""", "local", "why", "x")).Code);

    [Fact]
    public async Task Status_Garbage_IsAnErrorNotACrash() => Assert.Equal(1, (await RunAsync("garbage", "local", "status")).Code);

    [Fact]
    public async Task Status_NobodyListens_Exits5()
    {
        var paper = new Paper();
        Assert.Equal(5, await paper.RunAsync("local", "status", "--socket", "/nonexistent/socket"));
        Assert.Contains("systemctl status agentmetald", paper.Error, StringComparison.Ordinal);
    }
}
