using System.Text;

namespace AgentMetal.Cli.Files;

/// <summary>Finds and reads what -f names: files, directories (their *.yaml, *.yml and *.json, by name, not those below), and standard input as "-".</summary>
internal static class SourceFiles
{
    internal const int MaxFileBytes = 4 * 1024 * 1024;

    internal const int MaxFiles = 1_000;

    private static readonly UTF8Encoding s_strict = new(encoderShouldEmitUTF8Identifier: false, throwOnInvalidBytes: true);

    internal static IReadOnlyList<SourceFile> Read(IReadOnlyList<string> paths, Stream standardInput, List<Diagnostic> errors)
    {
        var files = new List<SourceFile>();
        foreach (var path in Expand(paths, errors))
        {
            if (files.Count == MaxFiles)
            {
                errors.Add(Diagnostic.OfFile(path, $"more than {MaxFiles} files at once", "apply them in parts"));
                break;
            }
            if (ReadOne(path, standardInput, errors) is { } file) files.Add(file);
        }
        return files;
    }

    private static IEnumerable<string> Expand(IReadOnlyList<string> paths, List<Diagnostic> errors)
    {
        // The same file named twice, as in "-f . -f a.yaml", is read once.
        var seen = new HashSet<string>(StringComparer.Ordinal);
        foreach (var path in paths)
        {
            if (path.Length == 0)
            {
                errors.Add(Diagnostic.OfFile("-f", "an empty name is no file", "name a file, a directory, or - for standard input"));
                continue;
            }
            if (!Directory.Exists(path))
            {
                if (seen.Add(path == "-" ? path : Path.GetFullPath(path))) yield return path;
                continue;
            }
            var found = InDirectory(path, errors);
            if (found is { Count: 0 }) errors.Add(Diagnostic.OfFile(path, "the directory holds no *.yaml, *.yml or *.json"));
            foreach (var file in found ?? [])
                if (seen.Add(Path.GetFullPath(file))) yield return file;
        }
    }

    private static List<string>? InDirectory(string path, List<Diagnostic> errors)
    {
        try
        {
            return [.. Directory.EnumerateFiles(path)
                .Where(f => Path.GetExtension(f) is ".yaml" or ".yml" or ".json")
                .Order(StringComparer.Ordinal)
                .Take(MaxFiles + 1)];
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            errors.Add(Diagnostic.OfFile(path, "cannot be listed: " + e.Message));
            return null;
        }
    }

    private static SourceFile? ReadOne(string path, Stream standardInput, List<Diagnostic> errors)
    {
        byte[] bytes;
        try
        {
            using var file = path == "-" ? null : File.OpenRead(path);
            bytes = Bounded(file ?? standardInput);
        }
        catch (Exception e) when (e is FileNotFoundException or DirectoryNotFoundException)
        {
            errors.Add(Diagnostic.OfFile(path, "there is no such file or directory"));
            return null;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or ArgumentException or NotSupportedException)
        {
            errors.Add(Diagnostic.OfFile(path, "cannot be read: " + e.Message));
            return null;
        }
        if (bytes.Length > MaxFileBytes)
        {
            errors.Add(Diagnostic.OfFile(path, "is larger than 4 MiB", "split it; a resource is small"));
            return null;
        }
        return Decode(path, bytes, errors);
    }

    internal static SourceFile? Decode(string path, ReadOnlySpan<byte> bytes, List<Diagnostic> errors)
    {
        if (bytes.StartsWith("\uFEFF"u8)) bytes = bytes[3..];
        try
        {
            return new SourceFile(path, s_strict.GetString(bytes));
        }
        catch (DecoderFallbackException e)
        {
            var line = 1 + bytes[..Math.Clamp(e.Index, 0, bytes.Length)].Count((byte)'\n');
            errors.Add(Diagnostic.OfFile($"{path}:{line}", "is not UTF-8 text", "save it as UTF-8"));
            return null;
        }
    }

    // Devices and pipes have no length, so the bound is kept while reading.
    private static byte[] Bounded(Stream stream)
    {
        using var memory = new MemoryStream();
        var buffer = new byte[64 * 1024];
        for (int n; memory.Length <= MaxFileBytes && (n = stream.Read(buffer)) > 0;)
            memory.Write(buffer, 0, n);
        return memory.ToArray();
    }
}
