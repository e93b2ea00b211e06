using System.Security.Cryptography;
using System.Text;
using AgentMetal.Cli.Completion;
using AgentMetal.Cli.SerialConsole;
using AgentMetal.Cli.Tests.Support;
using AgentMetal.Proto.V1;
using AgentMetal.Runtime.Consoles;
using AgentMetal.Runtime.Trust;
using Google.Protobuf;
using Grpc.Core;
using Xunit;

namespace AgentMetal.Cli.Tests.SerialConsole;

/// <summary>`agentmetal console` in a pipe, over real mTLS, against a coordinator that plays the host as well: truly, or with malice.</summary>
public sealed class ConsoleCommandTests : IDisposable
{
    private const string Resource = "Instance default/hello";

    private readonly ECDsa _nodeKey = P256.Generate();
    private readonly MemoryStream _shown = new();
    private Runtime.Trust.ConsoleOpening? _opened;
    private string _typed = "";

    public void Dispose()
    {
        _nodeKey.Dispose();
        _shown.Dispose();
    }

    private string Shown => Encoding.UTF8.GetString(_shown.ToArray());

    [Fact]
    public async Task Console_OfATrueHost_TypesSealedAndShowsTheAnswer()
    {
        var (code, error) = await RunAsync(new(), "console", "instance/hello", "--wait", "1s");
        Assert.True(code == 0, error);
        Assert.Equal("ls\n", _typed);
        Assert.Equal("bin dev\r\n", Shown);
        Assert.False(_opened!.Force);
    }

    [Fact]
    public async Task Console_KindAndNameApart_IsTheSameAndForceIsSigned()
    {
        var (code, error) = await RunAsync(new(), "console", "instance", "hello", "--force", "--wait", "1s");
        Assert.True(code == 0, error);
        Assert.True(_opened!.Force);
    }

    [Fact]
    public async Task Answer_WithAKeyOfTheCoordinator_IsRefusedBeforeAnythingIsTyped()
    {
        using var own = P256.Generate();
        await RefusedAsync(new() { AnswerKey = own }, "was not signed by node edge-1");
    }

    [Fact]
    public Task Answer_WithAnotherSessionKey_IsRefused() => RefusedAsync(new() { SwapKey = true }, "was not signed by node edge-1");

    [Fact]
    public Task Offer_OfAnotherMachine_IsRefusedBeforeAnythingIsSigned() => RefusedAsync(new() { Resource = "Instance default/other" }, "Instance default/hello was asked for, and the console of Instance default/other is offered", signed: false);

    [Fact]
    public Task Answer_OfAnotherMachine_IsRefused() => RefusedAsync(new() { AnswerResource = "Instance default/other" }, "edge-1 has opened Instance default/other");

    [Fact]
    public Task Offer_WithoutACertificateOfTheFleet_IsRefused() => RefusedAsync(new() { OwnCertificate = true }, "", signed: false);

    [Fact]
    public Task Offer_OfAnotherUid_IsRefused() => RefusedAsync(new() { Uid = new string('1', 32) }, "another host's than its certificate", signed: false);

    [Fact]
    public Task Frame_Touched_EndsTheSession() => RefusedAsync(new() { Touch = true }, "was changed, left out or sent again", typed: true);

    [Fact]
    public async Task Host_Refuses_SaysItsWordsAndExits7()
    {
        var (code, error) = await RunAsync(new() { Refusal = new() { Message = "key is not in the approver set", Next = "use another" } }, "console", "instance/hello");
        Assert.Equal(7, code);
        Assert.Equal("error: key is not in the approver set\n  = next: use another\n", error);
    }

    [Fact]
    public async Task Console_KindThatIsNone_IsBadInput() => Assert.Equal(2, (await RunAsync(new(), "console", "machine/hello")).Code);

    [Fact]
    public async Task Console_LinesThatAreNone_IsBadInput() => Assert.Equal(2, (await RunAsync(new(), "console", "instance/hello", "--lines", "-1")).Code);

    [Fact]
    public async Task Tab_AfterConsole_KnowsTheMachines()
    {
        await using var fleet = await FakeCoordinator.StartAsync();
        fleet.Script.OnList = request =>
        {
            Assert.Equal("Instance", request.Kind);
            return new ListReply { Resources = { new Resource { Kind = "Instance", Metadata = new() { Name = "hello" } } } };
        };
        var line = $"agentmetal console --home {fleet.Home} --coordinator 127.0.0.1:{fleet.Port} inst";
        // The first handshake may take longer than the 300 ms that Tab may wait.
        for (var i = 0; i < 20; i++)
        {
            var words = CompletionCommand.Words(new Paper(clock: TimeProvider.System).Screen, line.Length, line).ToArray();
            if (words.Length < 2) continue;
            Assert.Equal(["instance", "instance/hello"], words);
            return;
        }
        Assert.Fail("no names within 20 tries");
    }

    private async Task RefusedAsync(Mischief mischief, string words, bool signed = true, bool typed = false)
    {
        var (code, error) = await RunAsync(mischief, "console", "instance/hello", "--wait", "1s");
        Assert.True(code == 7, $"{code}: {error}");
        Assert.Contains(words, error, StringComparison.Ordinal);
        Assert.Equal(signed, _opened is not null);
        if (!typed) Assert.Equal("", _typed);
        Assert.Equal("", Shown);
    }

    private async Task<(int Code, string Error)> RunAsync(Mischief mischief, params string[] args)
    {
        await using var fleet = await FakeCoordinator.StartAsync();
        fleet.Script.OnConsole = (from, to) => HostAsync(fleet, mischief, from, to);
        var port = new TerminalPort { In = new MemoryStream("ls\n"u8.ToArray()), Out = _shown, InIsTerminal = false, OutIsTerminal = false };
        var (code, _, error) = await fleet.RunAsync(args, port: () => port);
        return (code, error);
    }

    private async Task HostAsync(FakeCoordinator fleet, Mischief mischief, IAsyncStreamReader<ConsoleMessage> from, IServerStreamWriter<ConsoleMessage> to)
    {
        Assert.True(await from.MoveNext(default));
        Assert.Equal(new ConsoleTarget { Project = "default", Kind = "Instance", Name = "hello" }, from.Current.Target);
        if (mischief.Refusal is not null)
        {
            await to.WriteAsync(new() { Refusal = mischief.Refusal });
            return;
        }
        var request = SigningRequest.Parse(SigningRequest.Create(_nodeKey, "edge-1")).Value;
        var uid = NodeUid.From(request.Spki);
        var leaf = fleet.Authority.IssueNode(request, uid, "edge-1", DateTimeOffset.UtcNow, TimeSpan.FromDays(1), RandomNumberGenerator.Fill).Value;
        await to.WriteAsync(new()
        {
            Offer = new() { NodeUid = mischief.Uid ?? uid, ResourceUid = "uid-1", ResourceKey = mischief.Resource, Nonce = new string('5', 64), NodeCertificate = ByteString.CopyFrom(mischief.OwnCertificate ? [1, 2, 3] : leaf) },
        });
        if (!await from.MoveNext(default)) return;
        var o = from.Current.Opening;
        var opening = _opened = new()
        {
            NodeUid = o.NodeUid,
            ResourceUid = o.ResourceUid,
            SessionKey = o.SessionKey.ToByteArray(),
            Nonce = o.Nonce,
            ExpiresUnixMs = o.ExpiresUnixMs,
            Force = o.Force,
            KeyId = o.KeyId,
            Signature = o.Signature.ToByteArray(),
        };
        using var session = new ConsoleSessionKey();
        using var other = new ConsoleSessionKey();
        var answer = Runtime.Trust.ConsoleAnswer.Sign(mischief.AnswerKey ?? _nodeKey, opening, session.Spki, mischief.AnswerResource ?? mischief.Resource);
        await to.WriteAsync(new() { Answer = new() { SessionKey = ByteString.CopyFrom(mischief.SwapKey ? other.Spki : answer.SessionKey), ResourceKey = answer.ResourceKey, Signature = ByteString.CopyFrom(answer.Signature) } });
        using var seal = session.ForHost(opening, answer);
        await SpeakAsync(seal, mischief, from, to);
    }

    private async Task SpeakAsync(ConsoleSeal seal, Mischief mischief, IAsyncStreamReader<ConsoleMessage> from, IServerStreamWriter<ConsoleMessage> to)
    {
        while (await from.MoveNext(default))
        {
            var frame = ConsoleFrame.Decode(seal.Open(from.Current.Sealed.Span).Value)!;
            switch (frame.Kind)
            {
                case ConsoleFrameKind.Begin:
                    await to.WriteAsync(new() { Sealed = ByteString.CopyFrom(seal.Seal(ConsoleFrame.Opened.Encode())) });
                    break;
                case ConsoleFrameKind.Data:
                    _typed += Encoding.UTF8.GetString(frame.Payload.Span);
                    var bytes = seal.Seal(ConsoleFrame.Data("\e[1mbin\e[0m dev\r\n"u8.ToArray()).Encode());
                    if (mischief.Touch) bytes[3] ^= 1;
                    await to.WriteAsync(new() { Sealed = ByteString.CopyFrom(bytes) });
                    break;
                default:
                    return;
            }
        }
    }

    /// <summary>What a coordinator does that it should not.</summary>
    private sealed record Mischief
    {
        public string Resource { get; init; } = ConsoleCommandTests.Resource;
        public string? AnswerResource { get; init; }
        public string? Uid { get; init; }
        public ECDsa? AnswerKey { get; init; }
        public bool SwapKey { get; init; }
        public bool OwnCertificate { get; init; }
        public bool Touch { get; init; }
        public ConsoleRefusal? Refusal { get; init; }
    }
}
