using System.Text;

namespace AgentMetal.NodeAgent.Host.Packages;

/// <summary>
/// One package in dpkg's status file (dpkg(1)), which apt reads for itself too: paragraphs of fields, an empty line between them. Read here because a
/// process for the question takes longer than all else of the first look at a host.
/// </summary>
internal static class DpkgStatusFile
{
    /// <summary>Whether the status file is all there is: dpkg writes what it is doing into numbered files beside it and merges them later.</summary>
    internal static bool IsWhole(string database)
    {
        var updates = Path.Combine(database, "updates");
        return !Directory.Exists(updates) || !Directory.EnumerateFiles(updates).Any(static f => Path.GetFileName(f).All(char.IsAsciiDigit));
    }

    /// <summary>Null where dpkg itself should be asked: the package is there for several architectures, or its paragraph is not understood.</summary>
    /// <exception cref="IOException">The file cannot be read.</exception>
    internal static PackageState? Find(string path, string name)
    {
        using var reader = new StreamReader(path, Encoding.UTF8, detectEncodingFromByteOrderMarks: false, new FileStreamOptions { BufferSize = 1 << 16 });
        var wanted = "Package: " + name;
        PackageState? found = null;
        while (reader.ReadLine() is { } line)
        {
            if (line != wanted) continue;
            if (found is not null || Paragraph(reader, name) is not { } state) return null;
            found = state;
        }
        return found ?? new PackageState { Name = name, Status = PackageStatus.NotInstalled, Version = "" };
    }

    private static PackageState? Paragraph(StreamReader reader, string name)
    {
        const string statusField = "Status: ", versionField = "Version: ";
        PackageStatus? status = null;
        var version = "";
        while (reader.ReadLine() is { Length: > 0 } line)
        {
            if (line.StartsWith(statusField, StringComparison.Ordinal)) status = Status(line[statusField.Length..].Split(' '));
            else if (line.StartsWith(versionField, StringComparison.Ordinal)) version = line[versionField.Length..];
        }
        return status is not { } known ? null
            : new PackageState { Name = name, Status = known, Version = known is PackageStatus.NotInstalled ? "" : version };
    }

    /// <summary>Three words: what is wanted, whether it must be installed again, and what is.</summary>
    private static PackageStatus? Status(string[] words) => words.Length != 3 ? null : words[2] switch
    {
        "not-installed" => PackageStatus.NotInstalled,
        "config-files" => PackageStatus.ConfigFiles,
        "installed" => PackageStatus.Installed,
        "half-installed" or "unpacked" or "half-configured" or "triggers-awaited" or "triggers-pending" => PackageStatus.Broken,
        _ => null,
    };
}
