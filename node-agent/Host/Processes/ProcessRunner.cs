namespace AgentMetal.NodeAgent.Host.Processes;

/// <summary>
/// Runs programs with posix_spawn(3), each in a session and process group of its own, so that a deadline ends what it started too. One
/// thread per run sleeps in poll(2) on its pipes and its pidfd.
/// </summary>
internal sealed class ProcessRunner(TimeProvider time) : IProcessRunner
{
    public async Task<ProcessOutcome> RunAsync(ProcessRequest request, CancellationToken ct)
    {
        Validate(request);
        ct.ThrowIfCancellationRequested();
        using var stop = new WakeUp();
        using var registration = ct.Register(stop.Signal);
        var source = new TaskCompletionSource<ProcessOutcome>(TaskCreationOptions.RunContinuationsAsynchronously);
        var thread = new Thread(() =>
        {
            try
            {
                using var run = new ProcessRun(request, time, stop);
                source.SetResult(run.Run());
            }
            catch (Exception error)
            {
                source.SetException(error);
            }
        })
        { Name = "process", IsBackground = true };
        thread.Start();
        var outcome = await source.Task.ConfigureAwait(false);
        ct.ThrowIfCancellationRequested();
        return outcome;
    }

    private static void Validate(ProcessRequest request)
    {
        if (!request.Program.StartsWith('/'))
            throw new ArgumentException($"Program \"{request.Program}\" must be an absolute path.", nameof(request));
        if (request.Arguments.Any(static argument => argument.Contains('\0')))
            throw new ArgumentException("An argument holds a NUL character.", nameof(request));
        ArgumentOutOfRangeException.ThrowIfLessThan(request.Deadline, TimeSpan.Zero);
        ArgumentOutOfRangeException.ThrowIfNegative(request.MaxOutputBytes);
    }
}
