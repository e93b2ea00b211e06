using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace AgentMetal.NodeAgent.Host.Systemd;

/// <summary>
/// The part of sd-bus(3) (libsystemd.so.0, header systemd/sd-bus.h) that this daemon uses. Functions return a negative
/// errno(3) on failure. A bus, its messages and its slots may be touched by one thread only.
/// </summary>
internal static unsafe partial class SdBus
{
    private const string Library = "libsystemd.so.0";

    // sd_bus_new(3), sd_bus_set_address(3), sd_bus_start(3)
    [LibraryImport(Library, EntryPoint = "sd_bus_new")]
    internal static partial int New(out SdBusHandle bus);

    [LibraryImport(Library, EntryPoint = "sd_bus_set_address", StringMarshalling = StringMarshalling.Utf8)]
    internal static partial int SetAddress(SdBusHandle bus, string address);

    [LibraryImport(Library, EntryPoint = "sd_bus_set_bus_client")]
    internal static partial int SetBusClient(SdBusHandle bus, int isClient);

    [LibraryImport(Library, EntryPoint = "sd_bus_start")]
    internal static partial int Start(SdBusHandle bus);

    // sd_bus_close(3)
    [LibraryImport(Library, EntryPoint = "sd_bus_close")]
    internal static partial void Close(nint bus);

    [LibraryImport(Library, EntryPoint = "sd_bus_unref")]
    internal static partial nint Unref(nint bus);

    // sd_bus_is_open(3), sd_bus_process(3), sd_bus_get_fd(3)
    [LibraryImport(Library, EntryPoint = "sd_bus_is_ready")]
    internal static partial int IsReady(SdBusHandle bus);

    [LibraryImport(Library, EntryPoint = "sd_bus_process")]
    internal static partial int Process(SdBusHandle bus, nint ret);

    [LibraryImport(Library, EntryPoint = "sd_bus_get_fd")]
    internal static partial int GetFd(SdBusHandle bus);

    [LibraryImport(Library, EntryPoint = "sd_bus_get_events")]
    internal static partial int GetEvents(SdBusHandle bus);

    [LibraryImport(Library, EntryPoint = "sd_bus_get_timeout")]
    internal static partial int GetTimeout(SdBusHandle bus, out ulong monotonicMicroseconds);

    // sd_bus_message_new_method_call(3), sd_bus_call(3), sd_bus_add_match(3), sd_bus_slot_ref(3)
    [LibraryImport(Library, EntryPoint = "sd_bus_message_new_method_call", StringMarshalling = StringMarshalling.Utf8)]
    internal static partial int NewMethodCall(SdBusHandle bus, out SdMessageHandle message, string destination, string path, string iface, string member);

    [LibraryImport(Library, EntryPoint = "sd_bus_call_async")]
    internal static partial int CallAsync(
        SdBusHandle bus, out SdSlotHandle slot, SdMessageHandle message, delegate* unmanaged[Cdecl]<nint, nint, nint, int> callback, nint userdata, ulong microseconds);

    [LibraryImport(Library, EntryPoint = "sd_bus_add_match_async", StringMarshalling = StringMarshalling.Utf8)]
    internal static partial int AddMatchAsync(
        SdBusHandle bus, out SdSlotHandle slot, string match, delegate* unmanaged[Cdecl]<nint, nint, nint, int> callback, nint installed, nint userdata);

    [LibraryImport(Library, EntryPoint = "sd_bus_slot_unref")]
    internal static partial nint SlotUnref(nint slot);

    [LibraryImport(Library, EntryPoint = "sd_bus_message_unref")]
    internal static partial nint MessageUnref(nint message);

    // sd_bus_message_append_basic(3), sd_bus_message_open_container(3)
    [LibraryImport(Library, EntryPoint = "sd_bus_message_append_basic", StringMarshalling = StringMarshalling.Utf8)]
    internal static partial int AppendString(SdMessageHandle message, byte type, string value);

    [LibraryImport(Library, EntryPoint = "sd_bus_message_append_basic")]
    internal static partial int AppendRaw(SdMessageHandle message, byte type, void* value);

    [LibraryImport(Library, EntryPoint = "sd_bus_message_open_container", StringMarshalling = StringMarshalling.Utf8)]
    internal static partial int OpenContainer(SdMessageHandle message, byte type, string contents);

    [LibraryImport(Library, EntryPoint = "sd_bus_message_close_container")]
    internal static partial int CloseContainer(SdMessageHandle message);

    // sd_bus_message_read_basic(3), sd_bus_message_enter_container(3), sd_bus_message_read_array(3), sd_bus_message_skip(3)
    [LibraryImport(Library, EntryPoint = "sd_bus_message_read_basic")]
    internal static partial int ReadBasic(nint message, byte type, void* value);

    [LibraryImport(Library, EntryPoint = "sd_bus_message_enter_container", StringMarshalling = StringMarshalling.Utf8)]
    internal static partial int EnterContainer(nint message, byte type, string contents);

    [LibraryImport(Library, EntryPoint = "sd_bus_message_exit_container")]
    internal static partial int ExitContainer(nint message);

    [LibraryImport(Library, EntryPoint = "sd_bus_message_read_array")]
    internal static partial int ReadArray(nint message, byte type, out nint data, out nuint size);

    [LibraryImport(Library, EntryPoint = "sd_bus_message_skip", StringMarshalling = StringMarshalling.Utf8)]
    internal static partial int Skip(nint message, string types);

    // sd_bus_message_get_error(3), sd_bus_message_get_signature(3): the strings belong to the message
    [LibraryImport(Library, EntryPoint = "sd_bus_message_get_error")]
    internal static partial ErrorView* GetError(nint message);

    [LibraryImport(Library, EntryPoint = "sd_bus_message_get_errno")]
    internal static partial int GetErrno(nint message);

    [LibraryImport(Library, EntryPoint = "sd_bus_message_get_path")]
    internal static partial nint GetPath(nint message);

    [LibraryImport(Library, EntryPoint = "sd_bus_message_get_member")]
    internal static partial nint GetMember(nint message);

    /// <summary>struct sd_bus_error of sd-bus.h.</summary>
    [StructLayout(LayoutKind.Sequential)]
    internal struct ErrorView
    {
        internal nint Name;
        internal nint Message;
        internal int NeedFree;
    }
}

/// <summary>A connection. Closed without flushing: a peer that reads nothing must not hold the thread.</summary>
internal sealed class SdBusHandle() : SafeHandleZeroOrMinusOneIsInvalid(true)
{
    protected override bool ReleaseHandle()
    {
        SdBus.Close(handle);
        SdBus.Unref(handle);
        return true;
    }
}

/// <summary>A message being built.</summary>
internal sealed class SdMessageHandle() : SafeHandleZeroOrMinusOneIsInvalid(true)
{
    protected override bool ReleaseHandle()
    {
        SdBus.MessageUnref(handle);
        return true;
    }
}

/// <summary>A pending reply or a match; released, its callback is never called again.</summary>
internal sealed class SdSlotHandle() : SafeHandleZeroOrMinusOneIsInvalid(true)
{
    protected override bool ReleaseHandle()
    {
        SdBus.SlotUnref(handle);
        return true;
    }
}
