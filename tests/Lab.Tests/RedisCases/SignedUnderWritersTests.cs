using System.Collections.Concurrent;
using System.Globalization;
using System.Text.RegularExpressions;
using AgentMetal.LabTests.Adversary;
using AgentMetal.Testing;

namespace AgentMetal.LabTests.RedisCases;

/// <summary>What people sign stands while clients write on: growth of the side that is kept voids nothing, and of the side that goes no more is lost than was signed.</summary>
[Story("redis", 90)]
public sealed partial class SignedUnderWritersTests(RedisFleet shared) : RedisCase(shared)
{
    [Fact]
    public Task Follow_SignedOnceUnderWriters_HappensAndWhatWasAcknowledgedIsKeptOrCopied() => WithAsync("writers", "replicas: 1", async g =>
    {
        await ForkAsync(g);
        await using var writers = new Writers(g);
        writers.Start(g[0], every: 20);
        writers.Start(g[1], every: 2);
        await g.Fleet.Lab.HealAsync(Stop);
        var asked = await AskedAsync(g, TimeSpan.FromSeconds(60));
        var signed = SignedFor(asked);
        var (kept, given) = (writers.Of(g[1]), writers.Of(g[0]));
        // The side that is kept grows by far more than any figure is rounded by, and the one that goes by less than its room.
        await g.EventuallyAsync("the kept side has grown", TimeSpan.FromSeconds(60), () => Task.FromResult(writers.Of(g[1]) > kept + 1500), Stop);
        Assert.True(writers.Of(g[0]) > given, "the other side is being written to");
        Assert.NotEqual("", await g.SignAsync("once", Stop));
        await g.EventuallyAsync("it follows, signed once", TimeSpan.FromSeconds(60), () => Task.FromResult(g.Role(g[0]) == "slave" && g.Info(g[0], "master_link_status") == "up"), Stop);
        await Task.Delay(2000, Stop);
        await writers.DisposeAsync();
        Assert.DoesNotContain("is void", await g.EventsAsync(Stop), StringComparison.Ordinal);
        var held = g.InMemory(g[1])!;
        var gone = g.Acked.Except(held).ToList();
        TestContext.Current.TestOutputHelper?.WriteLine($"signed for at most {signed} keys; {gone.Count} of {g.Acked.Count} acknowledged writes are not with the primary; longest wait of a writer {writers.Longest.TotalMilliseconds:0} ms");
        Assert.InRange(gone.Count, 1, signed);
        Assert.Empty(gone.Except(await CopiesAsync(g, g[0])));
    });

    [Fact]
    public Task Follow_MoreThanWasSigned_IsNotDoneAndSaid() => WithAsync("outgrown", "replicas: 1", async g =>
    {
        await ForkAsync(g);
        await g.Fleet.Lab.HealAsync(Stop);
        var signed = SignedFor(await AskedAsync(g, TimeSpan.FromSeconds(60)));
        // The host does not look while the signature and the writes come.
        await g[0].Host.ShellAsync("systemctl kill --kill-whom=main -s STOP agentmetald", Stop);
        Assert.NotEqual("", await g.SignAsync("too early", Stop));
        g.Write(g[0], signed + 500);
        await g[0].Host.ShellAsync("systemctl kill --kill-whom=main -s CONT agentmetald", Stop);
        await g.EventuallyAsync("it is said that the signature is void", TimeSpan.FromSeconds(60),
            async () => Void().IsMatch(await g.EventsAsync(Stop)), Stop);
        await HeldThroughAsync(g, "void", TimeSpan.FromSeconds(8));
        Assert.Equal("master", g.Role(g[0]));
        Assert.True(SignedFor(await AskedAsync(g, TimeSpan.FromSeconds(30))) > signed, "the larger loss is asked");
        var described = await g.DescribeAsync(Stop);
        Assert.Contains("agentmetal approve", described, StringComparison.Ordinal);
        TestContext.Current.TestOutputHelper?.WriteLine(described);
        TestContext.Current.TestOutputHelper?.WriteLine(await g.EventsAsync(Stop));
        await SignAllAsync(g, TimeSpan.FromSeconds(60));
        await g.EventuallyAsync("one primary", TimeSpan.FromSeconds(30), () => Task.FromResult(g.InSync(g[0], g[1])), Stop);
        Assert.Empty(g.Acked.Except(g.InMemory(g[1])!).Except(await CopiesAsync(g, g[0])));
    });

    [Fact]
    public Task Follow_TheOtherWay_IsOfferedWithItsLossAndDoneOnceSigned() => WithAsync("otherway", "replicas: 1", async g =>
    {
        await ForkAsync(g);
        g.Write(g[1], 300);
        await g.Fleet.Lab.HealAsync(Stop);
        var asked = await AskedAsync(g, TimeSpan.FromSeconds(60));
        Assert.Contains("the other way, with spec.primary: 0, member 1 is asked to follow: lost then: what only member 1 holds, at most", asked, StringComparison.Ordinal);
        var (zero, one) = (g.InMemory(g[0])!, g.InMemory(g[1])!);
        await g.ApplyAsync("replicas: 1, primary: 0", Stop, "--no-wait");
        await g.EventuallyAsync("the other host asks", TimeSpan.FromSeconds(30), async () =>
            (await g.HeldAsync(Stop)).Any(h => h.GetProperty("plan").GetProperty("steps").GetRawText().Contains("follow " + g[0].Host.Address, StringComparison.Ordinal)), Stop);
        await SignAllAsync(g, TimeSpan.FromSeconds(60));
        await g.EventuallyAsync("one primary", TimeSpan.FromSeconds(30), () => Task.FromResult(g.InSync(g[1], g[0])), Stop);
        Assert.Equal(zero, g.InMemory(g[0])!);
        Assert.Empty(one.Except(g.InMemory(g[0])!).Except(await CopiesAsync(g, g[1])));
    });

    /// <summary>Both members are primaries, with data that the other has not; member 1 is to be the primary.</summary>
    private static async Task ForkAsync(RedisGroup g)
    {
        await FillAsync(g, 5);
        await g.Fleet.Lab.IsolateAsync(g[0].Host, Stop);
        g.Write(g[0], 20);
        Replicaof(g, g[1], "NO ONE");
        g.Write(g[1], 20);
        await g.ApplyAsync("replicas: 1, primary: 1", Stop, "--no-wait");
    }

    /// <summary>How many keys the call gives up at most, as it is hashed.</summary>
    private static int SignedFor(string asked) => int.Parse(Signed().Match(asked) is { Success: true } m ? m.Groups[1].Value : throw new InvalidOperationException("no figure in " + asked),
        NumberStyles.AllowThousands, CultureInfo.InvariantCulture);

    /// <summary>Clients that write one key after the other and record what was acknowledged, and by whom.</summary>
    private sealed class Writers(RedisGroup g) : IAsyncDisposable
    {
        private readonly CancellationTokenSource stopping = new();
        private readonly List<Task> running = [];
        private readonly ConcurrentDictionary<int, int> taken = new();
        private long longest;

        public TimeSpan Longest => new(Interlocked.Read(ref longest));

        public int Of(RedisMember m) => taken.GetValueOrDefault(m.Ordinal);

        public void Start(RedisMember to, int every) => running.Add(Task.Run(async () =>
        {
            while (!stopping.IsCancellationRequested)
            {
                try
                {
                    using var connection = g.Open(to);
                    while (!stopping.IsCancellationRequested)
                    {
                        var (key, began) = (g.NextKey(), DateTime.UtcNow);
                        if (connection.Text("SET", key, RedisGroup.ValueOf(key)) == "OK")
                        {
                            g.Record([key]);
                            taken.AddOrUpdate(to.Ordinal, 1, static (_, n) => n + 1);
                            longest = Math.Max(longest, (DateTime.UtcNow - began).Ticks);
                        }
                        await Task.Delay(every);
                    }
                }
                catch (Exception e) when (e is IOException or RespException or LabException) { await Task.Delay(50); }
            }
        }));

        public async ValueTask DisposeAsync()
        {
            await stopping.CancelAsync();
            await Task.WhenAll(running);
        }
    }

    [GeneratedRegex(@"what only this member holds, at most ([\d,]+) keys")]
    private static partial Regex Signed();

    [GeneratedRegex("is void|no question any more")]
    private static partial Regex Void();
}
