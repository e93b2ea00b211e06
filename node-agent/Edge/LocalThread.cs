using System.Threading.Channels;
using Microsoft.Data.Sqlite;

namespace AgentMetal.NodeAgent.Edge;

/// <summary>
/// The one thread that touches the file. Reads run alone; writes that wait together share one transaction and one fsync. Nobody hears of a write before
/// its fsync.
/// </summary>
internal sealed class LocalThread
{
    private const int BatchLimit = 64;
    private const int QueueLimit = 1_024;
    private static readonly TimeSpan Deadline = TimeSpan.FromSeconds(30);

    private readonly Channel<Job> queue = Channel.CreateBounded<Job>(new BoundedChannelOptions(QueueLimit) { SingleReader = true });
    private readonly SqliteConnection connection;
    private readonly string path;
    private readonly Thread thread;
    private readonly TaskCompletionSource ended = new(TaskCreationOptions.RunContinuationsAsynchronously);

    public LocalThread(SqliteConnection connection, string path)
    {
        (this.connection, this.path) = (connection, path);
        thread = new Thread(Loop, maxStackSize: 256 * 1024) { Name = "local-store", IsBackground = true };
        thread.Start();
    }

    public ValueTask<T> ReadAsync<T>(Func<T> work, CancellationToken stop) => RunAsync(new Job<T>(work, writes: false), stop);

    /// <summary>Cancelling ends the waiting only: a queued write still happens.</summary>
    public ValueTask<T> WriteAsync<T>(Func<T> work, CancellationToken stop) => RunAsync(new Job<T>(work, writes: true), stop);

    public Task StopAsync()
    {
        queue.Writer.TryComplete();
        return ended.Task;
    }

    private async ValueTask<T> RunAsync<T>(Job<T> job, CancellationToken stop)
    {
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(stop);
        limit.CancelAfter(Deadline);
        try
        {
            await queue.Writer.WriteAsync(job, limit.Token).ConfigureAwait(false);
            return await job.Result.WaitAsync(limit.Token).ConfigureAwait(false);
        }
        catch (ChannelClosedException)
        {
            throw new LocalStoreException($"{path} was closed");
        }
        catch (OperationCanceledException) when (!stop.IsCancellationRequested)
        {
            throw new LocalStoreException($"the disk that holds {path} did not answer within {Deadline.TotalSeconds} s");
        }
    }

    private void Loop()
    {
        var batch = new List<Job>(BatchLimit);
        while (queue.Reader.WaitToReadAsync().AsTask().GetAwaiter().GetResult())
        {
            while (queue.Reader.TryRead(out var job))
            {
                // A read sees every write that was asked for before it.
                if (job.Writes) batch.Add(job);
                if (!job.Writes || batch.Count == BatchLimit) Flush(batch);
                if (!job.Writes) Alone(job);
            }
            Flush(batch);
        }
        ended.SetResult();
    }

    private void Flush(List<Job> batch)
    {
        if (batch.Count == 0) return;
        var failure = Try(batch);
        if (failure is null) batch.ForEach(job => job.Publish());
        else if (batch.Count == 1) batch[0].Fail(failure);
        // One write may be too big for what space is left; the others must not fail for it.
        else foreach (var job in batch) Flush([job]);
        batch.Clear();
    }

    private Exception? Try(List<Job> batch)
    {
        try
        {
            LocalFile.Run(connection, "BEGIN IMMEDIATE");
            foreach (var job in batch) job.Execute();
            LocalFile.Run(connection, "COMMIT");
            return null;
        }
        catch (Exception e)
        {
            RollBack();
            return Wrap(e);
        }
    }

    private void Alone(Job job)
    {
        try
        {
            job.Execute();
            job.Publish();
        }
        catch (Exception e)
        {
            job.Fail(Wrap(e));
        }
    }

    private Exception Wrap(Exception e) => e is SqliteException sqlite ? new LocalStoreException(LocalFile.Explain(sqlite, path), e) : e;

    private void RollBack()
    {
        try
        {
            LocalFile.Run(connection, "ROLLBACK");
        }
        catch (SqliteException)
        {
            // A full or failing disk has already rolled it back (https://www.sqlite.org/lang_transaction.html).
        }
    }

    private abstract class Job(bool writes)
    {
        public bool Writes => writes;

        public abstract void Execute();

        public abstract void Publish();

        public abstract void Fail(Exception e);
    }

    private sealed class Job<T>(Func<T> work, bool writes) : Job(writes)
    {
        private readonly TaskCompletionSource<T> done = new(TaskCreationOptions.RunContinuationsAsynchronously);
        private T staged = default!;

        public Task<T> Result => done.Task;

        public override void Execute() => staged = work();

        public override void Publish() => done.TrySetResult(staged);

        public override void Fail(Exception e) => done.TrySetException(e);
    }
}
