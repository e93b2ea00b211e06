namespace AgentMetal.Runtime.Resources.Kinds;

/// <summary>Keys of what a member of Instance tells people of itself: whole numbers in bytes, bytes per second and percent; the rest is text. What is not known is left out.</summary>
public static class InstanceDetail
{
    /// <summary>running, off, paused.</summary>
    public const string Power = "power";

    /// <summary>Addresses of the guest, with a comma between.</summary>
    public const string Addresses = "addresses";

    /// <summary>kvm, or qemu for emulation.</summary>
    public const string Accelerator = "accelerator";

    /// <summary>How far a download is; of a running step <see cref="Progress"/> says it.</summary>
    public const string Download = "download";

    /// <summary>What a step that runs is doing.</summary>
    public const string Progress = "progress";

    /// <summary>Virtual processors, and how much of them is used.</summary>
    public const string Cpus = "cpus", CpuPercent = "cpuPercent";

    /// <summary>What its process takes of the host's memory, and what the guest has.</summary>
    public const string MemoryUsed = "memoryUsed", MemoryAssigned = "memoryAssigned";

    /// <summary>Of all its disks together.</summary>
    public const string DiskRead = "diskReadPerSecond", DiskWritten = "diskWrittenPerSecond", DiskAllocated = "diskAllocated";

    /// <summary>Of all its cards together.</summary>
    public const string Received = "networkReceivedPerSecond", Sent = "networkSentPerSecond";

    /// <summary>Files of disks in its directory that it does not use: taken out of the list, or replaced.</summary>
    public const string Unused = "unused disks";

    /// <summary>The last lines of its console, each without control characters; spec.consoleInStatus: false leaves them out.</summary>
    public const string Console = "console";
}
