using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace AgentMetal.NodeAgent.Edge.Identity;

/// <summary>An open directory, for fsync(2): .NET opens only files.</summary>
internal sealed partial class DirectoryHandle : SafeHandleZeroOrMinusOneIsInvalid
{
    private const int ReadOnlyDirectory = 0x10000 | 0x80000; // O_DIRECTORY | O_CLOEXEC, asm-generic/fcntl.h

    private DirectoryHandle(nint descriptor) : base(ownsHandle: true) => SetHandle(descriptor);

    /// <exception cref="IOException">With errno.</exception>
    public static DirectoryHandle Open(string path)
    {
        var descriptor = OpenFile(path, ReadOnlyDirectory);
        return descriptor >= 0 ? new DirectoryHandle(descriptor) : throw Error("open", path);
    }

    /// <exception cref="IOException">With errno.</exception>
    public void Sync()
    {
        if (SyncFile((int)handle) != 0)
            throw Error("fsync", "the identity directory");
    }

    protected override bool ReleaseHandle() => CloseFile((int)handle) == 0;

    private static IOException Error(string call, string path) => new($"{call} {path}: {Marshal.GetPInvokeErrorMessage(Marshal.GetLastPInvokeError())}");

    // open(2), fsync(2), close(2)
    [LibraryImport("libc", EntryPoint = "open", StringMarshalling = StringMarshalling.Utf8, SetLastError = true)]
    private static partial int OpenFile(string path, int flags);

    [LibraryImport("libc", EntryPoint = "fsync", SetLastError = true)]
    private static partial int SyncFile(int descriptor);

    [LibraryImport("libc", EntryPoint = "close", SetLastError = true)]
    private static partial int CloseFile(int descriptor);
}
