using System.Net.Sockets;
using System.Text;
using System.Text.Json;
using AgentMetal.Cli.CommandLine;
using AgentMetal.Runtime.Local;

namespace AgentMetal.Cli.Local;

/// <summary>Asks the agentmetald of this host over its own socket: it answers with no coordinator and no network.</summary>
internal static class LocalClient
{
    private const int LargestAnswer = 16 * 1024 * 1024;

    internal static async Task<LocalAnswer> AskAsync(string path, LocalRequest request, TimeSpan atMost, CancellationToken stop)
    {
        using var deadline = CancellationTokenSource.CreateLinkedTokenSource(stop);
        deadline.CancelAfter(atMost);
        var answer = await GuardedAsync(path, atMost, async () =>
        {
            using var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
            await socket.ConnectAsync(new UnixDomainSocketEndPoint(path), deadline.Token);
            var line = JsonSerializer.SerializeToUtf8Bytes(request, LocalJson.Default.LocalRequest);
            if (line.Length >= LocalSocket.MaxRequest) throw new CommandFailedException(new(ExitCode.BadInput, $"the request is longer than {LocalSocket.MaxRequest} bytes", "approve fewer steps at once"));
            await SendAsync(socket, (byte[])[.. line, (byte)10], deadline.Token);
            return JsonSerializer.Deserialize(await ReadAsync(socket, deadline.Token), LocalJson.Default.LocalAnswer) ?? new LocalAnswer { Error = "the answer is empty" };
        }, stop);
        return answer.Error is null || answer.Confirm ? answer : throw new CommandFailedException(new(answer.Refused ? ExitCode.Refused : ExitCode.NotFound, answer.Error, "agentmetal local status"));
    }

    /// <summary>Turns every way in which a socket does not answer into words.</summary>
    internal static async Task<LocalAnswer> GuardedAsync(string path, TimeSpan atMost, Func<Task<LocalAnswer>> ask, CancellationToken stop)
    {
        try
        {
            return await ask();
        }
        catch (SocketException e)
        {
            throw new CommandFailedException(e.SocketErrorCode == SocketError.AccessDenied
                ? new(ExitCode.Refused, $"{path} is root's", "run it as root: sudo agentmetal local status")
                : new(ExitCode.Unreachable, $"no agentmetald answers at {path}: {(File.Exists(path) ? e.Message : "there is no such socket")}", "systemctl status agentmetald"));
        }
        catch (JsonException e)
        {
            throw new CommandFailedException(new(ExitCode.Failed, $"what answers at {path} is not an agentmetald of this version: {e.Message}", "agentmetald --version"));
        }
        catch (OperationCanceledException) when (!stop.IsCancellationRequested)
        {
            throw new CommandFailedException(new(ExitCode.TimedOut, $"agentmetald did not answer at {path} within {atMost.TotalSeconds:0} s", "systemctl status agentmetald"));
        }
    }

    private static async Task SendAsync(Socket socket, ReadOnlyMemory<byte> bytes, CancellationToken stop)
    {
        while (!bytes.IsEmpty) bytes = bytes[await socket.SendAsync(bytes, stop)..];
    }

    private static async Task<string> ReadAsync(Socket socket, CancellationToken stop)
    {
        var answer = new MemoryStream();
        var buffer = new byte[16 * 1024];
        int read;
        while ((read = await socket.ReceiveAsync(buffer, stop)) > 0)
        {
            answer.Write(buffer, 0, read);
            if (answer.Length > LargestAnswer) throw new JsonException($"the answer is longer than {LargestAnswer} bytes");
        }
        return Encoding.UTF8.GetString(answer.GetBuffer(), 0, (int)answer.Length);
    }
}
