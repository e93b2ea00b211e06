using System.Diagnostics;
using System.Net.Sockets;
using System.Text;

namespace AgentMetal.LabTests.Fleets;

/// <summary>One write that a server acknowledged, by the machine's monotonic clock.</summary>
/// <param name="Key">Unique over all writers.</param>
/// <param name="Sent">Before it was sent.</param>
/// <param name="Acked">After the answer came.</param>
public sealed record AckedWrite(string Key, TimeSpan Sent, TimeSpan Acked);

/// <summary>Writes one key after the other to one server, as fast as it answers, and keeps what was acknowledged.</summary>
public sealed class RespWriter(string name, string address, int port, string password) : IAsyncDisposable
{
    private static readonly TimeSpan Patience = TimeSpan.FromMilliseconds(300);
    private static readonly long Origin = Stopwatch.GetTimestamp();

    private readonly CancellationTokenSource stopping = new();
    private readonly List<AckedWrite> acked = [];
    private Task writing = Task.CompletedTask;

    public IReadOnlyList<AckedWrite> Acked => acked;

    public void Start() => writing = Task.Run(RunAsync);

    /// <summary>Stops; after it <see cref="Acked"/> is whole.</summary>
    public async ValueTask DisposeAsync()
    {
        await stopping.CancelAsync();
        await writing;
        stopping.Dispose();
    }

    private async Task RunAsync()
    {
        for (var i = 0; !stopping.IsCancellationRequested;)
        {
            try
            {
                using var client = new TcpClient { NoDelay = true };
                await client.ConnectAsync(address, port, stopping.Token).AsTask().WaitAsync(Patience, stopping.Token);
                await AskAsync(client, $"AUTH {password}");
                while (!stopping.IsCancellationRequested)
                {
                    var (key, sent) = ($"{name}-{++i}", Stopwatch.GetElapsedTime(Origin));
                    if (await AskAsync(client, $"SET {key} {i}") == "+OK") acked.Add(new(key, sent, Stopwatch.GetElapsedTime(Origin)));
                    await Task.Delay(5, stopping.Token);
                }
            }
            catch (Exception e) when (e is SocketException or IOException or TimeoutException or OperationCanceledException)
            {
                // Not acknowledged is no promise; the next key tries again.
                if (!stopping.IsCancellationRequested) await Task.WhenAny(Task.Delay(50, stopping.Token));
            }
        }
    }

    private async Task<string> AskAsync(TcpClient client, string inline)
    {
        var stream = client.GetStream();
        await stream.WriteAsync(Encoding.ASCII.GetBytes(inline + "\r\n"), stopping.Token).AsTask().WaitAsync(Patience, stopping.Token);
        var buffer = new byte[512];
        var length = 0;
        while (length == 0 || buffer[length - 1] != '\n')
        {
            var read = await stream.ReadAsync(buffer.AsMemory(length), stopping.Token).AsTask().WaitAsync(Patience, stopping.Token);
            if (read == 0) throw new IOException("closed");
            length += read;
        }
        return Encoding.ASCII.GetString(buffer, 0, length).TrimEnd();
    }
}
