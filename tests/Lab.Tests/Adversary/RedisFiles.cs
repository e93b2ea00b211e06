using System.Collections.Concurrent;
using System.Diagnostics;
using System.Security.Cryptography;
using System.Text;
using AgentMetal.Testing;

namespace AgentMetal.LabTests.Adversary;

/// <summary>
/// Which keys a member's files would bring back, by loading a copy of them into a private server of this machine: the dump and the
/// append-only files each
/// for itself, because what only the one has is lost when a start takes the other. Damaged append-only files count as far as
/// redis-check-aof brings them back.
/// </summary>
internal static class RedisFiles
{
    private static readonly ConcurrentDictionary<string, IReadOnlySet<string>> Loaded = new();
    private static readonly SemaphoreSlim Two = new(2);
    private static readonly Lazy<Task<string>> Root = new(async () =>
        (await CommandRunner.RunAsync([Path.Combine(AppContext.BaseDirectory, "lab", "rootfs.sh"), "--path"],
            TimeSpan.FromMinutes(1))).OrThrow().Stdout.Trim());

    /// <param name="directory">As this machine sees it.</param>
    public static async Task<(IReadOnlySet<string> Dump, IReadOnlySet<string> Appended)> ReadAsync(string directory)
    {
        var copy = Directory.CreateTempSubdirectory("agentmetal-held-").FullName;
        try
        {
            var dump = Copy(Path.Combine(directory, "dump.rdb"), Path.Combine(copy, "dump.rdb"));
            var appended = CopyAppended(Path.Combine(directory, "appendonlydir"), Path.Combine(copy, "appendonlydir"));
            return (dump is null ? Nothing : await CachedAsync("dump " + dump, copy, "no"), appended is null ? Nothing
                : await CachedAsync("aof " + appended, copy, "yes"));
        }
        finally { Directory.Delete(copy, recursive: true); }
    }

    private static IReadOnlySet<string> Nothing { get; } = new HashSet<string>();

    private static async Task<IReadOnlySet<string>> CachedAsync(string digest, string copy, string appendonly)
    {
        if (Loaded.TryGetValue(digest, out var known)) return known;
        await Two.WaitAsync();
        try
        {
            var keys = await LoadAsync(copy, appendonly);
            if (keys is null && appendonly == "yes")
            {
                var manifest = Directory.GetFiles(Path.Combine(copy, "appendonlydir"), "*.manifest")[0];
                await ToolAsync("redis-check-aof", Encoding.ASCII.GetBytes("y\ny\ny\n"), "--fix", manifest);
                keys = await LoadAsync(copy, appendonly);
            }
            return Loaded[digest] = keys ?? Nothing;
        }
        finally { Two.Release(); }
    }

    private static async Task<IReadOnlySet<string>?> LoadAsync(string copy, string appendonly)
    {
        var (socket, log) = (Path.Combine(copy, "s"), Path.Combine(copy, "log"));
        var server = Process.Start(new ProcessStartInfo((await CommandAsync("redis-server"))[0],
            [.. (await CommandAsync("redis-server"))[1..],
            "--port", "0", "--unixsocket", socket, "--dir", copy, "--save", "", "--appendonly", appendonly, "--logfile", log])
        { RedirectStandardError = true, RedirectStandardOutput = true })!;
        try
        {
            for (var i = 0; i < 1000 && !server.HasExited; i++)
            {
                await Task.Delay(10);
                if (!File.Exists(socket)) continue;
                try
                {
                    using var connection = RespConnection.Unix(socket, TimeSpan.FromSeconds(10));
                    return RedisGroup.KeysOf(connection);
                }
                catch (Exception e) when (e is IOException
                    || (e is RespException && e.Message.StartsWith("LOADING", StringComparison.Ordinal)))
                { }
            }
            return null;
        }
        finally
        {
            if (!server.HasExited) server.Kill();
            await server.WaitForExitAsync();
            server.Dispose();
        }
    }

    /// <summary>A program of the root filesystem that hosts share, through its own loader: this machine need not have it.</summary>
    private static async Task<string[]> CommandAsync(string program)
    {
        var root = await Root.Value;
        return [root + "/lib64/ld-linux-x86-64.so.2", "--library-path", $"{root}/lib/x86_64-linux-gnu:{root}/usr/lib/x86_64-linux-gnu",
            $"{root}/usr/bin/{program}"];
    }

    private static async Task ToolAsync(string program, byte[] stdin, params string[] arguments) =>
        await CommandRunner.RunAsync([.. await CommandAsync(program), .. arguments], TimeSpan.FromMinutes(1), stdin);

    private static string? Copy(string from, string to)
    {
        try
        {
            var bytes = Share(from);
            File.WriteAllBytes(to, bytes);
            return Convert.ToHexString(SHA256.HashData(bytes));
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException) { return null; }
    }

    /// <summary>A rewrite may change the files while they are copied: then once more.</summary>
    private static string? CopyAppended(string from, string to)
    {
        for (var i = 0; i < 5; i++)
        {
            try
            {
                if (!Directory.Exists(from) || Directory.GetFiles(from, "*.manifest") is not [var manifest, ..]) return null;
                if (Directory.Exists(to)) Directory.Delete(to, recursive: true);
                Directory.CreateDirectory(to);
                var text = Share(manifest);
                File.WriteAllBytes(Path.Combine(to, Path.GetFileName(manifest)), text);
                using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
                hash.AppendData(text);
                foreach (var line in Encoding.UTF8.GetString(text).Split('\n', StringSplitOptions.RemoveEmptyEntries))
                {
                    var file = line.Split(' ') is ["file", var named, ..] ? named : "";
                    if (file.Length == 0 || file.Contains('/', StringComparison.Ordinal)
                        || !File.Exists(Path.Combine(from, file))) continue;
                    var bytes = Share(Path.Combine(from, file));
                    hash.AppendData(bytes);
                    File.WriteAllBytes(Path.Combine(to, file), bytes);
                }
                if (Share(manifest).AsSpan().SequenceEqual(text)) return Convert.ToHexString(hash.GetHashAndReset());
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                Thread.Sleep(50);
            }
        }
        return null;
    }

    private static byte[] Share(string path)
    {
        using var file = new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete);
        using var memory = new MemoryStream();
        file.CopyTo(memory);
        return memory.ToArray();
    }
}
