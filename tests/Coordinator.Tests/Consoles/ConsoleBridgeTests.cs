using AgentMetal.Coordinator.Consoles;
using AgentMetal.Coordinator.Tests.Kit;
using AgentMetal.Proto.V1;
using AgentMetal.Runtime.Consoles;
using Google.Protobuf;
using Grpc.Core;
using Xunit;

namespace AgentMetal.Coordinator.Tests.Consoles;

/// <summary>What the coordinator does with a console: brings two together, carries what they say, and ends what nobody needs. It has no kind of its own in it: a Redis stands for a machine.</summary>
public sealed class ConsoleBridgeTests : IAsyncLifetime
{
    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(30);

    private CoordinatorKit _kit = null!;
    private FakeNode _node = null!;
    private FakeStream _stream = null!;

    public async ValueTask InitializeAsync()
    {
        _kit = await CoordinatorKit.StartAsync();
        _node = await _kit.JoinAsync("edge-1");
        _stream = await _node.AttachAsync();
        await _kit.ApplyAsync(CoordinatorKit.Redis("hello"));
        await _kit.UntilAsync("hello", r => r?.Status.Members.Count == 1);
    }

    public async ValueTask DisposeAsync()
    {
        await _stream.DisposeAsync();
        await _kit.DisposeAsync();
    }

    [Fact]
    public async Task Session_OpenedByTheHost_CarriesBothWaysAndTellsWhoWasLetIn()
    {
        await using var call = new Caller(_kit.Operator);
        await using var host = await HostAsync(call);
        await host.SendAsync(new() { Offer = new() { Nonce = "n", ResourceKey = "Redis default/hello" } }, TestContext.Current.CancellationToken);
        Assert.Equal("n", (await call.NextAsync()).Offer.Nonce);
        await call.SendAsync(new() { Opening = new() { KeyId = new string('a', 64), Force = true } }, TestContext.Current.CancellationToken);
        Assert.True((await host.NextAsync()).Opening.Force);
        await host.SendAsync(new() { Answer = new() { ResourceKey = "Redis default/hello" } }, TestContext.Current.CancellationToken);
        Assert.Equal("Redis default/hello", (await call.NextAsync()).Answer.ResourceKey);
        await call.SendAsync(Sealed("typed"), TestContext.Current.CancellationToken);
        Assert.Equal("typed", (await host.NextAsync()).Sealed.ToStringUtf8());
        await host.SendAsync(Sealed("said"), TestContext.Current.CancellationToken);
        Assert.Equal("said", (await call.NextAsync()).Sealed.ToStringUtf8());
        // The operator leaves: the host's call ends in order.
        await call.CompleteAsync();
        Assert.Null(await host.EndAsync());
        Assert.Null(await call.EndAsync());
        await EventAsync("ConsoleClosed", ", key aaaaaaaaaaaa, by force");
        await EventAsync("ConsoleOpened", "edge-1 let ");
    }

    [Fact]
    public async Task Host_Ends_TheOperatorSeesTheEnd()
    {
        await using var call = new Caller(_kit.Operator);
        await using var host = await HostAsync(call);
        await host.SendAsync(new() { Refusal = new() { Message = "no" } }, TestContext.Current.CancellationToken);
        Assert.Equal("no", (await call.NextAsync()).Refusal.Message);
        await host.CompleteAsync();
        Assert.Null(await call.EndAsync());
        Assert.DoesNotContain((await _kit.Operator.ListEventsAsync(new(), cancellationToken: CoordinatorKit.Stop)).Events, e => e.Reason == "ConsoleOpened");
    }

    [Fact]
    public async Task Operator_Vanishes_TheHostsCallEnds()
    {
        var call = new Caller(_kit.Operator);
        await using var host = await HostAsync(call);
        await call.DisposeAsync();
        Assert.Null(await host.EndAsync());
    }

    [Fact]
    public async Task Host_Vanishes_TheOperatorsCallEnds()
    {
        await using var call = new Caller(_kit.Operator);
        var host = await HostAsync(call);
        await host.SendAsync(new() { Offer = new() }, TestContext.Current.CancellationToken);
        await call.NextAsync();
        await host.DisposeAsync();
        Assert.Null(await call.EndAsync());
    }

    [Fact]
    public async Task Host_Away_IsSaidAtOnceWithWhatToDo()
    {
        await _stream.DisposeAsync();
        await EventAsync("NodeAway", "edge-1");
        await using var call = new Caller(_kit.Operator);
        var error = await call.EndAsync();
        Assert.Equal(StatusCode.FailedPrecondition, error?.StatusCode);
        Assert.Contains("agentmetal local console redis/hello", error?.Status.Detail, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Resource_ThatIsNone_IsNotFound()
    {
        await using var call = new Caller(_kit.Operator, "nobody");
        Assert.Equal(StatusCode.NotFound, (await call.EndAsync())?.StatusCode);
    }

    [Fact]
    public async Task Session_CalledByAnotherHost_IsNotItsToJoin()
    {
        var other = await _kit.JoinAsync("edge-2");
        await using var call = new Caller(_kit.Operator);
        var asked = await AskedAsync();
        await using var thief = new Caller(other, asked.Session);
        Assert.Null(await thief.EndAsync());
        await using var host = new Caller(_node, asked.Session);
        await host.SendAsync(new() { Offer = new() { Nonce = "mine" } }, TestContext.Current.CancellationToken);
        Assert.Equal("mine", (await call.NextAsync()).Offer.Nonce);
        // And it is called once.
        await using var second = new Caller(_node, asked.Session);
        Assert.Null(await second.EndAsync());
    }

    [Theory]
    [InlineData("answer")]
    [InlineData("offer")]
    [InlineData("long")]
    public async Task Message_ThatIsNotTheOperatorsToSend_EndsTheSession(string what)
    {
        await using var call = new Caller(_kit.Operator);
        await using var host = await HostAsync(call);
        await call.SendAsync(what switch { "answer" => new() { Answer = new() }, "offer" => new() { Offer = new() }, _ => Sealed(new string('x', ConsoleFrame.MaxFrame)) }, TestContext.Current.CancellationToken);
        // For what it is, and not because nothing was answered in time.
        Assert.Contains(what == "long" ? "longer than 16384 bytes" : "is not what comes next", (await call.EndAsync())?.Status.Detail, StringComparison.Ordinal);
        Assert.Null(await host.EndAsync());
    }

    [Fact]
    public async Task Sessions_AsManyAsAHostMayHave_RefuseOneMoreAndTakeItWhenOneEnds()
    {
        var open = new List<Caller>();
        for (var i = 0; i < ConsoleBridge.MaxPerNode; i++)
        {
            open.Add(new(_kit.Operator));
            await AskedAsync(i + 1);
        }
        await using (var more = new Caller(_kit.Operator))
        {
            var error = await more.EndAsync();
            Assert.Equal(StatusCode.ResourceExhausted, error?.StatusCode);
            Assert.Contains("8 consoles of edge-1", error?.Status.Detail, StringComparison.Ordinal);
        }
        await using (var host = new Caller(_node, (await AskedAsync(1)).Session))
        {
            await host.SendAsync(new() { Refusal = new() }, TestContext.Current.CancellationToken);
            await open[0].NextAsync();
            await host.CompleteAsync();
            Assert.Null(await open[0].EndAsync());
        }
        await using var next = new Caller(_kit.Operator);
        await AskedAsync(ConsoleBridge.MaxPerNode + 1);
        foreach (var caller in open) await caller.DisposeAsync();
    }

    [Fact]
    public async Task Operator_TakesNothingForAWhile_TheHostWaitsAndNothingIsLost()
    {
        await using var call = new Caller(_kit.Operator);
        await using var host = await HostAsync(call);
        var (frame, sent) = (Sealed(new string('x', 16_000)), 0);
        // Until a write waits for two seconds: then all that lies between is full.
        Task last;
        while (true)
        {
            last = host.SendAsync(frame, CoordinatorKit.Stop);
            sent++;
            if (await Task.WhenAny(last, Task.Delay(TimeSpan.FromSeconds(2), CoordinatorKit.Stop)) != last) break;
            Assert.InRange(sent, 1, (8 << 20) / 16_000);
        }
        // For as long as somebody looks at a page that fills a screen; then it goes on, and nothing of it is lost.
        await Task.Delay(TimeSpan.FromSeconds(12), CoordinatorKit.Stop);
        for (var read = 0; read < sent; read++) Assert.Equal(16_000, (await call.NextAsync()).Sealed.Length);
        await last;
    }

    private static ConsoleMessage Sealed(string text) => new() { Sealed = ByteString.CopyFromUtf8(text) };

    private async Task<ConsoleCall> AskedAsync(int number = 1)
    {
        await _stream.UntilAsync(s => s.Messages.Sum(m => m.Consoles.Count) >= number);
        return _stream.Messages.SelectMany(m => m.Consoles).ElementAt(number - 1);
    }

    private async Task<Caller> HostAsync(Caller call)
    {
        Assert.NotNull(call);
        return new(_node, (await AskedAsync()).Session);
    }

    private async Task EventAsync(string reason, string words)
    {
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(CoordinatorKit.Stop);
        limit.CancelAfter(s_patience);
        using var events = _kit.Operator.WatchEvents(new(), cancellationToken: limit.Token);
        await foreach (var e in events.ResponseStream.ReadAllAsync(limit.Token))
            if (e.Reason == reason && e.Message.Contains(words, StringComparison.Ordinal)) return;
    }

    /// <summary>One side of a session: an operator that asks, or a host that was called.</summary>
    private sealed class Caller : IAsyncDisposable
    {
        private readonly AsyncDuplexStreamingCall<ConsoleMessage, ConsoleMessage> _call;
        private readonly Task _first;
        private bool _disposed;

        public Caller(Operator.OperatorClient client, string name = "hello")
        {
            _call = client.Console(cancellationToken: CoordinatorKit.Stop);
            _first = _call.RequestStream.WriteAsync(new() { Target = new() { Kind = "redis", Name = name } }, CoordinatorKit.Stop);
        }

        public Caller(FakeNode node, string session)
        {
            _call = new NodeLink.NodeLinkClient(node.Channel()).Console(cancellationToken: CoordinatorKit.Stop);
            _first = _call.RequestStream.WriteAsync(new() { Session = session }, CoordinatorKit.Stop);
        }

        public async Task SendAsync(ConsoleMessage message, CancellationToken stop = default)
        {
            await _first;
            await _call.RequestStream.WriteAsync(message, stop);
        }

        public Task CompleteAsync() => _call.RequestStream.CompleteAsync();

        public async Task<ConsoleMessage> NextAsync()
        {
            Assert.True(await _call.ResponseStream.MoveNext(CoordinatorKit.Stop).WaitAsync(s_patience, CoordinatorKit.Stop));
            return _call.ResponseStream.Current;
        }

        /// <summary>Reads to the end; null when it ended well.</summary>
        public async Task<RpcException?> EndAsync()
        {
            try
            {
                while (await _call.ResponseStream.MoveNext(CoordinatorKit.Stop).WaitAsync(s_patience, CoordinatorKit.Stop)) { }
                return null;
            }
            catch (RpcException e) { return e; }
        }

        public async ValueTask DisposeAsync()
        {
            if (_disposed) return;
            _disposed = true;
            await _first.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            _call.Dispose();
        }
    }
}
