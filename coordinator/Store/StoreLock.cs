using System.Globalization;

namespace AgentMetal.Coordinator.Store;

/// <summary>
/// One coordinator per store. The kernel's flock(2) on the lock file decides and lets go when the process dies, however it dies. The file is never deleted:
/// a process that opened it just before would lock a file that nobody else sees. Who holds it is said in a file beside it, because .NET takes a shared
/// flock even to read, so a locked file cannot say anything itself.
/// </summary>
internal sealed class StoreLock : IDisposable
{
    private readonly FileStream file;

    private StoreLock(FileStream file) => this.file = file;

    public static (StoreLock? Lock, StoreOpening.HeldBy? Holder) Take(string databasePath, DateTimeOffset now)
    {
        var path = databasePath + ".lock";
        FileStream file;
        try
        {
            // FileShare.None is flock(LOCK_EX | LOCK_NB) on Unix; the descriptor is close-on-exec, so no child keeps the lock alive.
            file = new FileStream(path, FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None, bufferSize: 0);
        }
        catch (IOException e) when (e is not (DirectoryNotFoundException or PathTooLongException) && File.Exists(path))
        {
            return (null, ReadHolder(databasePath));
        }
        try
        {
            File.WriteAllText(HolderPath(databasePath), string.Create(CultureInfo.InvariantCulture, $"{Environment.ProcessId} {now:yyyy-MM-ddTHH:mm:ssZ}\n"));
        }
        catch
        {
            file.Dispose();
            throw;
        }
        return (new StoreLock(file), null);
    }

    public void Dispose() => file.Dispose();

    private static string HolderPath(string databasePath) => databasePath + ".holder";

    private static StoreOpening.HeldBy ReadHolder(string databasePath)
    {
        var path = HolderPath(databasePath);
        var words = File.Exists(path) ? File.ReadAllText(path).Trim().Split(' ') : [];
        return words.Length == 2 ? new(databasePath, words[0], words[1]) : new(databasePath, "(starting up)", "just now");
    }
}
