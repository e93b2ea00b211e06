using System.Collections.Immutable;
using System.Globalization;
using System.Net.Sockets;
using System.Text;

namespace AgentMetal.NodeAgent.Agents.Redis;

/// <summary>
/// Reads RESP2 replies from a socket. Everything is bounded, because what listens on a peer's port is whatever listens there: a reply of
/// more than <see cref="MaxReplyBytes"/>, deeper than <see cref="MaxDepth"/> or of more than <see cref="MaxItems"/> ends the connection.
/// </summary>
internal sealed class RespReader(Socket socket)
{
    /// <summary>Longest reply, all its parts together.</summary>
    internal const int MaxReplyBytes = 1024 * 1024;

    /// <summary>Most elements of one array.</summary>
    internal const int MaxItems = 4096;

    /// <summary>Arrays within arrays.</summary>
    internal const int MaxDepth = 4;

    private const int MaxLine = 16 * 1024;
    private static readonly TimeSpan Soon = TimeSpan.FromMilliseconds(2);

    private byte[] _buffer = new byte[4096];
    private int _start;
    private int _end;
    private int _budget;

    /// <summary>Bytes of the replies that were read.</summary>
    public long Taken { get; private set; }

    public ValueTask<RespReply> ReadAsync(RespLimit limit)
    {
        _budget = MaxReplyBytes;
        return ReadAsync(0, limit);
    }

    private async ValueTask<RespReply> ReadAsync(int depth, RespLimit limit)
    {
        var line = await LineAsync(limit).ConfigureAwait(false);
        if (line.Length == 0) throw Malformed("an empty line");
        var rest = line[1..];
        switch (line[0])
        {
            case '+': return new(RespKind.Simple, rest, 0, []);
            case '-': return new(RespKind.Error, rest, 0, []);
            case ':': return new(RespKind.Integer, rest, Number(rest), []);
            case '$': return await BulkAsync(Number(rest), limit).ConfigureAwait(false);
            case '*': return await ArrayAsync(Number(rest), depth, limit).ConfigureAwait(false);
            default: throw Malformed("an unknown type");
        }
    }

    private async ValueTask<RespReply> BulkAsync(long length, RespLimit limit)
    {
        if (length == -1) return new(RespKind.Null, "", 0, []);
        if (length < 0 || length > _budget) throw Malformed("a string that is too long");
        while (_end - _start < length + 2) await FillAsync((int)length + 2, limit).ConfigureAwait(false);
        var text = Encoding.UTF8.GetString(_buffer, _start, (int)length);
        if (_buffer[_start + length] != '\r' || _buffer[_start + length + 1] != '\n') throw Malformed("a string without its end");
        _start += (int)length + 2;
        _budget -= (int)length;
        Taken += length + 2;
        return new(RespKind.Bulk, text, 0, []);
    }

    private async ValueTask<RespReply> ArrayAsync(long count, int depth, RespLimit limit)
    {
        if (count == -1) return new(RespKind.Null, "", 0, []);
        if (count is < 0 or > MaxItems || depth >= MaxDepth) throw Malformed("an array that is too large");
        var items = ImmutableArray.CreateBuilder<RespReply>((int)count);
        for (var i = 0; i < count; i++) items.Add(await ReadAsync(depth + 1, limit).ConfigureAwait(false));
        return new(RespKind.Array, "", 0, items.MoveToImmutable());
    }

    private async ValueTask<string> LineAsync(RespLimit limit)
    {
        var seen = 0;
        while (true)
        {
            var at = _buffer.AsSpan(_start + seen, _end - _start - seen).IndexOf("\r\n"u8);
            if (at >= 0)
            {
                var line = Encoding.UTF8.GetString(_buffer, _start, seen + at);
                _start += seen + at + 2;
                _budget -= seen + at + 2;
                Taken += seen + at + 2;
                return line;
            }
            seen = Math.Max(0, _end - _start - 1); // The last byte may be half of the end of the line.
            if (seen > MaxLine || seen > _budget) throw Malformed("a line that is too long");
            await FillAsync(_end - _start + 1, limit).ConfigureAwait(false);
        }
    }

    /// <summary>Reads at least one byte more, with room for <paramref name="wanted"/> unread ones.</summary>
    private async ValueTask FillAsync(int wanted, RespLimit limit)
    {
        if (_start > 0)
        {
            Buffer.BlockCopy(_buffer, _start, _buffer, 0, _end - _start);
            (_start, _end) = (0, _end - _start);
        }
        if (wanted > _buffer.Length || _end == _buffer.Length) Array.Resize(ref _buffer, Math.Max(wanted, _buffer.Length * 2));
        // A server of this host answers in a tenth of a millisecond. Waiting here that long costs one switch of the core; handing the wait to the runtime's
        // event loop and coming back on another thread costs five, and a daemon that watches fifty members does little else.
        _ = socket.Poll(Soon, SelectMode.SelectRead);
        var read = await limit.Guard(socket.ReceiveAsync(_buffer.AsMemory(_end), limit.Token)).ConfigureAwait(false);
        if (read == 0) throw new RespException(RespFailure.Broken, "the server closed the connection");
        _end += read;
    }

    private static long Number(string text) =>
        long.TryParse(text, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out var number) ? number : throw Malformed("a length that is no number");

    private static RespException Malformed(string what) => new(RespFailure.Malformed, "not a Redis reply: " + what);
}
