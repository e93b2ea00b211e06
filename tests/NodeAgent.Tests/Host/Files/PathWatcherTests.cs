using AgentMetal.NodeAgent.Host.Files;

namespace AgentMetal.NodeAgent.Tests.Host.Files;

public sealed class PathWatcherTests : IDisposable
{
    private readonly DirectoryInfo _folder = Directory.CreateTempSubdirectory("agentmetal-watch-");
    private readonly PathWatcher _watcher = new();

    public void Dispose()
    {
        _watcher.Dispose();
        _folder.Delete(recursive: true);
    }

    [Fact]
    public async Task Set_PathNotThereYet_ItsCreationIsNoticed()
    {
        var seen = Watch("a", At("not/yet/there"));
        Directory.CreateDirectory(At("not"));
        await seen.WaitAsync();
    }

    [Fact]
    public async Task Clear_OneOfTwoThatWatchTheSame_TheOtherStillHears()
    {
        Directory.CreateDirectory(At("shared"));
        var (first, second) = (Watch("a", At("shared")), Watch("b", At("shared")));
        _watcher.Clear("a");
        File.WriteAllText(At("shared/file"), "");
        await second.WaitAsync();
        Assert.Equal(0, first.Count);
    }

    /// <summary>The kernel keeps 16,384 events (inotify(7), max_queued_events) and says that it dropped the rest: then everybody looks.</summary>
    [Fact]
    public async Task Overflow_EventsLost_WakesAlsoThoseWhoseEventWasDropped()
    {
        foreach (var name in (string[])["noisy", "quiet"]) Directory.CreateDirectory(At(name));
        var limit = int.Parse(File.ReadAllText("/proc/sys/fs/inotify/max_queued_events"), System.Globalization.CultureInfo.InvariantCulture);
        Assert.SkipWhen(limit > 100_000, "this kernel keeps too many events to overflow it");
        using var gate = new ManualResetEventSlim();
        using var blocked = new ManualResetEventSlim();
        _watcher.Set("noisy", [At("noisy")], () => { blocked.Set(); gate.Wait(TimeSpan.FromSeconds(60), CancellationToken.None); });
        var quiet = Watch("quiet", At("quiet"));
        File.WriteAllText(At("noisy/first"), "");
        Assert.True(blocked.Wait(TimeSpan.FromSeconds(20), TestContext.Current.CancellationToken), "the reader did not call back");
        // Two names in turn, because the kernel folds equal neighbours into one. Create and delete are two events each.
        for (var i = 0; i <= limit / 2; i++)
        {
            File.Create(At("noisy/" + (i % 2))).Dispose();
            File.Delete(At("noisy/" + (i % 2)));
        }
        File.WriteAllText(At("quiet/lost"), "");
        gate.Set();
        await quiet.WaitAsync();
    }

    private Seen Watch(string key, string path)
    {
        var seen = new Seen();
        _watcher.Set(key, [path], seen.Happened);
        return seen;
    }

    private string At(string name) => Path.Combine(_folder.FullName, name);

    private sealed class Seen
    {
        private readonly TaskCompletionSource _first = new(TaskCreationOptions.RunContinuationsAsynchronously);
        private int _count;

        public int Count => Volatile.Read(ref _count);

        public void Happened()
        {
            Interlocked.Increment(ref _count);
            _first.TrySetResult();
        }

        public Task WaitAsync() => _first.Task.WaitAsync(TimeSpan.FromSeconds(20), TestContext.Current.CancellationToken);
    }
}
