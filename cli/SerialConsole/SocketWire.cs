using System.Net.Sockets;
using System.Text;
using System.Text.Json;
using AgentMetal.Cli.CommandLine;
using AgentMetal.Cli.Local;
using AgentMetal.Runtime.Consoles;
using AgentMetal.Runtime.Local;

namespace AgentMetal.Cli.SerialConsole;

/// <summary>A console over the socket of the agentmetald of this host: no coordinator and no network.</summary>
internal sealed class SocketWire : IConsoleWire, IDisposable
{
    private const int LongestAnswer = 64 * 1024;

    private readonly NetworkStream _stream;

    private SocketWire(NetworkStream stream, string title) => (_stream, Title) = (stream, title);

    public string Title { get; }

    internal static async Task<SocketWire> OpenAsync(string path, string resource, bool force, TimeSpan atMost, CancellationToken stop)
    {
        using var deadline = CancellationTokenSource.CreateLinkedTokenSource(stop);
        deadline.CancelAfter(atMost);
        var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        try
        {
            var answer = await LocalClient.GuardedAsync(path, atMost, async () =>
            {
                await socket.ConnectAsync(new UnixDomainSocketEndPoint(path), deadline.Token);
                byte[] line = [.. JsonSerializer.SerializeToUtf8Bytes(new LocalRequest("console", resource, Force: force ? true : null), LocalJson.Default.LocalRequest), (byte)'\n'];
                for (var sent = 0; sent < line.Length;) sent += await socket.SendAsync(line.AsMemory(sent), deadline.Token);
                return JsonSerializer.Deserialize(await ReadLineAsync(socket, deadline.Token), LocalJson.Default.LocalAnswer) ?? new LocalAnswer { Error = "the answer is empty" };
            }, stop);
            if (answer.Error is { } error) throw new CommandFailedException(new(ExitCode.NotFound, error, "agentmetal local status"));
            return new SocketWire(new NetworkStream(socket, ownsSocket: true), answer.Node is { } node ? $"{resource} on {node.Name}" : resource);
        }
        catch
        {
            socket.Dispose();
            throw;
        }
    }

    public ValueTask<ConsoleFrame?> ReceiveAsync(CancellationToken stop) => ConsoleFrame.ReadAsync(_stream, stop);

    public ValueTask SendAsync(ConsoleFrame frame, CancellationToken stop) => frame.WriteAsync(_stream, stop);

    public void Dispose() => _stream.Dispose();

    // Byte by byte: what follows the line is the session's.
    private static async Task<string> ReadLineAsync(Socket socket, CancellationToken stop)
    {
        var line = new MemoryStream();
        var one = new byte[1];
        while (await socket.ReceiveAsync(one, stop) == 1 && one[0] != (byte)'\n')
        {
            line.WriteByte(one[0]);
            if (line.Length > LongestAnswer) throw new JsonException($"the answer is longer than {LongestAnswer} bytes");
        }
        return Encoding.UTF8.GetString(line.GetBuffer(), 0, (int)line.Length);
    }
}
