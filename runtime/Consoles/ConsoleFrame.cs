using System.Buffers.Binary;
using System.Text;

namespace AgentMetal.Runtime.Consoles;

/// <summary>What a frame of a console session is.</summary>
public enum ConsoleFrameKind : byte
{
    /// <summary>The person's side asks for the console: how many lines of its log come first.</summary>
    Begin = 1,

    /// <summary>The host has opened the console; data follows.</summary>
    Opened = 2,

    /// <summary>Bytes of the console, either way.</summary>
    Data = 3,

    /// <summary>The last frame of its sender. A session that ends without one was cut.</summary>
    End = 4,
}

/// <summary>Why a session ended. The numbers are the wire's.</summary>
public enum ConsoleEnd : byte
{
    /// <summary>The machine's side ended: it stopped, or libvirt did.</summary>
    Guest = 0,

    /// <summary>The person left.</summary>
    Left = 1,

    /// <summary>Another took the console by force.</summary>
    Taken = 2,

    /// <summary>Nothing went either way for too long.</summary>
    Idle = 3,

    /// <summary>It could not be opened or kept; the text says why.</summary>
    Failed = 4,

    /// <summary>Whoever has it open was not named as one to be displaced.</summary>
    Busy = 5,

    /// <summary>The key that opened it is no longer one that may.</summary>
    Refused = 6,
}

/// <summary>The end of a session, with words.</summary>
/// <param name="Why">For programs.</param>
/// <param name="Message">For people; hostile until it is cleaned for a terminal.</param>
/// <param name="Next">What to run now; may be empty.</param>
public sealed record ConsoleEnding(ConsoleEnd Why, string Message, string Next);

/// <summary>
/// One frame of a console session: a byte that says what it is, then its payload. On the host's own socket a frame is preceded by its length (two bytes,
/// big-endian); between operator and host it is sealed whole (ARCHITECTURE.md, "Console").
/// </summary>
/// <param name="Kind">What it is.</param>
/// <param name="Payload">At most <see cref="MaxData"/> bytes.</param>
public sealed record ConsoleFrame(ConsoleFrameKind Kind, ReadOnlyMemory<byte> Payload)
{
    /// <summary>Longest frame on any wire, seal and all, in bytes.</summary>
    public const int MaxFrame = 16 * 1024;

    /// <summary>Longest payload: what is left for it beside the kind and the seal.</summary>
    public const int MaxData = MaxFrame - 64;

    /// <summary>Lines of the log that may be asked for.</summary>
    public const int MaxLines = 10_000;

    private const int MaxText = 1024;
    private const int LengthBytes = 2;

    /// <summary>The console is open.</summary>
    public static ConsoleFrame Opened { get; } = new(ConsoleFrameKind.Opened, default);

    /// <summary>Lines that a <see cref="ConsoleFrameKind.Begin"/> asks for, 0 to <see cref="MaxLines"/>.</summary>
    public int Lines => Kind == ConsoleFrameKind.Begin && Payload.Length >= 4 ? Math.Clamp(BinaryPrimitives.ReadInt32BigEndian(Payload.Span), 0, MaxLines) : 0;

    /// <summary>What an <see cref="ConsoleFrameKind.End"/> says; a number that this build does not know is a failure.</summary>
    public ConsoleEnding Ending
    {
        get
        {
            var bytes = Payload.Span;
            if (Kind != ConsoleFrameKind.End || bytes.IsEmpty) return new(ConsoleEnd.Failed, "", "");
            var text = Encoding.UTF8.GetString(bytes[1..]);
            var at = text.IndexOf('\n', StringComparison.Ordinal);
            var why = Enum.IsDefined((ConsoleEnd)bytes[0]) ? (ConsoleEnd)bytes[0] : ConsoleEnd.Failed;
            return at < 0 ? new(why, text, "") : new(why, text[..at], text[(at + 1)..]);
        }
    }

    public static ConsoleFrame Begin(int lines)
    {
        var payload = new byte[4];
        BinaryPrimitives.WriteInt32BigEndian(payload, Math.Clamp(lines, 0, MaxLines));
        return new(ConsoleFrameKind.Begin, payload);
    }

    public static ConsoleFrame Data(ReadOnlyMemory<byte> bytes) =>
        bytes.Length <= MaxData ? new(ConsoleFrameKind.Data, bytes) : throw new ArgumentOutOfRangeException(nameof(bytes), $"{bytes.Length} bytes, at most {MaxData}");

    public static ConsoleFrame End(ConsoleEnding ending)
    {
        ArgumentNullException.ThrowIfNull(ending);
        return new(ConsoleFrameKind.End, (byte[])[(byte)ending.Why, .. Encoding.UTF8.GetBytes(Line(ending.Message) + "\n" + Line(ending.Next))]);
    }

    /// <summary>The frame's bytes.</summary>
    public byte[] Encode() => [(byte)Kind, .. Payload.Span];

    /// <summary>The frame of these bytes; null where they are none.</summary>
    public static ConsoleFrame? Decode(ReadOnlyMemory<byte> bytes) =>
        bytes.Length is > 0 and <= MaxData + 1 && Enum.IsDefined((ConsoleFrameKind)bytes.Span[0]) ? new((ConsoleFrameKind)bytes.Span[0], bytes[1..]) : null;

    /// <summary>The next frame of a host's own socket; null where the other side is gone, or sent what is none.</summary>
    public static async ValueTask<ConsoleFrame?> ReadAsync(Stream socket, CancellationToken stop)
    {
        ArgumentNullException.ThrowIfNull(socket);
        try
        {
            var length = new byte[LengthBytes];
            await socket.ReadExactlyAsync(length, stop);
            var frame = new byte[BinaryPrimitives.ReadUInt16BigEndian(length)];
            await socket.ReadExactlyAsync(frame, stop);
            return Decode(frame);
        }
        catch (IOException) { return null; }
    }

    /// <summary>Sends it over a host's own socket, in one write.</summary>
    public ValueTask WriteAsync(Stream socket, CancellationToken stop)
    {
        ArgumentNullException.ThrowIfNull(socket);
        var framed = new byte[LengthBytes + 1 + Payload.Length];
        BinaryPrimitives.WriteUInt16BigEndian(framed, (ushort)(framed.Length - LengthBytes));
        framed[LengthBytes] = (byte)Kind;
        Payload.CopyTo(framed.AsMemory(LengthBytes + 1));
        return socket.WriteAsync(framed, stop);
    }

    private static string Line(string text) => (text.Length > MaxText ? text[..MaxText] : text).Replace('\n', ' ');
}
