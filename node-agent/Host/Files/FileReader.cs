using System.Runtime.InteropServices;
using System.Security.Cryptography;

namespace AgentMetal.NodeAgent.Host.Files;

/// <summary>Reads files through libc, never following a link in the last component.</summary>
internal sealed class FileReader : IFileReader
{
    private const int MaxPasswdBuffer = 1024 * 1024;

    public Observed<FileState> Look(string path, bool hash = false)
    {
        PathRule.Require(path);
        if (!hash)
        {
            if (LibC.LStat(path, out var stat) == 0)
                return Observed<FileState>.Seen(StateOf(stat));

            return IsAbsence(LibC.Errno) ? Observed<FileState>.Seen(Absent) : Observed<FileState>.Unseen(Why("lstat", path));
        }

        var content = Open(path, FileLimits.MaxHashBytes, keepBytes: false);
        return content.IsSeen ? Observed<FileState>.Seen(content.Value.State) : Observed<FileState>.Unseen(content.WhyUnseen!);
    }

    public Observed<FileContent> Read(string path, int maxBytes)
    {
        PathRule.Require(path);
        ArgumentOutOfRangeException.ThrowIfNegative(maxBytes);
        return Open(path, maxBytes, keepBytes: true);
    }

    public Observed<FileContent> Head(string path, int bytes)
    {
        PathRule.Require(path);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(bytes);
        return Open(path, bytes, keepBytes: true, headOnly: true);
    }

    public Observed<FileContent> Tail(string path, int bytes)
    {
        PathRule.Require(path);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(bytes);
        return Open(path, bytes, keepBytes: true, tailOnly: true);
    }

    public Observed<Stream> Open(string path)
    {
        var look = Look(path);
        if (!look.IsSeen) return Observed<Stream>.Unseen(look.WhyUnseen!);
        if (look.Value.Kind != FileKind.File) return Observed<Stream>.Unseen(path + " is no regular file");
        try
        {
            return Observed<Stream>.Seen(new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete, 1 << 16, FileOptions.SequentialScan));
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return Observed<Stream>.Unseen(e.Message);
        }
    }

    public DateTimeOffset? ChangedAt(string path)
    {
        PathRule.Require(path);
        return LibC.LStat(path, out var stat) == 0 ? stat.ChangedAt : null;
    }

    public Observed<IReadOnlyList<string>> List(string path, int maxEntries)
    {
        PathRule.Require(path);
        try
        {
            var names = new List<string>();
            foreach (var entry in new DirectoryInfo(path).EnumerateFileSystemInfos("*", new EnumerationOptions { AttributesToSkip = 0, IgnoreInaccessible = false }))
            {
                if (names.Count == maxEntries)
                    return Observed<IReadOnlyList<string>>.Unseen($"{path} holds more than {maxEntries} entries");
                names.Add(entry.Name);
            }

            names.Sort(StringComparer.Ordinal);
            return Observed<IReadOnlyList<string>>.Seen(names);
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            return Observed<IReadOnlyList<string>>.Unseen($"{path} cannot be listed: {error.Message}");
        }
    }

    public Observed<SpaceState> Space(string path)
    {
        PathRule.Require(path);
        var existing = path;
        while (true)
        {
            if (LibC.GetStatVfs(existing, out var stat) == 0)
                return Observed<SpaceState>.Seen(SpaceOf(stat));

            if (LibC.Errno != LibC.Enoent || existing == "/")
                return Observed<SpaceState>.Unseen(Why("statvfs", existing));
            existing = Path.GetDirectoryName(existing) ?? "/";
        }
    }

    public unsafe Observed<UserState> User(string name)
    {
        ArgumentException.ThrowIfNullOrEmpty(name);
        for (var size = 4096; size <= MaxPasswdBuffer; size *= 4)
        {
            var buffer = new byte[size];
            fixed (byte* first = buffer)
            {
                LibC.Passwd passwd;
                var errno = LibC.GetPasswd(name, &passwd, first, (nuint)size, out var found);
                if (errno == LibC.Erange)
                    continue;
                if (found is not null)
                {
                    return Observed<UserState>.Seen(new UserState
                    {
                        Name = name,
                        Exists = true,
                        Uid = found->Uid,
                        Gid = found->Gid,
                        Home = Marshal.PtrToStringUTF8(found->Directory) ?? "",
                    });
                }

                // getpwnam_r(3) lists 0 and these as what libraries return for "no such user"; anything else is a failed look-up.
                return errno is 0 or LibC.Enoent or 3 or 9 or 1
                    ? Observed<UserState>.Seen(new UserState { Name = name, Exists = false })
                    : Observed<UserState>.Unseen($"getpwnam_r failed for {name} with errno {errno}");
            }
        }

        return Observed<UserState>.Unseen($"the entry of user {name} is longer than {MaxPasswdBuffer} bytes");
    }

    private static FileState Absent { get; } = new() { Kind = FileKind.Absent };

    private static unsafe Observed<FileContent> Open(string path, long maxBytes, bool keepBytes, bool headOnly = false, bool tailOnly = false)
    {
        // Non-blocking, so that a pipe put in a file's place cannot hold us.
        using var fd = LibC.Open(path, LibC.ReadOnly | LibC.NoFollow | LibC.CloseOnExec | LibC.NonBlocking, 0);
        if (fd.IsInvalid)
        {
            var errno = LibC.Errno;
            if (IsAbsence(errno))
                return Observed<FileContent>.Seen(new FileContent { State = Absent, Bytes = default });
            var why = Why("open", path);
            // A link, or a socket: what it is can be told without opening it.
            return LibC.LStat(path, out var other) == 0 && (other.Mode & LibC.KindMask) != LibC.KindFile
                ? Observed<FileContent>.Seen(new FileContent { State = StateOf(other), Bytes = default })
                : Observed<FileContent>.Unseen(why);
        }

        if (LibC.FStat(fd, out var stat) != 0)
            return Observed<FileContent>.Unseen(Why("fstat", path));
        var state = StateOf(stat);
        if (state.Kind != FileKind.File)
            return Observed<FileContent>.Seen(new FileContent { State = state, Bytes = default });
        if (headOnly)
            return Head(fd, path, state, (int)maxBytes);
        if (tailOnly)
            return Tail(fd, path, state, (int)maxBytes);
        if (state.Size > maxBytes)
            return TooLong(path, maxBytes);

        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        using var kept = new MemoryStream(keepBytes ? (int)state.Size : 0);
        var buffer = new byte[16 * 1024];
        var total = 0L;
        fixed (byte* first = buffer)
        {
            nint count;
            while ((count = LibC.Read(fd, first, (nuint)buffer.Length)) > 0)
            {
                if ((total += count) > maxBytes)
                    return TooLong(path, maxBytes);
                hash.AppendData(buffer, 0, (int)count);
                if (keepBytes)
                    kept.Write(buffer, 0, (int)count);
            }

            if (count < 0)
                return Observed<FileContent>.Unseen(Why("read", path));
        }

        state = state with { Size = total, Sha256 = Convert.ToHexStringLower(hash.GetHashAndReset()) };
        return Observed<FileContent>.Seen(new FileContent { State = state, Bytes = kept.ToArray() });
    }

    private static unsafe Observed<FileContent> Head(Microsoft.Win32.SafeHandles.SafeFileHandle fd, string path, FileState state, int bytes)
    {
        var buffer = new byte[(int)Math.Min(bytes, state.Size)];
        var total = 0;
        fixed (byte* first = buffer)
        {
            nint count;
            while (total < buffer.Length && (count = LibC.Read(fd, first + total, (nuint)(buffer.Length - total))) != 0)
            {
                if (count < 0)
                    return Observed<FileContent>.Unseen(Why("read", path));
                total += (int)count;
            }
        }

        return Observed<FileContent>.Seen(new FileContent { State = state, Bytes = buffer.AsMemory(0, total) });
    }

    private static Observed<FileContent> Tail(Microsoft.Win32.SafeHandles.SafeFileHandle fd, string path, FileState state, int bytes)
    {
        var buffer = new byte[(int)Math.Min(bytes, state.Size)];
        try
        {
            var count = RandomAccess.Read(fd, buffer, state.Size - buffer.Length);
            return Observed<FileContent>.Seen(new FileContent { State = state, Bytes = buffer.AsMemory(0, count) });
        }
        catch (IOException e)
        {
            return Observed<FileContent>.Unseen($"{path} cannot be read: {e.Message}");
        }
    }

    private static Observed<FileContent> TooLong(string path, long maxBytes) => Observed<FileContent>.Unseen($"{path} is longer than {maxBytes} bytes");

    // A parent that is a file holds nothing: there cannot be anything at the path.
    private static bool IsAbsence(int errno) => errno is LibC.Enoent or LibC.Enotdir;

    private static string Why(string call, string path) => $"{call} failed for {path} with errno {LibC.Errno}";

    private static SpaceState SpaceOf(LibC.StatVfs stat) => new()
    {
        TotalBytes = checked((long)(stat.Blocks * stat.FragmentSize)),
        AvailableBytes = checked((long)(stat.AvailableBlocks * stat.FragmentSize)),
        AvailableInodes = stat.Files == 0 ? long.MaxValue : (long)Math.Min(stat.AvailableFiles, long.MaxValue),
        IsReadOnly = (stat.Flags & 1) != 0,
    };

    internal static FileState StateOf(LibC.Stat stat) => new()
    {
        Kind = (stat.Mode & LibC.KindMask) switch
        {
            LibC.KindFile => FileKind.File,
            LibC.KindDirectory => FileKind.Directory,
            LibC.KindSymlink => FileKind.Symlink,
            _ => FileKind.Other,
        },
        Uid = stat.Uid,
        Gid = stat.Gid,
        Mode = stat.Mode & LibC.ModeMask,
        Size = (stat.Mode & LibC.KindMask) == LibC.KindFile ? stat.Size : 0,
    };
}

/// <summary>What every path given to this layer must be.</summary>
internal static class PathRule
{
    /// <exception cref="ArgumentException">The path is relative, has "." or ".." in it, ends in a slash, or holds a NUL.</exception>
    internal static void Require(string path)
    {
        ArgumentNullException.ThrowIfNull(path);
        if (path == "/")
            return;
        var parts = path.Split('/');
        if (path.Contains('\0') || parts.Length < 2 || parts[0].Length != 0 || parts.Skip(1).Any(static part => part is "" or "." or ".."))
            throw new ArgumentException($"\"{path}\" is not a plain absolute path: give it from / without ., .. or a slash at the end.", nameof(path));
    }
}
