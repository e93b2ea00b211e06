namespace AgentMetal.NodeAgent.Host.Files;

/// <summary>Makes names in a directory durable (fsync(2)): .NET opens only files.</summary>
internal static class DirectorySync
{
    private const int ReadOnlyDirectory = 0x10000 | 0x80000; // O_DIRECTORY | O_CLOEXEC, asm-generic/fcntl.h

    /// <exception cref="IOException">With errno.</exception>
    public static void Of(string path)
    {
        using var directory = LibC.Open(path, ReadOnlyDirectory, 0);
        if (directory.IsInvalid || LibC.FSync(directory) != 0) throw new IOException($"fsync {path}: errno {LibC.Errno}");
    }
}
