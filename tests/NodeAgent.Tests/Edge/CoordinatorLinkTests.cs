using System.Buffers.Binary;
using System.IO.Pipelines;
using System.Net;
using System.Security.Cryptography;
using System.Threading.Channels;
using AgentMetal.NodeAgent.Edge;
using AgentMetal.NodeAgent.Pipeline;
using AgentMetal.NodeAgent.Tests.Pipeline;
using AgentMetal.Runtime.Trust;
using Google.Protobuf;
using Grpc.Net.Client;
using Microsoft.Extensions.Logging.Abstractions;
using V1 = AgentMetal.Proto.V1;
using static AgentMetal.NodeAgent.Tests.Pipeline.ControllerKit;

namespace AgentMetal.NodeAgent.Tests.Edge;

/// <summary>The link as a host lives with it: what a coordinator says is stored before it is acted on, and what it does not say deletes nothing.</summary>
public sealed class CoordinatorLinkTests : IAsyncDisposable
{
    private readonly ControllerKit _kit = new();
    private readonly LinkWriterTests.Chain _state = new(0);
    private readonly FakeCoordinator _coordinator = new();
    private readonly ECDsa _key = P256.Generate();
    private readonly CancellationTokenSource _stop = new();
    private readonly CoordinatorLink _link;
    private Task _running = Task.CompletedTask;

    public CoordinatorLinkTests()
    {
        var options = new LinkOptions
        {
            Coordinator = new("http://coordinator.test"),
            Name = "edge-0",
            Uid = "n0",
            Version = "1",
            Labels = new Dictionary<string, string>(),
            Facts = _ => new(new Dictionary<string, string>()),
            Addresses = () => ["10.0.0.1"],
            MinBackOff = TimeSpan.FromMilliseconds(10),
            MaxBackOff = TimeSpan.FromMilliseconds(20),
            Silence = TimeSpan.FromSeconds(30),
        };
        _link = new(options, _state, () => GrpcChannel.ForAddress("http://coordinator.test", new() { HttpHandler = _coordinator }), () => _key, TimeProvider.System, NullLogger<CoordinatorLink>.Instance);
        _link.Bind(_kit.Controller);
    }

    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        await _running.WaitAsync(TimeSpan.FromSeconds(20), CancellationToken.None);
        await _kit.DisposeAsync();
        _key.Dispose();
        _stop.Dispose();
        _coordinator.Dispose();
    }

    [Fact]
    public async Task FullListWithoutAMember_OrphansItAndDropsOnlyOneThatIsGone()
    {
        const string Gone = "n0/Toy/uid-2/0";
        _kit.Runner.Pass = (_, _, _) => Task.FromResult(Report() with { Gone = true });
        _kit.Controller.Assign(Input(Gone) with { Absent = true });
        await _kit.BeginAsync();
        await _kit.EndedAsync();
        await AttachAsync();
        await _coordinator.SayAsync(new() { Full = true, Revision = 7 });
        await UntilAsync(() => Said().Contains("saved 0, dropped " + Gone), "the full list was not stored: " + string.Join("; ", Said()));
        await UntilAsync(() => _kit.Controller.Members.Length == 1, "the one that is gone is still there");
        Assert.Equal(Key, _kit.Controller.Members[0].Input.Key);
        Assert.Contains(await HeardAsync(m => m.Events.Count > 0), m => m.Events.Any(e => e.Reason == "Orphaned"));
    }

    [Fact]
    public async Task Assignment_OfThisHost_IsStoredBeforeItIsActedOnAndAnothersIsIgnored()
    {
        _kit.Controller.Start();
        await AttachAsync();
        var before = -1;
        _state.Saving = () => before = _kit.Controller.Members.Length;
        await _coordinator.SayAsync(new() { Revision = 8, Assignments = { Assignment("n0"), Assignment("n7") } });
        await _kit.EndedAsync();
        Assert.Equal(0, before);
        Assert.Equal([Key], _kit.Controller.Members.Select(m => m.Input.Key));
    }

    [Fact]
    public async Task Assignment_OnAFullDisk_IsKeptTryingWhileTheHostStaysAndSaysWhy()
    {
        _kit.Controller.Start();
        await AttachAsync();
        var full = true;
        _state.Saving = () => { if (full) throw new LocalStoreException("the disk that holds local.db is full"); };
        await _coordinator.SayAsync(new() { Revision = 8, Assignments = { Assignment("n0") } });
        await HeardAsync(m => m.Heartbeat?.Trouble == "the disk that holds local.db is full");
        Assert.True(_link.View.Attached);
        Assert.Empty(_kit.Controller.Members);
        full = false;
        await _kit.EndedAsync();
        Assert.Equal([Key], _kit.Controller.Members.Select(m => m.Input.Key));
        await HeardAsync(m => m.Heartbeat is { Trouble: "" });
        Assert.True(_link.View.Attached);
    }

    [Fact]
    public async Task PauseAndApproval_FromTheCoordinator_ReachTheMember()
    {
        await _kit.BeginAsync();
        await AttachAsync();
        await _coordinator.SayAsync(new() { Pause = new() { Paused = true } });
        await _kit.EndedAsync();
        Assert.Equal(Runtime.Execution.Mode.Propose, _kit.Runner.Seen.Last().Mode);
        using var signer = P256.Generate();
        var approval = SignedApproval.Sign(signer, ApprovalDecision.Approve, [new string('a', 64)], "uid-1", new string('0', 32), DateTimeOffset.UtcNow.AddHours(1), "");
        await _coordinator.SayAsync(new()
        {
            Approvals =
            {
                new V1.Approval
                {
                    StepHashes = { approval.StepHashes }, ResourceUid = approval.ResourceUid, NodeUid = approval.NodeUid, Decision = "approve",
                    ExpiresUnixMs = approval.ExpiresUnixMs, KeyId = approval.KeyId, Signature = ByteString.CopyFrom(approval.Signature),
                },
            },
        });
        await _kit.EndedAsync();
        Assert.Equal(approval.KeyId, Assert.Single(_state.Approvals).KeyId);
    }

    [Fact]
    public async Task Turn_AloneOrWhenTheStreamEnds_IsRefusedAndNotWaitedFor()
    {
        // What a person signed for this very member goes without anybody to ask.
        Assert.Null(await _link.TakeAsync("a", TimeSpan.FromSeconds(1), true, TestContext.Current.CancellationToken));
        Assert.Contains("alone", await _link.TakeAsync("a", TimeSpan.FromSeconds(1), false, TestContext.Current.CancellationToken), StringComparison.Ordinal);
        await AttachAsync();
        var granted = _link.TakeAsync("a", TimeSpan.FromSeconds(1), false, TestContext.Current.CancellationToken).AsTask();
        var asked = (await HeardAsync(m => m.Turns.Count > 0))[^1].Turns[0];
        await _coordinator.SayAsync(new() { Turns = { new V1.TurnGrant { Id = asked.Id, Granted = true } } });
        Assert.Null(await granted);
        var cut = _link.TakeAsync("b", TimeSpan.FromSeconds(1), false, TestContext.Current.CancellationToken).AsTask();
        await HeardAsync(m => m.Turns.Count > 0);
        _coordinator.HangUp();
        Assert.Contains("went away", await cut, StringComparison.Ordinal);
    }

    private List<string> Said()
    {
        lock (_state.Log) return [.. _state.Log];
    }

    private async Task AttachAsync()
    {
        _running = _link.RunAsync(_stop.Token);
        await _coordinator.SayAsync(new() { Welcome = new() { StoreId = "store", Coordinator = "c", HeartbeatMs = 500 } });
        await UntilAsync(() => _link.View.Attached, "not attached: " + _link.View.Detail);
    }

    private async Task<List<V1.NodeMessage>> HeardAsync(Func<V1.NodeMessage, bool> last)
    {
        var heard = new List<V1.NodeMessage>();
        do heard.Add(await _coordinator.Heard.Reader.ReadAsync(TestContext.Current.CancellationToken).AsTask().WaitAsync(TimeSpan.FromSeconds(20), TestContext.Current.CancellationToken));
        while (!last(heard[^1]));
        return heard;
    }

    private static V1.Assignment Assignment(string node) => new()
    {
        Key = node + "/Toy/uid-1/0",
        Kind = "Toy",
        Project = "default",
        Name = "a",
        ResourceUid = "uid-1",
        Generation = 1,
        Spec = ByteString.CopyFromUtf8("{}"),
    };

    /// <summary>The other end of the stream, below gRPC: five bytes of prefix and a message (the gRPC wire protocol over HTTP/2).</summary>
    private sealed class FakeCoordinator : HttpMessageHandler
    {
        private readonly Channel<Pipe> _calls = Channel.CreateUnbounded<Pipe>();
        private Pipe? _call;

        public Channel<V1.NodeMessage> Heard { get; } = Channel.CreateUnbounded<V1.NodeMessage>();

        public async Task SayAsync(V1.CoordinatorMessage message)
        {
            var call = _call ??= await _calls.Reader.ReadAsync(TestContext.Current.CancellationToken).AsTask().WaitAsync(TimeSpan.FromSeconds(20), TestContext.Current.CancellationToken);
            var body = message.ToByteArray();
            var frame = new byte[5 + body.Length];
            BinaryPrimitives.WriteInt32BigEndian(frame.AsSpan(1), body.Length);
            body.CopyTo(frame, 5);
            await call.Writer.WriteAsync(frame, TestContext.Current.CancellationToken);
        }

        public void HangUp() => _call!.Writer.Complete(new IOException("cut"));

        protected override async Task<HttpResponseMessage> SendAsync(HttpRequestMessage request, CancellationToken cancellationToken)
        {
            var (up, down) = (new Pipe(), new Pipe());
            _ = request.Content!.CopyToAsync(up.Writer.AsStream(), CancellationToken.None);
            _ = ListenAsync(up.Reader.AsStream());
            await _calls.Writer.WriteAsync(down, cancellationToken);
            var response = new HttpResponseMessage(HttpStatusCode.OK) { Version = HttpVersion.Version20, RequestMessage = request, Content = new StreamContent(down.Reader.AsStream()) };
            response.Content.Headers.ContentType = new("application/grpc");
            return response;
        }

        private async Task ListenAsync(System.IO.Stream stream)
        {
            var prefix = new byte[5];
            try
            {
                while (true)
                {
                    await stream.ReadExactlyAsync(prefix);
                    var body = new byte[BinaryPrimitives.ReadInt32BigEndian(prefix.AsSpan(1))];
                    await stream.ReadExactlyAsync(body);
                    Heard.Writer.TryWrite(V1.NodeMessage.Parser.ParseFrom(body));
                }
            }
            catch (Exception e) when (e is IOException or OperationCanceledException)
            {
                // The host's end of the stream.
            }
        }
    }
}
