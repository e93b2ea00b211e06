namespace AgentMetal.NodeAgent.Host.Files;

/// <summary>Reads files of the host; never changes one. Local and quick, hence synchronous. Paths are absolute.</summary>
internal interface IFileReader
{
    /// <summary>
    /// What is at a path, without following a symbolic link in its last component (open(2) O_NOFOLLOW). Nothing there
    /// is a seen <see cref="FileKind.Absent"/>; no permission to look, an I/O error, or a file over
    /// <see cref="FileLimits.MaxHashBytes"/> whose hash was asked for is unseen.
    /// </summary>
    Observed<FileState> Look(string path, bool hash = false);

    /// <summary>
    /// The bytes of a regular file and its attributes, from one open descriptor. A file longer than
    /// <paramref name="maxBytes"/> is unseen, never cut. Absent is seen, with no bytes.
    /// </summary>
    Observed<FileContent> Read(string path, int maxBytes);

    /// <summary>The first bytes of a regular file of any length, at most <paramref name="bytes"/>, and its attributes without a hash. Absent is seen, with no bytes.</summary>
    Observed<FileContent> Head(string path, int bytes);

    /// <summary>The last bytes of a regular file of any length, at most <paramref name="bytes"/>, and its attributes without a hash. Absent is seen, with no bytes.</summary>
    Observed<FileContent> Tail(string path, int bytes);

    /// <summary>A regular file from its beginning, to be read once and disposed; unseen when it is none, or cannot be opened.</summary>
    Observed<Stream> Open(string path);

    /// <summary>Names in a directory, sorted by ordinal; unseen when there are more than <paramref name="maxEntries"/>.</summary>
    Observed<IReadOnlyList<string>> List(string path, int maxEntries);

    /// <summary>Free space of the file system that holds a path, or its nearest existing parent (statvfs(3)).</summary>
    Observed<SpaceState> Space(string path);

    /// <summary>When what is at a path was changed last: its bytes, its attributes or its name (inode(7), ctime); null = it cannot be seen, or nothing is there.</summary>
    DateTimeOffset? ChangedAt(string path);

    /// <summary>A user by name (getpwnam_r(3)). A name nobody has is seen, with Exists false.</summary>
    Observed<UserState> User(string name);
}

/// <summary>Bounds of the file layer.</summary>
internal static class FileLimits
{
    /// <summary>Longest file whose hash is computed, in bytes: configuration, units and keys, never data.</summary>
    public const long MaxHashBytes = 16 * 1024 * 1024;
}

/// <summary>What is at a path.</summary>
internal enum FileKind
{
    /// <summary>Nothing.</summary>
    Absent,

    /// <summary>A regular file.</summary>
    File,

    /// <summary>A directory.</summary>
    Directory,

    /// <summary>A symbolic link, not followed.</summary>
    Symlink,

    /// <summary>A socket, device or pipe.</summary>
    Other,
}

/// <summary>A path's attributes (inode(7)).</summary>
internal sealed record FileState
{
    /// <summary>What is there.</summary>
    public required FileKind Kind { get; init; }

    /// <summary>Owner; 0 when absent.</summary>
    public uint Uid { get; init; }

    /// <summary>Group; 0 when absent.</summary>
    public uint Gid { get; init; }

    /// <summary>Permission bits with set-id and sticky, at most 0o7777.</summary>
    public uint Mode { get; init; }

    /// <summary>Length in bytes of a regular file, else 0.</summary>
    public long Size { get; init; }

    /// <summary>SHA-256 of a regular file's content, 64 lower-case hexadecimal digits; null unless asked for.</summary>
    public string? Sha256 { get; init; }

    /// <summary>True unless nothing is there.</summary>
    public bool Exists => Kind != FileKind.Absent;
}

/// <summary>A file's attributes and bytes.</summary>
internal sealed record FileContent
{
    /// <summary>Attributes, with the hash of <see cref="Bytes"/> for a regular file.</summary>
    public required FileState State { get; init; }

    /// <summary>All bytes; empty when absent.</summary>
    public required ReadOnlyMemory<byte> Bytes { get; init; }
}

/// <summary>Room on a file system.</summary>
internal sealed record SpaceState
{
    /// <summary>Size in bytes.</summary>
    public required long TotalBytes { get; init; }

    /// <summary>Bytes an unprivileged process may still use.</summary>
    public required long AvailableBytes { get; init; }

    /// <summary>Inodes an unprivileged process may still use; long.MaxValue where the file system has no such limit.</summary>
    public required long AvailableInodes { get; init; }

    /// <summary>True when it is mounted read-only.</summary>
    public required bool IsReadOnly { get; init; }
}

/// <summary>A user of the host.</summary>
internal sealed record UserState
{
    /// <summary>The name that was asked for.</summary>
    public required string Name { get; init; }

    /// <summary>True when the host has this user.</summary>
    public required bool Exists { get; init; }

    /// <summary>User id; 0 means nothing when Exists is false.</summary>
    public uint Uid { get; init; }

    /// <summary>Primary group id.</summary>
    public uint Gid { get; init; }

    /// <summary>Home directory.</summary>
    public string Home { get; init; } = "";
}
