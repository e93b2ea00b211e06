using System.Buffers.Binary;
using System.Text;

namespace AgentMetal.NodeAgent.Host.Transfer;

/// <summary>What a target asks of a source.</summary>
internal enum Ask : byte
{
    Manifest = 1,
    Read = 2,
    Held = 3,
    Settled = 4,
}

/// <summary>What a source answers.</summary>
internal enum Answer : byte
{
    /// <summary>With a manifest or bytes; or: it is yours.</summary>
    Yes = 0,

    /// <summary>Not yet; with a byte of percent.</summary>
    Wait = 1,

    /// <summary>There is no such offer for you, or it has another manifest by now.</summary>
    No = 2,

    /// <summary>So many zero bytes, which are not sent.</summary>
    Zeros = 3,
}

/// <summary>
/// Requests and answers on a connection between hosts: four bytes of length (big endian), one of what it is, then the rest. One request, one answer; who
/// reads slowly is not sent more. Nothing in a request is a path: files are numbers within a manifest.
/// </summary>
internal static class Frames
{
    public const int MaxRequest = 128;
    public const int MaxAnswer = (1 << 20) + 64;
    public const int MaxRead = 1 << 20;
    public const int MachineLength = 36;
    private const int Header = 5;

    /// <summary>A side that says nothing for this long is not waited for.</summary>
    public static readonly TimeSpan Stall = TimeSpan.FromSeconds(60);

    public static byte[] Request(Ask ask, string machine, string manifest = "", int file = 0, long offset = 0, int count = 0)
    {
        var body = new byte[MachineLength + (ask == Ask.Manifest ? 0 : Manifest.IdLength) + (ask == Ask.Read ? 14 : 0)];
        Encoding.ASCII.GetBytes(machine, body);
        if (ask != Ask.Manifest) Encoding.ASCII.GetBytes(manifest, body.AsSpan(MachineLength));
        if (ask == Ask.Read)
        {
            var at = body.AsSpan(MachineLength + Manifest.IdLength);
            BinaryPrimitives.WriteUInt16BigEndian(at, (ushort)file);
            BinaryPrimitives.WriteInt64BigEndian(at[2..], offset);
            BinaryPrimitives.WriteInt32BigEndian(at[10..], count);
        }
        return body;
    }

    /// <summary>The parts of a request; null when it has not the form.</summary>
    public static (string Machine, string Manifest, int File, long Offset, int Count)? Read(Ask ask, ReadOnlySpan<byte> body)
    {
        if (!Enum.IsDefined(ask) || body.Length != MachineLength + (ask == Ask.Manifest ? 0 : Manifest.IdLength) + (ask == Ask.Read ? 14 : 0)) return null;
        var machine = Encoding.ASCII.GetString(body[..MachineLength]);
        if (ask == Ask.Manifest) return (machine, "", 0, 0, 0);
        var manifest = Encoding.ASCII.GetString(body.Slice(MachineLength, Manifest.IdLength));
        if (ask != Ask.Read) return (machine, manifest, 0, 0, 0);
        var at = body[(MachineLength + Manifest.IdLength)..];
        return (machine, manifest, BinaryPrimitives.ReadUInt16BigEndian(at), BinaryPrimitives.ReadInt64BigEndian(at[2..]), BinaryPrimitives.ReadInt32BigEndian(at[10..]));
    }

    public static async ValueTask WriteAsync(Stream stream, byte what, ReadOnlyMemory<byte> body, CancellationToken stop)
    {
        using var limit = Limit(stop);
        var header = new byte[Header];
        BinaryPrimitives.WriteInt32BigEndian(header, body.Length);
        header[4] = what;
        await stream.WriteAsync(header, limit.Token);
        if (body.Length > 0) await stream.WriteAsync(body, limit.Token);
        await stream.FlushAsync(limit.Token);
    }

    /// <summary>Reads one frame into the buffer.</summary>
    /// <returns>What it is and its length; null at the end of the stream.</returns>
    /// <exception cref="IOException">It is longer than the buffer, or ends in the middle.</exception>
    public static async ValueTask<(byte What, int Length)?> ReadAsync(Stream stream, byte[] buffer, CancellationToken stop)
    {
        using var limit = Limit(stop);
        var header = new byte[Header];
        var got = await stream.ReadAtLeastAsync(header, Header, throwOnEndOfStream: false, limit.Token);
        if (got == 0) return null;
        if (got < Header) throw new IOException("the other host ended the connection in the middle of a message");
        var length = BinaryPrimitives.ReadInt32BigEndian(header);
        if (length < 0 || length > buffer.Length) throw new IOException("the other host sent a message that is too long");
        await stream.ReadExactlyAsync(buffer.AsMemory(0, length), limit.Token);
        return (header[4], length);
    }

    private static CancellationTokenSource Limit(CancellationToken stop)
    {
        var limit = CancellationTokenSource.CreateLinkedTokenSource(stop);
        limit.CancelAfter(Stall);
        return limit;
    }
}
