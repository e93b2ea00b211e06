namespace AgentMetal.NodeAgent.Agents.Instance.Exports;

/// <summary>How far an export is.</summary>
/// <param name="Written">Bytes so far.</param>
/// <param name="Text">What is done now, for people.</param>
/// <param name="Failed">Why it ended; empty while it runs.</param>
internal sealed record ExportState(long Written, string Text, string Failed);

/// <summary>What a job that runs tells.</summary>
internal sealed class ExportProgress
{
    private readonly Lock _lock = new();
    private string _text = "begins", _file = "";
    private long _before;

    /// <summary>Another file is written from now on.</summary>
    public void On(string text, string file)
    {
        lock (_lock) (_before, _text, _file) = (_before + LengthOf(_file), text, file);
    }

    public ExportState Now
    {
        get { lock (_lock) return new(_before + LengthOf(_file), _text, ""); }
    }

    private static long LengthOf(string file) => file.Length > 0 && new FileInfo(file) is { Exists: true } info ? info.Length : 0;
}

/// <summary>Exports that run beside the passes, one of an instance, and those that failed a moment ago.</summary>
internal sealed class ExportJobs(TimeProvider clock)
{
    private static readonly TimeSpan FailureIsNews = TimeSpan.FromSeconds(30);

    private readonly Lock _lock = new();
    private readonly Dictionary<string, (ExportProgress Progress, string Failed, DateTimeOffset Ended)> _jobs = new(StringComparer.Ordinal);

    /// <param name="directory">Where it will be.</param>
    public ExportState? Running(string directory)
    {
        lock (_lock)
        {
            if (!_jobs.TryGetValue(directory, out var job)) return null;
            return job.Failed.Length == 0 ? job.Progress.Now : clock.GetUtcNow() - job.Ended < FailureIsNews ? new(0, "", job.Failed) : null;
        }
    }

    /// <summary>Begins it, or joins the one that runs.</summary>
    public void Begin(string directory, Func<ExportProgress, Task> work)
    {
        var progress = new ExportProgress();
        lock (_lock)
        {
            if (_jobs.TryGetValue(directory, out var running) && running.Failed.Length == 0) return;
            _jobs[directory] = (progress, "", default);
        }
        _ = Task.Run(async () =>
        {
            var failed = "";
            try { await work(progress); }
            catch (Exception e) when (e is Runtime.Planning.WorldException or IOException or UnauthorizedAccessException or OperationCanceledException) { failed = e.Message; }
            lock (_lock)
            {
                if (failed.Length == 0) _jobs.Remove(directory);
                else _jobs[directory] = (progress, failed, clock.GetUtcNow());
            }
        });
    }
}
