using System.Collections.Immutable;
using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Text;

namespace AgentMetal.NodeAgent.Agents.Redis;

/// <summary>Where a server listens: a Unix socket of this host, or host and port.</summary>
internal sealed record RespEndpoint(string Host, int Port, string? SocketPath = null)
{
    public static RespEndpoint Unix(string path) => new("", 0, path);

    public override string ToString() => SocketPath ?? Host + ":" + Port.ToString(CultureInfo.InvariantCulture);
}

/// <summary>
/// A RESP2 client of the few commands that an operator of Redis needs. One connection, used by one caller at a time; every call has a
/// deadline, and a call that misses it leaves the connection unusable, because the late reply would answer the next command.
/// </summary>
internal sealed class RespClient : IDisposable
{
    private readonly Socket _socket;
    private readonly RespReader _reader;

    private RespClient(Socket socket)
    {
        _socket = socket;
        _reader = new(socket);
    }

    /// <exception cref="RespException">Refused, Unreachable, or Mute when the connection itself is not answered.</exception>
    public static async ValueTask<RespClient> ConnectAsync(RespEndpoint endpoint, TimeSpan deadline, CancellationToken ct)
    {
        using var limit = new RespLimit(deadline, ct);
        var socket = endpoint.SocketPath is null
            ? new Socket(SocketType.Stream, ProtocolType.Tcp) { NoDelay = true }
            : new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        try
        {
            await limit.Guard(endpoint.SocketPath is { } path ? socket.ConnectAsync(new UnixDomainSocketEndPoint(path), limit.Token)
                : socket.ConnectAsync(endpoint.Host, endpoint.Port, limit.Token)).ConfigureAwait(false);
            return new(socket);
        }
        catch (SocketException e)
        {
            socket.Dispose();
            throw new RespException(Refuses(e, endpoint) ? RespFailure.Refused : RespFailure.Unreachable, $"{endpoint}: {e.SocketErrorCode}", e);
        }
        catch (OperationCanceledException) when (!ct.IsCancellationRequested)
        {
            socket.Dispose();
            throw new RespException(RespFailure.Unreachable, $"{endpoint}: no answer to the connection request within {deadline.TotalMilliseconds:0} ms");
        }
        catch
        {
            socket.Dispose();
            throw;
        }
    }

    /// <summary>Sends one command and reads its reply. An error of the server is a reply.</summary>
    /// <exception cref="RespException">Mute, Broken or Malformed.</exception>
    public async ValueTask<RespReply> CallAsync(RespCommand command, TimeSpan deadline, CancellationToken ct) =>
        (await CallAsync([command], deadline, ct).ConfigureAwait(false))[0];

    /// <summary>Sends all commands at once and reads their replies; the deadline is for all of them.</summary>
    /// <exception cref="RespException">Mute, Broken or Malformed.</exception>
    public async ValueTask<ImmutableArray<RespReply>> CallAsync(ImmutableArray<RespCommand> commands, TimeSpan deadline, CancellationToken ct)
    {
        using var limit = new RespLimit(deadline, ct);
        return await WithinAsync(limit, commands, commands, deadline, ct).ConfigureAwait(false);
    }

    /// <summary>Sends all commands and reads the replies to the first few; the others are for <see cref="ReceiveAsync"/>, under a deadline of their own.</summary>
    /// <exception cref="RespException">Mute, Broken or Malformed.</exception>
    public async ValueTask<ImmutableArray<RespReply>> CallAsync(ImmutableArray<RespCommand> commands, int first, TimeSpan deadline, CancellationToken ct)
    {
        using var limit = new RespLimit(deadline, ct);
        return await WithinAsync(limit, commands, commands[..first], deadline, ct).ConfigureAwait(false);
    }

    /// <summary>Reads the replies to commands that were sent before.</summary>
    /// <exception cref="RespException">Mute, Broken or Malformed.</exception>
    public async ValueTask<ImmutableArray<RespReply>> ReceiveAsync(ImmutableArray<RespCommand> sent, TimeSpan deadline, CancellationToken ct)
    {
        using var limit = new RespLimit(deadline, ct);
        return await WithinAsync(limit, [], sent, deadline, ct).ConfigureAwait(false);
    }

    /// <summary>Bytes of all replies that were read.</summary>
    public long Taken => _reader.Taken;

    private async ValueTask<ImmutableArray<RespReply>> WithinAsync(RespLimit limit, ImmutableArray<RespCommand> send, ImmutableArray<RespCommand> read, TimeSpan deadline, CancellationToken ct)
    {
        var replies = ImmutableArray.CreateBuilder<RespReply>(read.Length);
        try
        {
            ReadOnlyMemory<byte> unsent = Encode(send);
            while (!unsent.IsEmpty) unsent = unsent[await limit.Guard(_socket.SendAsync(unsent, limit.Token)).ConfigureAwait(false)..];
            foreach (var command in read)
            {
                var reply = await _reader.ReadAsync(limit).ConfigureAwait(false);
                // A server quotes the arguments of a command it does not know.
                replies.Add(command.Sensitive && reply.IsError ? reply with { Text = reply.Code } : reply);
            }
            return replies.MoveToImmutable();
        }
        catch (OperationCanceledException) when (!ct.IsCancellationRequested)
        {
            throw new RespException(RespFailure.Mute, $"no reply within {deadline.TotalMilliseconds:0} ms");
        }
        catch (SocketException e)
        {
            throw new RespException(RespFailure.Broken, $"the connection was lost: {e.SocketErrorCode}", e);
        }
    }

    public void Dispose() => _socket.Dispose();

    private static bool Refuses(SocketException e, RespEndpoint endpoint) => e.SocketErrorCode == SocketError.ConnectionRefused
        || (endpoint.SocketPath is not null && e.SocketErrorCode is SocketError.AddressNotAvailable or SocketError.HostNotFound)
        || (endpoint.SocketPath is { } path && !File.Exists(path));

    private static byte[] Encode(ImmutableArray<RespCommand> commands)
    {
        using var bytes = new MemoryStream(256);
        foreach (var command in commands)
        {
            Line(bytes, '*', command.Words.Length);
            foreach (var word in command.Words)
            {
                var utf8 = Encoding.UTF8.GetBytes(word);
                Line(bytes, '$', utf8.Length);
                bytes.Write(utf8);
                bytes.Write("\r\n"u8);
            }
        }
        return bytes.ToArray();
    }

    private static void Line(MemoryStream bytes, char type, int number) =>
        bytes.Write(Encoding.ASCII.GetBytes(type + number.ToString(CultureInfo.InvariantCulture) + "\r\n"));
}
