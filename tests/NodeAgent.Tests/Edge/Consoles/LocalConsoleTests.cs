using System.Collections.Immutable;
using System.Net.Sockets;
using System.Text;
using System.Text.Json;
using AgentMetal.NodeAgent.Edge;
using AgentMetal.NodeAgent.Edge.Consoles;
using AgentMetal.NodeAgent.Pipeline;
using AgentMetal.Runtime.Consoles;
using AgentMetal.Runtime.Local;
using Microsoft.Extensions.Logging.Abstractions;

namespace AgentMetal.NodeAgent.Tests.Edge.Consoles;

/// <summary>The console over the host's own socket, through the socket.</summary>
public sealed class LocalConsoleTests : IAsyncDisposable
{
    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(20);

    private readonly string _folder = Directory.CreateTempSubdirectory("agentmetal-console-").FullName;
    private readonly CancellationTokenSource _stop = new();
    private readonly FakeConsoles _consoles = new();
    private readonly Task _running;

    public LocalConsoleTests()
    {
        var desk = new ConsoleDesk([_consoles], (_, _, _) => default, TimeProvider.System, NullLogger<ConsoleDesk>.Instance);
        var sources = new LocalSources
        {
            Node = () => new("edge-1", "n0", "1", 0, 0, 1, "s", 1),
            Link = () => new(false, default, "", null),
            Members = () => [.. new[] { "hello", "other" }.Select(n => new MemberView { Input = FakeConsoles.Input(n), Phase = "Converged" })],
            Held = _ => null,
            Approve = (_, _) => Task.FromResult(new DecisionAnswer(true, "")),
            Console = (member, force, peer, stop) => desk.ServeAsync(member, new("root", "", force), peer, stop),
        };
        _running = new LocalServer(SocketPath, sources, NullLogger<LocalServer>.Instance).RunAsync(_stop.Token);
    }

    private string SocketPath => Path.Combine(_folder, "s");

    private static CancellationToken Ct => TestContext.Current.CancellationToken;

    [Fact]
    public async Task Console_OverTheSocket_IsAnAnswerAndThenFramesBothWays()
    {
        using var peer = await AskAsync("hello", "edge-1");
        await peer.SendAsync(ConsoleFrame.Begin(5), Ct);
        Assert.Equal(ConsoleFrameKind.Opened, (await peer.ReceiveAsync(Ct))?.Kind);
        _consoles.Guests[0].Say("login: ");
        Assert.Equal("login: ", Encoding.UTF8.GetString((await peer.ReceiveAsync(Ct))!.Payload.Span));
        await peer.SendAsync(ConsoleFrame.Data("root\r"u8.ToArray()), Ct);
        Assert.Equal("root\r", await _consoles.Guests[0].TypedAsync());
        _consoles.Guests[0].Stop();
        Assert.Equal(ConsoleEnd.Guest, (await peer.ReceiveAsync(Ct))?.Ending.Why);
    }

    [Fact]
    public async Task Console_OfNobody_IsAnError() => (await AskAsync("nobody", "no member of \\u0022nobody\\u0022")).Dispose();

    [Fact]
    public async Task Consoles_AsManyAsThereMayBe_KeepNobodyFromAsking()
    {
        List<SocketConsole> open = [];
        for (var i = 0; i < LocalServer.MaxConsoles; i++) open.Add(await AskAsync("hello", "edge-1"));
        (await AskAsync("hello", "consoles are open on this host already")).Dispose();
        (await AskAsync("hello", "\"members\"", "status")).Dispose();
        foreach (var peer in open) peer.Dispose();
    }

    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        await _running.WaitAsync(s_patience, CancellationToken.None);
        _stop.Dispose();
        foreach (var stream in _streams) await stream.DisposeAsync();
        Directory.Delete(_folder, recursive: true);
    }

    private readonly List<NetworkStream> _streams = [];

    private async Task<SocketConsole> AskAsync(string resource, string answer, string call = "console")
    {
        var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        while (!File.Exists(SocketPath)) await Task.Delay(5, Ct);
        for (var tries = 0; ; tries++)
        {
            try
            {
                await socket.ConnectAsync(new UnixDomainSocketEndPoint(SocketPath), Ct);
                break;
            }
            catch (SocketException) when (tries < 100) { await Task.Delay(10, Ct); } // Bound, and not yet listening.
        }
        var stream = new NetworkStream(socket, ownsSocket: true);
        _streams.Add(stream);
        await stream.WriteAsync(Encoding.UTF8.GetBytes(JsonSerializer.Serialize(new(call, resource), LocalJson.Default.LocalRequest) + "\n"), Ct);
        var line = new List<byte>();
        var one = new byte[1];
        while (await stream.ReadAsync(one, Ct).AsTask().WaitAsync(s_patience, Ct) == 1 && one[0] != '\n') line.Add(one[0]);
        Assert.Contains(answer, Encoding.UTF8.GetString([.. line]), StringComparison.Ordinal);
        return new(stream);
    }
}
