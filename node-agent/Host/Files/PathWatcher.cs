using System.Buffers.Binary;
using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace AgentMetal.NodeAgent.Host.Files;

/// <summary>
/// One inotify instance for the whole daemon (inotify(7)); the framework's own watcher takes an instance and a thread for each directory,
/// and a host has 128 instances for each user. A change is a reason to look, never a fact.
/// </summary>
internal sealed partial class PathWatcher : IDisposable
{
    // inotify_add_watch(2): attributes, content, names and the watched thing itself.
    private const uint Mask = 0x4 | 0x8 | 0x40 | 0x80 | 0x100 | 0x200 | 0x400 | 0x800 | 0x1000000;
    private const uint OverflowMask = 0x4000;
    private const int CloseOnExec = 0x80000;
    private const int EventHeader = 16;

    private readonly Lock _lock = new();
    private readonly Dictionary<int, HashSet<string>> _keysByWatch = [];
    private readonly Dictionary<string, (List<int> Watches, Action Changed)> _byKey = new(StringComparer.Ordinal);
    private readonly SafeFileHandle _handle;
    private readonly FileStream _stream;
    private readonly Task _reading;

    public PathWatcher()
    {
        var fd = InotifyInit(CloseOnExec);
        if (fd < 0) throw new IOException($"inotify_init1: {Marshal.GetLastPInvokeErrorMessage()} (see fs.inotify.max_user_instances in sysctl(8))");
        _handle = new SafeFileHandle(fd, ownsHandle: true);
        _stream = new FileStream(_handle, FileAccess.Read, bufferSize: 0);
        _reading = Task.Factory.StartNew(ReadLoop, CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default);
    }

    /// <summary>
    /// Watches these files and directories for <paramref name="key"/>; replaces what was watched for it before. A path that does not exist is
    /// watched through its nearest existing parent, so its creation is noticed too.
    /// </summary>
    public void Set(string key, IEnumerable<string> paths, Action changed)
    {
        lock (_lock)
        {
            var old = _byKey.Remove(key, out var before) ? before.Watches : [];
            var watches = new List<int>();
            foreach (var path in paths)
            {
                for (var at = path; at.Length > 1; at = Path.GetDirectoryName(at) ?? "/")
                {
                    var watch = InotifyAddWatch(_handle, at, Mask);
                    if (watch < 0) continue;
                    watches.Add(watch);
                    if (!_keysByWatch.TryGetValue(watch, out var keys)) _keysByWatch[watch] = keys = new(StringComparer.Ordinal);
                    keys.Add(key);
                    break;
                }
            }
            _byKey[key] = (watches, changed);
            foreach (var watch in old.Except(watches)) Release(watch, key);
        }
    }

    public void Clear(string key)
    {
        lock (_lock)
            if (_byKey.Remove(key, out var entry))
                foreach (var watch in entry.Watches) Release(watch, key);
    }

    public void Dispose()
    {
        // The reader is blocked in read(2) and ends with the process; closing the descriptor under it is what inotify(7) allows.
        lock (_lock) _byKey.Clear();
        _stream.Dispose();
        _handle.Dispose();
    }

    private void Release(int watch, string key)
    {
        if (!_keysByWatch.TryGetValue(watch, out var keys) || !keys.Remove(key) || keys.Count > 0) return;
        _keysByWatch.Remove(watch);
        _ = InotifyRemoveWatch(_handle, watch);
    }

    private void ReadLoop()
    {
        var buffer = new byte[16 * 1024];
        while (true)
        {
            int read;
            try { read = _stream.Read(buffer); }
            catch (Exception e) when (e is ObjectDisposedException or IOException or OperationCanceledException) { return; }
            if (read <= 0) return;
            foreach (var action in Touched(buffer.AsSpan(0, read))) action();
        }
    }

    private List<Action> Touched(ReadOnlySpan<byte> events)
    {
        var keys = new HashSet<string>(StringComparer.Ordinal);
        lock (_lock)
        {
            while (events.Length >= EventHeader)
            {
                var watch = BinaryPrimitives.ReadInt32LittleEndian(events);
                var mask = BinaryPrimitives.ReadUInt32LittleEndian(events[4..]);
                var length = BinaryPrimitives.ReadInt32LittleEndian(events[12..]);
                // Lost events: everything may have changed.
                if ((mask & OverflowMask) != 0) keys.UnionWith(_byKey.Keys);
                else if (_keysByWatch.TryGetValue(watch, out var watched)) keys.UnionWith(watched);
                events = events[Math.Min(events.Length, EventHeader + length)..];
            }
            return [.. keys.Where(_byKey.ContainsKey).Select(k => _byKey[k].Changed)];
        }
    }

    /// <summary>inotify_init1(2).</summary>
    [LibraryImport("libc", EntryPoint = "inotify_init1", SetLastError = true)]
    private static partial int InotifyInit(int flags);

    /// <summary>inotify_add_watch(2).</summary>
    [LibraryImport("libc", EntryPoint = "inotify_add_watch", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int InotifyAddWatch(SafeFileHandle fd, string path, uint mask);

    /// <summary>inotify_rm_watch(2).</summary>
    [LibraryImport("libc", EntryPoint = "inotify_rm_watch", SetLastError = true)]
    private static partial int InotifyRemoveWatch(SafeFileHandle fd, int watch);
}
