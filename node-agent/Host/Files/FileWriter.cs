using Microsoft.Win32.SafeHandles;

namespace AgentMetal.NodeAgent.Host.Files;

/// <summary>
/// Changes files through libc. The parent directory is opened once and everything else is relative to it, so that what
/// was checked is what is changed.
/// </summary>
internal sealed class FileWriter : IFileWriter
{
    private const int MaxName = 200;

    public FileOutcome Write(string path, ReadOnlySpan<byte> content, FileOwnership ownership)
    {
        using var parent = OpenParent(path, out var name, out var refusal);
        if (refusal is not null)
            return refusal;
        if (Refusal(parent!, name, path, FileKind.File) is { } notOurs)
            return notOurs;

        // One name per file: what a crash left behind is replaced by the next write and never piles up.
        var temporary = $".{name}.agentmetal-new";
        if (LibC.UnlinkAt(parent!, temporary, 0) != 0 && LibC.Errno != LibC.Enoent)
            return Failed("unlinkat", path);
        using (var fd = LibC.OpenAt(parent!, temporary, LibC.WriteOnly | LibC.Create | LibC.Exclusive | LibC.NoFollow | LibC.CloseOnExec, 0x180))
        {
            if (fd.IsInvalid)
                return Failed("openat", path);
            if (Fill(fd, content, ownership, path) is { } failure)
            {
                _ = LibC.UnlinkAt(parent!, temporary, 0);
                return failure;
            }
        }

        if (LibC.RenameAt(parent!, temporary, parent!, name) != 0)
        {
            var failure = Failed("renameat", path);
            _ = LibC.UnlinkAt(parent!, temporary, 0);
            return failure;
        }

        // Until the directory is on disk, a power cut may bring the old file back.
        return LibC.FSync(parent!) == 0 ? FileOutcome.Done : Failed("fsync of the directory", path);
    }

    /// <summary>A large file takes its time, and the caller has others to serve meanwhile.</summary>
    public async ValueTask<FileOutcome> PlaceAsync(string temporary, string path) => await Task.Run(() => Place(temporary, path));

    public FileOutcome EnsureDirectory(string path, FileOwnership ownership)
    {
        using var parent = OpenParent(path, out var name, out var refusal);
        if (refusal is not null)
            return refusal;
        if (Refusal(parent!, name, path, FileKind.Directory) is { } notOurs)
            return notOurs;

        if (LibC.MakeDirectoryAt(parent!, name, 0x1C0) != 0 && LibC.Errno != LibC.Eexist)
            return Failed("mkdirat", path);
        if (Own(parent!, name, path, LibC.DirectoryOnly, ownership) is { } failure)
            return failure;
        return LibC.FSync(parent!) == 0 ? FileOutcome.Done : Failed("fsync of the directory", path);
    }

    public FileOutcome SetOwnership(string path, FileOwnership ownership)
    {
        using var parent = OpenParent(path, out var name, out var refusal);
        if (refusal is not null)
            return refusal;

        if (LibC.StatAt(parent!, name, out var stat, LibC.AtNoFollow) != 0)
            return Failed("fstatat", path);
        return FileReader.StateOf(stat).Kind is FileKind.File or FileKind.Directory
            ? Own(parent!, name, path, 0, ownership) ?? FileOutcome.Done
            : Refused($"{path} is neither a file nor a directory");
    }

    public FileOutcome Sync(string path)
    {
        using var parent = OpenParent(path, out var name, out var refusal);
        if (refusal is not null)
            return refusal;

        using var fd = LibC.OpenAt(parent!, name, LibC.ReadOnly | LibC.NoFollow | LibC.CloseOnExec | LibC.NonBlocking, 0);
        if (fd.IsInvalid)
            return Failed("openat", path);
        return LibC.FSync(fd) == 0 ? FileOutcome.Done : Failed("fsync", path);
    }

    public FileOutcome Rename(string path, string name)
    {
        using var parent = OpenParent(path, out var from, out var refusal);
        if (refusal is not null)
            return refusal;
        if (name.Length is 0 or > MaxName || name.Contains('/', StringComparison.Ordinal))
            return Refused($"{name} is no name for {path}");

        if (LibC.StatAt(parent!, name, out _, LibC.AtNoFollow) == 0)
            return Refused($"{path} does not become {name}: something has that name");
        if (LibC.RenameAt(parent!, from, parent!, name) != 0)
            return Failed("renameat", path);
        return LibC.FSync(parent!) == 0 ? FileOutcome.Done : Failed("fsync of the directory", path);
    }

    public FileOutcome Delete(string path)
    {
        using var parent = OpenParent(path, out var name, out var refusal);
        if (refusal is not null)
            return refusal.Errno == LibC.Enoent ? FileOutcome.Done : refusal;

        if (LibC.StatAt(parent!, name, out var stat, LibC.AtNoFollow) != 0)
            return LibC.Errno == LibC.Enoent ? FileOutcome.Done : Failed("fstatat", path);
        if (FileReader.StateOf(stat).Kind is not (FileKind.File or FileKind.Symlink))
            return Refused($"{path} is neither a file nor a link");
        if (LibC.UnlinkAt(parent!, name, 0) != 0 && LibC.Errno != LibC.Enoent)
            return Failed("unlinkat", path);
        return LibC.FSync(parent!) == 0 ? FileOutcome.Done : Failed("fsync of the directory", path);
    }

    public FileOutcome DeleteTree(string path, int maxEntries)
    {
        using var parent = OpenParent(path, out var name, out var refusal);
        if (refusal is not null)
            return refusal.Errno == LibC.Enoent ? FileOutcome.Done : refusal;

        if (LibC.StatAt(parent!, name, out var stat, LibC.AtNoFollow) != 0)
            return LibC.Errno == LibC.Enoent ? FileOutcome.Done : Failed("fstatat", path);
        if (FileReader.StateOf(stat).Kind != FileKind.Directory)
            return Refused($"{path} is not a directory");

        var tree = new FileTree(path, stat.Device, maxEntries);
        using (var root = FileTree.OpenDirectory(parent!, name))
        {
            if (root.IsInvalid)
                return Failed("openat", path);
            if (tree.Check(root, refuseHardLinks: false) is { } tooMuch)
                return tooMuch;
            if (tree.Delete(root) is { } failure)
                return failure;
        }

        if (LibC.UnlinkAt(parent!, name, LibC.AtRemoveDirectory) != 0 && LibC.Errno != LibC.Enoent)
            return Failed("unlinkat", path);
        return LibC.FSync(parent!) == 0 ? FileOutcome.Done : Failed("fsync of the directory", path);
    }

    public FileOutcome ChownTree(string path, uint uid, uint gid, int maxEntries)
    {
        using var parent = OpenParent(path, out var name, out var refusal);
        if (refusal is not null)
            return refusal;

        if (LibC.StatAt(parent!, name, out var stat, LibC.AtNoFollow) != 0)
            return Failed("fstatat", path);
        if (FileReader.StateOf(stat).Kind != FileKind.Directory)
            return Refused($"{path} is not a directory");

        var tree = new FileTree(path, stat.Device, maxEntries);
        using var root = FileTree.OpenDirectory(parent!, name);
        if (root.IsInvalid)
            return Failed("openat", path);
        // A second name of a file elsewhere, put here by a service, must not be given to that service.
        if (tree.Check(root, refuseHardLinks: true) is { } tooMuch)
            return tooMuch;
        if (tree.Chown(root, uid, gid) is { } failure)
            return failure;
        return LibC.FChOwn(root, uid, gid) == 0 ? FileOutcome.Done : Failed("fchown", path);
    }

    private static FileOutcome Place(string temporary, string path)
    {
        PathRule.Require(temporary);
        if (Path.GetDirectoryName(temporary) != Path.GetDirectoryName(path))
            return Refused($"{temporary} is not in the directory of {path}");
        using var parent = OpenParent(path, out var name, out var refusal);
        if (refusal is not null)
            return refusal;
        if (Refusal(parent!, name, path, FileKind.File) is { } notOurs)
            return notOurs;

        var from = Path.GetFileName(temporary);
        if (Refusal(parent!, from, temporary, FileKind.File) is { } notWritten)
            return notWritten;
        using (var fd = LibC.OpenAt(parent!, from, LibC.ReadOnly | LibC.NoFollow | LibC.CloseOnExec | LibC.NonBlocking, 0))
        {
            if (fd.IsInvalid)
                return Failed("openat", temporary);
            if (LibC.FSync(fd) != 0)
                return Failed("fsync", temporary);
        }

        if (LibC.RenameAt(parent!, from, parent!, name) != 0)
            return Failed("renameat", path);
        return LibC.FSync(parent!) == 0 ? FileOutcome.Done : Failed("fsync of the directory", path);
    }

    internal static FileOutcome Refused(string detail) => new() { Result = FileResult.Refused, Detail = detail };

    internal static FileOutcome Failed(string call, string path)
    {
        var errno = LibC.Errno;
        return new FileOutcome
        {
            Result = errno is LibC.Enospc or LibC.Edquot ? FileResult.NoSpace : FileResult.Failed,
            Errno = errno,
            Detail = $"{call} failed for {path} with errno {errno}",
        };
    }

    private static SafeFileHandle? OpenParent(string path, out string name, out FileOutcome? refusal)
    {
        PathRule.Require(path);
        name = Path.GetFileName(path);
        refusal = null;
        if (name.Length is 0 or > MaxName)
        {
            refusal = Refused($"the last part of {path} must have 1 to {MaxName} characters");
            return null;
        }

        var parent = LibC.Open(Path.GetDirectoryName(path)!, LibC.ReadOnly | LibC.DirectoryOnly | LibC.CloseOnExec, 0);
        if (!parent.IsInvalid)
            return parent;

        refusal = Failed("open of the directory", path);
        parent.Dispose();
        return null;
    }

    /// <summary>Why what is at a name must not be replaced, or null when nothing or a thing of the right kind is there.</summary>
    private static FileOutcome? Refusal(SafeFileHandle parent, string name, string path, FileKind wanted)
    {
        if (LibC.StatAt(parent, name, out var stat, LibC.AtNoFollow) != 0)
            return LibC.Errno == LibC.Enoent ? null : Failed("fstatat", path);

        var kind = FileReader.StateOf(stat).Kind;
        return kind == wanted ? null : Refused($"{path} is a {kind}, not a {wanted}, and was left alone");
    }

    private static unsafe FileOutcome? Fill(SafeFileHandle fd, ReadOnlySpan<byte> content, FileOwnership ownership, string path)
    {
        // Owner before mode: chown(2) clears set-id bits. Mode before content: nobody else reads a secret meanwhile.
        if (LibC.FChOwn(fd, ownership.Uid, ownership.Gid) != 0)
            return Failed("fchown", path);
        if (LibC.FChMod(fd, ownership.Mode & LibC.ModeMask) != 0)
            return Failed("fchmod", path);

        fixed (byte* first = content)
        {
            var done = 0;
            while (done < content.Length)
            {
                var count = LibC.Write(fd, first + done, (nuint)(content.Length - done));
                if (count < 0)
                    return Failed("write", path);
                done += (int)count;
            }
        }

        return LibC.FSync(fd) == 0 ? null : Failed("fsync", path);
    }

    private static FileOutcome? Own(SafeFileHandle parent, string name, string path, int flags, FileOwnership ownership)
    {
        using var fd = LibC.OpenAt(parent, name, LibC.ReadOnly | LibC.NoFollow | LibC.CloseOnExec | LibC.NonBlocking | flags, 0);
        if (fd.IsInvalid)
            return Failed("openat", path);
        if (LibC.FChOwn(fd, ownership.Uid, ownership.Gid) != 0)
            return Failed("fchown", path);
        return LibC.FChMod(fd, ownership.Mode & LibC.ModeMask) == 0 ? null : Failed("fchmod", path);
    }
}
