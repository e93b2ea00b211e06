using System.Runtime.InteropServices;

namespace AgentMetal.NodeAgent.Host.Processes;

/// <summary>Gives memory that this process holds and does not use back to the system.</summary>
internal static partial class MemoryTrim
{
    /// <summary>Collects and decommits what is managed, then what the C library keeps for itself. Some ten milliseconds; call it seldom.</summary>
    public static void GiveBack()
    {
        GC.Collect(GC.MaxGeneration, GCCollectionMode.Aggressive, blocking: true, compacting: true);
        _ = MallocTrim(0);
    }

    /// <summary>malloc_trim(3) of the GNU C library; 1 = something was given back, 0 = nothing was left to give.</summary>
    [LibraryImport("libc", EntryPoint = "malloc_trim")]
    private static partial int MallocTrim(nuint keep);
}
