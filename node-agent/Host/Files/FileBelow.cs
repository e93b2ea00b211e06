using Microsoft.Win32.SafeHandles;

namespace AgentMetal.NodeAgent.Host.Files;

/// <summary>
/// Opens a file below a directory, whatever a stranger calls it. Below the directory no link is followed, in no component, because a link may lead anywhere
/// (openat(2) with O_NOFOLLOW, one component after the other, so that what was checked is what is opened). The directory itself is an operator's word and may be a link.
/// </summary>
internal static class FileBelow
{
    /// <summary>The regular file, to be read; or null, and why not.</summary>
    /// <param name="directory">Absolute, without a slash at the end.</param>
    /// <param name="path">Absolute; anything.</param>
    /// <param name="refusal">Empty when it was opened; else a clause that begins with the path.</param>
    internal static FileStream? Open(string directory, string path, out string refusal)
    {
        refusal = "";
        if (!Holds(directory, path))
        {
            refusal = $"{path} is not below {directory}";
            return null;
        }
        var at = LibC.Open(directory, LibC.ReadOnly | LibC.DirectoryOnly | LibC.CloseOnExec, 0);
        var errno = LibC.Errno;
        var left = path[(directory.Length + 1)..].Split('/');
        for (var i = 0; i < left.Length && !at.IsInvalid; i++)
        {
            var next = LibC.OpenAt(at, left[i], LibC.ReadOnly | LibC.NoFollow | LibC.CloseOnExec | LibC.NonBlocking | (i < left.Length - 1 ? LibC.DirectoryOnly : 0), 0);
            errno = LibC.Errno; // Before the close, which has an error of its own.
            at.Dispose();
            at = next;
        }
        if (at.IsInvalid) refusal = Why(path, errno);
        else if (LibC.FStat(at, out var stat) != 0 || FileReader.StateOf(stat).Kind != FileKind.File) refusal = $"{path} is not a regular file";
        if (refusal.Length == 0) return new FileStream(at, FileAccess.Read, bufferSize: 1);
        at.Dispose();
        return null;
    }

    /// <summary>Whether the path is one of the directory's by its name: plain components only.</summary>
    internal static bool Holds(string directory, string path) =>
        path.StartsWith(directory + "/", StringComparison.Ordinal) && !path.Contains('\0') && path[(directory.Length + 1)..].Split('/').All(static part => part is not ("" or "." or ".."));

    private static string Why(string path, int errno) => errno switch
    {
        LibC.Enoent => $"{path} is not there",
        // A link that would have to be a directory is answered with ENOTDIR.
        LibC.Eloop or LibC.Enotdir => $"{path} is or leads through a symbolic link, or through what is not a directory: name the file itself",
        _ => $"{path} cannot be opened: errno {errno}",
    };
}
