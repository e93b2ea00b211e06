using Microsoft.Win32.SafeHandles;

namespace AgentMetal.NodeAgent.Host.Files;

/// <summary>
/// A directory with all it holds, walked by descriptors: a service that swaps a directory for a link while we walk its
/// data cannot lead us out of it. It is counted before it is changed.
/// </summary>
internal sealed class FileTree(string path, ulong device, int maxEntries)
{
    private const int MaxDepth = 64;

    private int _count;

    internal static SafeFileHandle OpenDirectory(SafeFileHandle parent, string name) =>
        LibC.OpenAt(parent, name, LibC.ReadOnly | LibC.DirectoryOnly | LibC.NoFollow | LibC.CloseOnExec, 0);

    /// <summary>Why the tree must not be changed, or null.</summary>
    internal FileOutcome? Check(SafeFileHandle root, bool refuseHardLinks)
    {
        _count = 0;
        return Walk(root, 0, (_, name, stat) =>
        {
            if (++_count > maxEntries)
                return FileWriter.Refused($"{path} holds more than {maxEntries} entries");
            if (stat.Device != device)
                return FileWriter.Refused($"{path} holds another file system at {name}");
            return refuseHardLinks && stat.Links > 1 && FileReader.StateOf(stat).Kind == FileKind.File
                ? FileWriter.Refused($"{path} holds {name}, a file that has another name elsewhere")
                : null;
        });
    }

    internal FileOutcome? Delete(SafeFileHandle root) => Walk(root, 0, (directory, name, stat) =>
    {
        var flags = FileReader.StateOf(stat).Kind == FileKind.Directory ? LibC.AtRemoveDirectory : 0;
        return LibC.UnlinkAt(directory, name, flags) == 0 || LibC.Errno == LibC.Enoent ? null : FileWriter.Failed("unlinkat", path);
    });

    internal FileOutcome? Chown(SafeFileHandle root, uint uid, uint gid) => Walk(root, 0, (directory, name, stat) =>
    {
        if (stat.Uid == uid && stat.Gid == gid)
            return null;

        return LibC.FChOwnAt(directory, name, uid, gid, LibC.AtNoFollow) == 0 || LibC.Errno == LibC.Enoent
            ? null
            : FileWriter.Failed("fchownat", path);
    });

    /// <summary>Visits every entry, what a directory holds before the directory itself. Stops at the first outcome.</summary>
    private FileOutcome? Walk(SafeFileHandle directory, int depth, Func<SafeFileHandle, string, LibC.Stat, FileOutcome?> visit)
    {
        if (depth > MaxDepth)
            return FileWriter.Refused($"{path} is deeper than {MaxDepth} directories");

        foreach (var name in Names(directory))
        {
            if (LibC.StatAt(directory, name, out var stat, LibC.AtNoFollow) != 0)
            {
                if (LibC.Errno == LibC.Enoent)
                    continue;
                return FileWriter.Failed("fstatat", path);
            }

            if (FileReader.StateOf(stat).Kind == FileKind.Directory && stat.Device == device)
            {
                using var child = OpenDirectory(directory, name);
                if (child.IsInvalid)
                    return FileWriter.Failed("openat", path);
                if (Walk(child, depth + 1, visit) is { } inside)
                    return inside;
            }

            if (visit(directory, name, stat) is { } outcome)
                return outcome;
        }

        return null;
    }

    /// <summary>Names in an open directory, at most one more than may be: enough to notice that it is too much.</summary>
    private List<string> Names(SafeFileHandle directory)
    {
        var opened = $"/proc/self/fd/{directory.DangerousGetHandle()}";
        return [.. Directory.EnumerateFileSystemEntries(opened, "*", new EnumerationOptions { AttributesToSkip = 0, IgnoreInaccessible = false })
            .Take(maxEntries + 1)
            .Select(static entry => Path.GetFileName(entry))];
    }
}
