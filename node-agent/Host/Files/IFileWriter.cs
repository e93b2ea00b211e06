namespace AgentMetal.NodeAgent.Host.Files;

/// <summary>
/// Changes files of the host. No call follows a symbolic link in the last component. Expected refusals are outcomes.
/// </summary>
internal interface IFileWriter
{
    /// <summary>
    /// Replaces a file as a whole: temporary file beside it, owner, mode, content, fsync(2), rename(2), fsync of the
    /// directory. A reader sees the old or the new file, never half of one, also after a power cut.
    /// </summary>
    FileOutcome Write(string path, ReadOnlySpan<byte> content, FileOwnership ownership);

    /// <summary>
    /// Gives a file that another program wrote its place in the same directory: fsync(2), rename(2), fsync of the directory. After a power cut the place
    /// holds all of it or what was there before. Waits for the disk, however long that takes: half of it is no outcome.
    /// </summary>
    ValueTask<FileOutcome> PlaceAsync(string temporary, string path);

    /// <summary>Makes a directory, or sets owner and mode of one that is there. Its parent must exist.</summary>
    FileOutcome EnsureDirectory(string path, FileOwnership ownership);

    /// <summary>Sets owner and mode of a regular file or directory that is there.</summary>
    FileOutcome SetOwnership(string path, FileOwnership ownership);

    /// <summary>fsync(2) of a regular file or directory: what any process wrote to it outlives a power cut. Waits for the disk.</summary>
    FileOutcome Sync(string path);

    /// <summary>Gives a file or directory another name in the same directory; refused where something has that name.</summary>
    FileOutcome Rename(string path, string name);

    /// <summary>Removes a file or symbolic link (the link, not its target). Nothing there is Done.</summary>
    FileOutcome Delete(string path);

    /// <summary>
    /// Removes a directory with all it holds, deepest first, staying on one file system. Refused before anything is
    /// removed when it holds more than <paramref name="maxEntries"/>. Nothing there is Done.
    /// </summary>
    FileOutcome DeleteTree(string path, int maxEntries);

    /// <summary>
    /// Gives a directory and all it holds to an owner, without following links and on one file system. Refused before
    /// anything is changed when it holds more than <paramref name="maxEntries"/>.
    /// </summary>
    FileOutcome ChownTree(string path, uint uid, uint gid, int maxEntries);
}

/// <summary>Who owns a path and who may do what.</summary>
internal sealed record FileOwnership
{
    /// <summary>Owner.</summary>
    public required uint Uid { get; init; }

    /// <summary>Group.</summary>
    public required uint Gid { get; init; }

    /// <summary>Permission bits, at most 0o7777. The umask does not apply.</summary>
    public required uint Mode { get; init; }
}

/// <summary>How a change of a file ended.</summary>
internal enum FileResult
{
    /// <summary>It is as asked.</summary>
    Done,

    /// <summary>Something is there that must not be touched (a link, another kind, too much). Nothing was changed.</summary>
    Refused,

    /// <summary>The file system has no room (ENOSPC, EDQUOT).</summary>
    NoSpace,

    /// <summary>The kernel said no; <see cref="FileOutcome.Detail"/> names the call and the error.</summary>
    Failed,
}

/// <summary>The outcome of a change, with words for a person.</summary>
internal sealed record FileOutcome
{
    /// <summary>How it ended.</summary>
    public required FileResult Result { get; init; }

    /// <summary>errno(3) when the kernel said no, else 0.</summary>
    public int Errno { get; init; }

    /// <summary>One sentence that names the path.</summary>
    public string Detail { get; init; } = "";

    /// <summary>True when it is as asked.</summary>
    public bool IsDone => Result == FileResult.Done;

    /// <summary>The one outcome that needs no words.</summary>
    public static FileOutcome Done { get; } = new() { Result = FileResult.Done };
}
