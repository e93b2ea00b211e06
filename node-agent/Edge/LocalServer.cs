using System.Collections.Immutable;
using System.Net.Sockets;
using System.Text;
using System.Text.Json;
using AgentMetal.NodeAgent.Edge.Consoles;
using AgentMetal.NodeAgent.Pipeline;
using AgentMetal.Runtime.Local;
using AgentMetal.Runtime.Trust;
using Microsoft.Extensions.Logging;

namespace AgentMetal.NodeAgent.Edge;

/// <summary>What the socket answers from.</summary>
internal sealed record LocalSources
{
    public required Func<LocalNode> Node { get; init; }
    public required Func<LinkView> Link { get; init; }
    public required Func<ImmutableArray<MemberView>> Members { get; init; }

    /// <summary>What a member holds, signed, as a protobuf message Held; null when it holds nothing.</summary>
    public required Func<MemberView, byte[]?> Held { get; init; }

    /// <summary>Takes a decision carried by hand; the executor verifies it as any.</summary>
    public required Func<SignedApproval, CancellationToken, Task<DecisionAnswer>> Approve { get; init; }

    /// <summary>Takes an operator's statement carried by hand; why it is not taken, or null.</summary>
    public Func<byte[], CancellationToken, Task<string?>>? State { get; init; }

    /// <summary>Why nothing is done on this host any more; null = it was not struck off, or nobody can say.</summary>
    public Func<string?>? StruckOff { get; init; }

    /// <summary>Pauses, stops or resumes members for the person behind the socket; null where that cannot be.</summary>
    public Func<ImmutableArray<MemberInput>, LocalRequest, SocketPeer, CancellationToken, Task<LocalAnswer?>>? Hands { get; init; }

    /// <summary>Serves the console of a member to whoever is behind the socket, until its end; null where there are no consoles.</summary>
    public Func<MemberInput, bool, IConsolePeer, CancellationToken, Task>? Console { get; init; }
}

/// <summary>
/// The host's own socket: what runs here and why not, without a coordinator. One request line, one answer, closed; a console's frames follow its answer.
/// The socket's mode is 0600: only root asks.
/// </summary>
internal sealed partial class LocalServer(string path, LocalSources sources, ILogger<LocalServer> log)
{
    private const int MaxClients = 8;
    private static readonly TimeSpan ClientDeadline = TimeSpan.FromSeconds(5);

    public async Task RunAsync(CancellationToken stop)
    {
        Directory.CreateDirectory(Path.GetDirectoryName(path)!);
        File.Delete(path); // A socket of an earlier daemon: systemd starts one of us at a time.
        using var listener = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        listener.Bind(new UnixDomainSocketEndPoint(path));
        File.SetUnixFileMode(path, UnixFileMode.UserRead | UnixFileMode.UserWrite);
        listener.Listen(MaxClients);
        using var clients = new SemaphoreSlim(MaxClients);
        while (!stop.IsCancellationRequested)
        {
            Socket client;
            try
            {
                await clients.WaitAsync(stop);
                client = await listener.AcceptAsync(stop);
            }
            catch (OperationCanceledException) { break; }
            _ = ServeAsync(client, stop).ContinueWith(_ => clients.Release(), CancellationToken.None, TaskContinuationOptions.None, TaskScheduler.Default);
        }
        File.Delete(path);
    }

    private async Task ServeAsync(Socket client, CancellationToken stop)
    {
        using var deadline = CancellationTokenSource.CreateLinkedTokenSource(stop);
        deadline.CancelAfter(ClientDeadline);
        var handedOver = false;
        try
        {
            var line = await ReadLineAsync(client, deadline.Token);
            var (request, refusal) = line is null ? (null, $"the request is longer than {LocalSocket.MaxRequest} bytes") : Parse(line);
            if (request?.Call == "console" && sources.Console is not null)
            {
                // A console lasts: it has no share in the clients that are served at once.
                handedOver = true;
                _ = ConsoleAsync(client, request, stop);
                return;
            }
            await SayAsync(client, refusal is null ? await AnswerAsync(request, client, deadline.Token) : new() { Error = refusal }, "", deadline.Token);
        }
        catch (Exception e) when (e is SocketException or OperationCanceledException) { LogClient(log, e.Message); }
        finally { if (!handedOver) client.Dispose(); }
    }

    private static (LocalRequest? Request, string? Refusal) Parse(string line)
    {
        try { return (JsonSerializer.Deserialize(line, LocalJson.Default.LocalRequest), null); }
        catch (JsonException e) { return (null, "not a request: " + e.Message); }
    }

    private static async Task SayAsync(Socket client, LocalAnswer answer, string end, CancellationToken stop)
    {
        byte[] bytes = [.. JsonSerializer.SerializeToUtf8Bytes(answer, LocalJson.Default.LocalAnswer), .. Encoding.UTF8.GetBytes(end)];
        for (var sent = 0; sent < bytes.Length;) sent += await client.SendAsync(bytes.AsMemory(sent), stop);
    }

    private async Task<LocalAnswer> AnswerAsync(LocalRequest? request, Socket client, CancellationToken stop)
    {
        switch (request?.Call)
        {
            case "status": return Describe(sources.Members());
            case "why":
                var found = sources.Members().Where(m => Names(m.Input, request.Resource ?? "")).ToImmutableArray();
                return found.IsEmpty
                    ? new() { Error = $"no member of \"{request.Resource}\" on this host; see: agentmetal local status" }
                    : Describe(found);
            case "held":
                ImmutableArray<byte[]> held = [.. sources.Members().Where(m => Names(m.Input, request.Resource ?? "")).Select(sources.Held).OfType<byte[]>()];
                return held.IsEmpty
                    ? new() { Error = $"nothing of \"{request.Resource}\" waits for a signature on this host; see: agentmetal local status" }
                    : new() { Node = sources.Node(), HeldPlans = held };
            case "approve": return await ApproveAsync(request.Approval, stop);
            case "state":
                if (request.Statement is not { } statement || sources.State is null) return new() { Error = "statement: is missing" };
                return await sources.State(statement, stop) is { } refused ? new() { Error = refused } : Describe(sources.Members());
            case "pause" or "stop" or "resume" when sources.Hands is { } hands:
                ImmutableArray<MemberInput> meant = [.. sources.Members().Where(m => !m.Gone && Names(m.Input, request.Resource ?? "")).Select(m => m.Input)];
                if (meant.IsEmpty) return new() { Error = $"no member of \"{request.Resource}\" on this host; see: agentmetal local status" };
                if (meant.Select(m => m.ResourceKey).Distinct(StringComparer.Ordinal).Count() > 1) return new() { Error = $"several resources are called \"{request.Resource}\"; name one as KIND/NAME", Refused = true };
                return await hands(meant, request, SocketPeer.Of(client), stop)
                    ?? Describe([.. sources.Members().Where(m => meant.Any(i => i.Key == m.Input.Key))]);
            default: return new() { Error = $"unknown call \"{request?.Call}\"; calls: status, why, held, approve, console, state, pause, stop, resume" };
        }
    }

    private async Task<LocalAnswer> ApproveAsync(LocalApproval? a, CancellationToken stop)
    {
        if (a is null || SignedApproval.ParseDecision(a.Decision) is not { } decision) return new() { Error = "approval: decision must be approve or deny" };
        var answer = await sources.Approve(new()
        {
            StepHashes = a.StepHashes,
            ResourceUid = a.ResourceUid,
            NodeUid = a.NodeUid,
            Decision = decision,
            IssuedUnixMs = a.IssuedUnixMs,
            ExpiresUnixMs = a.ExpiresUnixMs,
            Reason = a.Reason,
            KeyId = a.KeyId,
            Signature = a.Signature,
        }, stop);
        return answer.Accepted ? Describe(sources.Members()) with { Notice = answer.Message } : new() { Error = answer.Message, Refused = true };
    }

    private LocalAnswer Describe(ImmutableArray<MemberView> members)
    {
        var link = sources.Link();
        return new()
        {
            Node = sources.Node(),
            Link = new(link.Attached ? "Attached" : "Away", link.Since.ToUnixTimeMilliseconds(), link.Detail, link.NextTry?.ToUnixTimeMilliseconds() ?? 0, link.StoreRefused.Length > 0 ? link.StoreRefused : null, link.ClockWrong.Length > 0 ? link.ClockWrong : null, sources.StruckOff?.Invoke()),
            Members = [.. members.Where(m => !m.Gone).Select(Describe)],
        };
    }

    private static LocalMember Describe(MemberView v) => new()
    {
        Key = v.Input.Key,
        Resource = v.Input.ResourceKey,
        Ordinal = v.Input.Ordinal,
        Generation = v.Input.Generation,
        Phase = v.Phase,
        Summary = v.Summary,
        Blocker = v.Blocker,
        SinceUnixMs = v.Since.ToUnixTimeMilliseconds(),
        RetryUnixMs = v.RetryAt?.ToUnixTimeMilliseconds() ?? 0,
        NextCommand = Wire.NextCommand(v),
        Paused = v.Paused is { StruckOff: null } p ? new(p.Since.ToUnixTimeMilliseconds(), p.Uid, p.By, p.Reason, p.Stop, p.Progress) : null,
        Details = v.Details,
        Differences = [.. v.Differences.Select(d => d.Text), .. v.Drift.Select(d => "changed by hand, and left alone: " + d.Text)],
        Held = [.. v.Held.Select(s => new LocalHeldStep(s.Hash, s.Text, s.Risk.Level.ToString(), s.Risk.Reasons))],
        Events = [.. v.Events.Select(e => new LocalEvent(e.At.ToUnixTimeMilliseconds(), e.Reason, e.Message, e.Warning))],
    };

    /// <summary>"redis/sessions", "redis/default/sessions", "Redis default/sessions" or "sessions".</summary>
    private static bool Names(MemberInput input, string text)
    {
        var kind = input.ResourceKey.Split(' ')[0];
        return text.Equals(input.ResourceKey, StringComparison.OrdinalIgnoreCase) || text == input.Name
            || text.Equals($"{kind}/{input.Name}", StringComparison.OrdinalIgnoreCase)
            || text.Equals($"{kind}/{input.Project}/{input.Name}", StringComparison.OrdinalIgnoreCase);
    }

    private static async Task<string?> ReadLineAsync(Socket client, CancellationToken stop)
    {
        var buffer = new byte[4096];
        var line = new MemoryStream();
        while (line.Length <= LocalSocket.MaxRequest)
        {
            var read = await client.ReceiveAsync(buffer, stop);
            if (read == 0) break;
            line.Write(buffer, 0, read);
            if (buffer.AsSpan(0, read).Contains((byte)'\n')) break;
        }
        return line.Length > LocalSocket.MaxRequest ? null : Encoding.UTF8.GetString(line.GetBuffer(), 0, (int)line.Length).TrimEnd('\n', '\r');
    }

    [LoggerMessage(EventId = 1201, Level = LogLevel.Debug, Message = "local client: {Why}")]
    private static partial void LogClient(ILogger log, string why);
}
