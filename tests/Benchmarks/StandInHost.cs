using System.Globalization;
using AgentMetal.NodeAgent.Edge;
using AgentMetal.NodeAgent.Edge.Enrol;
using AgentMetal.NodeAgent.Edge.Identity;
using AgentMetal.Proto.V1;
using AgentMetal.Runtime.Trust;
using AgentMetal.Testing;
using Grpc.Core;
using Grpc.Net.Client;

namespace AgentMetal.Benchmarks;

/// <summary>Joins and attaches as a host does, with a key and a certificate of its own, and says of every member it is given that it is converged. Runs nothing.</summary>
internal sealed class StandInHost : IAsyncDisposable
{
    private static readonly TimeSpan Beat = TimeSpan.FromSeconds(3);

    private readonly NodeIdentity _identity;
    private readonly GrpcChannel _channel;
    private readonly AsyncDuplexStreamingCall<NodeMessage, CoordinatorMessage> _call;
    private readonly SemaphoreSlim _writing = new(1, 1);
    private readonly CancellationTokenSource _stopping = new();
    private readonly Task _running;

    private StandInHost(NodeIdentity identity, GrpcChannel channel, Hello hello)
    {
        (_identity, _channel) = (identity, channel);
        _call = new NodeLink.NodeLinkClient(channel).Attach(cancellationToken: _stopping.Token);
        _running = Task.WhenAll(ServeAsync(hello), BeatAsync());
    }

    public static async Task<StandInHost> AttachAsync(ControlPlane control, int number, CancellationToken stop)
    {
        var name = string.Create(CultureInfo.InvariantCulture, $"stand-in-{number}");
        var token = JoinToken.Parse((await control.CliAsync(stop, "join-token", "create", "--name", name, "-o", "raw")).OrThrow().Stdout.Trim());
        var folder = new IdentityFolder(Path.Combine(control.Directory, name));
        var joined = await new Enrolment(folder, control.Address, () => DateTimeOffset.UtcNow)
            .JoinAsync(token.Value, name, "benchmark", new Dictionary<string, string>(), TimeSpan.FromSeconds(30), stop);
        if (!joined.IsTrusted) throw new LabException($"{name} could not join: {joined.Problem!.Message}");
        var identity = joined.Value;
        var hello = new Hello { NodeUid = identity.Peer.Uid, Name = name, Version = "benchmark", BootId = name };
        hello.Addresses.Add(string.Create(CultureInfo.InvariantCulture, $"10.0.0.{number + 1}"));
        hello.Kinds.Add("Redis");
        return new StandInHost(identity, CoordinatorChannel.Open(control.Address, identity.Root, identity, () => DateTimeOffset.UtcNow), hello);
    }

    public async ValueTask DisposeAsync()
    {
        await _stopping.CancelAsync();
        try { await _running; }
        catch (Exception e) when (e is RpcException or OperationCanceledException or InvalidOperationException)
        {
            // The stream's end, which was asked for.
        }
        _call.Dispose();
        _channel.Dispose();
        _identity.Dispose();
        _writing.Dispose();
        _stopping.Dispose();
    }

    private async Task ServeAsync(Hello hello)
    {
        await SendAsync(new NodeMessage { Hello = hello });
        await foreach (var message in _call.ResponseStream.ReadAllAsync(_stopping.Token))
        {
            if (message.Assignments.Count == 0) continue;
            var reports = new NodeMessage();
            foreach (var a in message.Assignments)
            {
                reports.Reports.Add(new MemberReport
                {
                    Assignment = a.Key,
                    Generation = a.Generation,
                    Status = new MemberStatus { Ordinal = a.Ordinal, Phase = "Converged", Summary = "primary" },
                });
            }
            await SendAsync(reports);
        }
    }

    private async Task BeatAsync()
    {
        while (true)
        {
            await Task.Delay(Beat, _stopping.Token);
            await SendAsync(new NodeMessage { Heartbeat = new Heartbeat { MonotonicMs = Environment.TickCount64 } });
        }
    }

    private async Task SendAsync(NodeMessage message)
    {
        await _writing.WaitAsync(_stopping.Token);
        try { await _call.RequestStream.WriteAsync(message, _stopping.Token); }
        finally { _writing.Release(); }
    }
}
