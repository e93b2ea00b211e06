using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace AgentMetal.NodeAgent.Host.Libvirt;

/// <summary>
/// Loads libvirt at its first use, once for the process: a host without it, or without a virtual machine, pays nothing. It is never unloaded,
/// because its threads and the event loop of GLib would not survive that.
/// </summary>
internal static unsafe class LibvirtLibrary
{
    /// <summary>The name of the library on every distribution (dlopen(3)).</summary>
    internal const string DefaultFile = Virt.Library;

    private static readonly Lock Gate = new();
    private static nint s_handle;
    private static string s_file = "";

    /// <summary>True when the library is loaded; else a sentence with the next command.</summary>
    internal static bool TryLoad(string file, out string why)
    {
        lock (Gate)
        {
            why = "";
            if (s_handle != 0 && file == s_file)
                return true;
            if (!NativeLibrary.TryLoad(file, out var handle))
            {
                why = $"libvirt is not installed: {file} cannot be loaded; install it with: apt-get install libvirt-daemon-system";
                return false;
            }

            if (s_handle != 0)
                return true;

            s_handle = handle;
            s_file = file;
            NativeLibrary.SetDllImportResolver(typeof(Virt).Assembly, static (name, _, _) => name == Virt.Library ? s_handle : 0);
            // The loop must be there before the first connection, or connections get neither events nor questions whether they live.
            if (Virt.Initialize() < 0 || Virt.EventRegisterDefault() < 0)
                throw LibvirtException.Last("virInitialize");

            // Without a handler the library prints every error to standard error itself.
            Virt.SetErrorFunction(null, &Quiet);
            return true;
        }
    }

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    private static void Quiet(void* userdata, void* error)
    {
    }
}
