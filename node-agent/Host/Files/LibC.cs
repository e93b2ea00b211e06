using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace AgentMetal.NodeAgent.Host.Files;

/// <summary>The system calls of the file layer (section 2 and 3 of the manual), for Linux on x86-64 with glibc.</summary>
internal static unsafe partial class LibC
{
    // errno(3)
    internal const int Enoent = 2;
    internal const int Eexist = 17;
    internal const int Enotdir = 20;
    internal const int Enospc = 28;
    internal const int Eloop = 40;
    internal const int Edquot = 122;
    internal const int Erange = 34;

    // open(2)
    internal const int ReadOnly = 0;
    internal const int WriteOnly = 1;
    internal const int Create = 0x40;
    internal const int Exclusive = 0x80;
    internal const int NonBlocking = 0x800;
    internal const int DirectoryOnly = 0x10000;
    internal const int NoFollow = 0x20000;
    internal const int CloseOnExec = 0x80000;
    internal const int PathOnly = 0x200000;

    internal const int AtCurrent = -100;
    internal const int AtEmptyPath = 0x1000;
    internal const int AtNoFollow = 0x100;
    internal const int AtRemoveDirectory = 0x200;

    // inode(7)
    internal const uint KindMask = 0xF000;
    internal const uint KindDirectory = 0x4000;
    internal const uint KindFile = 0x8000;
    internal const uint KindSymlink = 0xA000;
    internal const uint ModeMask = 0xFFF;

    /// <summary>struct stat of bits/struct_stat.h for x86-64 (144 bytes).</summary>
    [StructLayout(LayoutKind.Sequential)]
    internal struct Stat
    {
        internal ulong Device;
        internal ulong Inode;
        internal ulong Links;
        internal uint Mode;
        internal uint Uid;
        internal uint Gid;
        internal int Padding;
        internal ulong SpecialDevice;
        internal long Size;
        internal long BlockSize;
        internal long Blocks;
        internal fixed long TimesAndReserved[9];

        /// <summary>st_ctim.</summary>
        internal readonly DateTimeOffset ChangedAt => DateTimeOffset.FromUnixTimeSeconds(TimesAndReserved[4]).AddTicks(TimesAndReserved[5] / 100);
    }

    /// <summary>struct statvfs of bits/statvfs.h for 64-bit (112 bytes).</summary>
    [StructLayout(LayoutKind.Sequential)]
    internal struct StatVfs
    {
        internal ulong BlockSize;
        internal ulong FragmentSize;
        internal ulong Blocks;
        internal ulong FreeBlocks;
        internal ulong AvailableBlocks;
        internal ulong Files;
        internal ulong FreeFiles;
        internal ulong AvailableFiles;
        internal ulong Id;
        internal ulong Flags;
        internal ulong MaxName;
        internal fixed int Reserved[6];
    }

    /// <summary>struct passwd of pwd.h.</summary>
    [StructLayout(LayoutKind.Sequential)]
    internal struct Passwd
    {
        internal nint Name;
        internal nint Password;
        internal uint Uid;
        internal uint Gid;
        internal nint Gecos;
        internal nint Directory;
        internal nint Shell;
    }

    internal static int Errno => Marshal.GetLastPInvokeError();

    // open(2), openat(2): variadic, the mode is passed like any integer in this ABI
    [LibraryImport("libc", EntryPoint = "open", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    internal static partial SafeFileHandle Open(string path, int flags, uint mode);

    [LibraryImport("libc", EntryPoint = "openat", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    internal static partial SafeFileHandle OpenAt(SafeFileHandle directory, string path, int flags, uint mode);

    // fstatat(2)
    [LibraryImport("libc", EntryPoint = "fstatat", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    internal static partial int StatAt(SafeFileHandle directory, string path, out Stat stat, int flags);

    [LibraryImport("libc", EntryPoint = "lstat", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    internal static partial int LStat(string path, out Stat stat);

    [LibraryImport("libc", EntryPoint = "fstat", SetLastError = true)]
    internal static partial int FStat(SafeFileHandle fd, out Stat stat);

    // read(2), write(2), fsync(2), fchmod(2), fchown(2), fchownat(2)
    [LibraryImport("libc", EntryPoint = "read", SetLastError = true)]
    internal static partial nint Read(SafeFileHandle fd, byte* buffer, nuint size);

    [LibraryImport("libc", EntryPoint = "write", SetLastError = true)]
    internal static partial nint Write(SafeFileHandle fd, byte* buffer, nuint size);

    [LibraryImport("libc", EntryPoint = "fsync", SetLastError = true)]
    internal static partial int FSync(SafeFileHandle fd);

    [LibraryImport("libc", EntryPoint = "fchmod", SetLastError = true)]
    internal static partial int FChMod(SafeFileHandle fd, uint mode);

    [LibraryImport("libc", EntryPoint = "fchown", SetLastError = true)]
    internal static partial int FChOwn(SafeFileHandle fd, uint uid, uint gid);

    [LibraryImport("libc", EntryPoint = "fchownat", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    internal static partial int FChOwnAt(SafeFileHandle directory, string path, uint uid, uint gid, int flags);

    // mkdirat(2), renameat(2), unlinkat(2)
    [LibraryImport("libc", EntryPoint = "mkdirat", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    internal static partial int MakeDirectoryAt(SafeFileHandle directory, string path, uint mode);

    [LibraryImport("libc", EntryPoint = "renameat", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    internal static partial int RenameAt(SafeFileHandle fromDirectory, string from, SafeFileHandle toDirectory, string to);

    [LibraryImport("libc", EntryPoint = "unlinkat", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    internal static partial int UnlinkAt(SafeFileHandle directory, string path, int flags);

    // statvfs(3), getpwnam_r(3)
    [LibraryImport("libc", EntryPoint = "statvfs", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    internal static partial int GetStatVfs(string path, out StatVfs result);

    [LibraryImport("libc", EntryPoint = "getpwnam_r", StringMarshalling = StringMarshalling.Utf8)]
    internal static partial int GetPasswd(string name, Passwd* passwd, byte* buffer, nuint size, out Passwd* result);
}
