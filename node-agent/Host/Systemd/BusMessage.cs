using System.Runtime.InteropServices;

namespace AgentMetal.NodeAgent.Host.Systemd;

/// <summary>
/// A message that was received, read from front to back. It is valid only inside the callback that was given it, on the
/// bus's own thread.
/// </summary>
internal readonly unsafe struct BusMessage(nint message)
{
    /// <summary>Object path a signal comes from, or empty.</summary>
    internal string Path => Marshal.PtrToStringUTF8(SdBus.GetPath(message)) ?? "";

    /// <summary>Name of the signal or method, or empty.</summary>
    internal string Member => Marshal.PtrToStringUTF8(SdBus.GetMember(message)) ?? "";

    internal string ReadString() => ReadText((byte)'s');

    internal string ReadPath() => ReadText((byte)'o');

    internal uint ReadUInt32()
    {
        uint value;
        Check(SdBus.ReadBasic(message, (byte)'u', &value), "sd_bus_message_read_basic");
        return value;
    }

    internal int ReadInt32()
    {
        int value;
        Check(SdBus.ReadBasic(message, (byte)'i', &value), "sd_bus_message_read_basic");
        return value;
    }

    internal ulong ReadUInt64()
    {
        ulong value;
        Check(SdBus.ReadBasic(message, (byte)'t', &value), "sd_bus_message_read_basic");
        return value;
    }

    internal bool ReadBoolean()
    {
        int value;
        Check(SdBus.ReadBasic(message, (byte)'b', &value), "sd_bus_message_read_basic");
        return value != 0;
    }

    internal byte[] ReadBytes()
    {
        Check(SdBus.ReadArray(message, (byte)'y', out var data, out var size), "sd_bus_message_read_array");
        return new ReadOnlySpan<byte>((void*)data, checked((int)size)).ToArray();
    }

    internal List<string> ReadStrings()
    {
        var values = new List<string>();
        Check(SdBus.EnterContainer(message, (byte)'a', "s"), "sd_bus_message_enter_container");
        nint text;
        while (Check(SdBus.ReadBasic(message, (byte)'s', &text), "sd_bus_message_read_basic") > 0)
            values.Add(Marshal.PtrToStringUTF8(text) ?? "");
        Leave();
        return values;
    }

    /// <summary>Enters a container; false at the end of the array that holds it.</summary>
    internal bool Enter(char type, string contents) =>
        Check(SdBus.EnterContainer(message, (byte)type, contents), "sd_bus_message_enter_container") > 0;

    internal void Leave() => Check(SdBus.ExitContainer(message), "sd_bus_message_exit_container");

    internal void Skip(string types) => Check(SdBus.Skip(message, types), "sd_bus_message_skip");

    /// <summary>The error of a reply, or null when the reply is a success.</summary>
    internal (string Name, string Text, int Errno)? Error()
    {
        var error = SdBus.GetError(message);
        if (error is null || error->Name == 0)
            return null;

        return (Marshal.PtrToStringUTF8(error->Name) ?? "", Marshal.PtrToStringUTF8(error->Message) ?? "", SdBus.GetErrno(message));
    }

    private string ReadText(byte type)
    {
        nint text;
        Check(SdBus.ReadBasic(message, type, &text), "sd_bus_message_read_basic");
        return Marshal.PtrToStringUTF8(text) ?? "";
    }

    private static int Check(int result, string function) => result >= 0 ? result : throw SystemdException.Native(function, result);
}

/// <summary>A method call: where it goes and its arguments, in the order of the method's signature.</summary>
internal sealed record BusCall
{
    internal required string Destination { get; init; }

    internal required string Path { get; init; }

    internal required string Interface { get; init; }

    internal required string Member { get; init; }

    internal IReadOnlyList<BusArgument> Arguments { get; init; } = [];
}

/// <summary>One argument, of the few types that the methods we call take.</summary>
internal readonly record struct BusArgument
{
    private readonly object _value;

    private BusArgument(object value) => _value = value;

    public static implicit operator BusArgument(string value) => new(value);

    public static implicit operator BusArgument(int value) => new(value);

    public static implicit operator BusArgument(uint value) => new(value);

    public static implicit operator BusArgument(bool value) => new(value);

    public static implicit operator BusArgument(string[] value) => new(value);

    internal unsafe int AppendTo(SdMessageHandle message)
    {
        switch (_value)
        {
            case string text:
                return SdBus.AppendString(message, (byte)'s', text);
            case int number:
                return SdBus.AppendRaw(message, (byte)'i', &number);
            case uint number:
                return SdBus.AppendRaw(message, (byte)'u', &number);
            case bool flag:
                var asInt = flag ? 1 : 0;
                return SdBus.AppendRaw(message, (byte)'b', &asInt);
            case string[] texts:
                var result = SdBus.OpenContainer(message, (byte)'a', "s");
                foreach (var text in texts)
                    result = result < 0 ? result : SdBus.AppendString(message, (byte)'s', text);
                return result < 0 ? result : SdBus.CloseContainer(message);
            default:
                throw new InvalidOperationException($"No D-Bus type is known for {_value.GetType().Name}.");
        }
    }
}
