using System.Threading.Channels;
using AgentMetal.Runtime.Store;
using Microsoft.Data.Sqlite;

namespace AgentMetal.Coordinator.Store;

/// <summary>
/// The one thread that writes. Requests that wait while a commit is being flushed share the next: one fsync for up to 1,024 transactions. A request hears
/// of its result only after that fsync.
/// </summary>
internal sealed class SqliteWriter
{
    /// <summary>How many requests one commit may carry.</summary>
    public const int BatchLimit = 1_024;

    /// <summary>How many requests may wait; further callers wait for a place, which is the store's back-pressure.</summary>
    private const int QueueLimit = 8_192;

    private readonly Channel<Request> queue = Channel.CreateBounded<Request>(new BoundedChannelOptions(QueueLimit) { SingleReader = true });
    private readonly SqliteConnection connection;
    private readonly SqliteWrites writes;
    private readonly string path;
    private readonly Action committed;
    private readonly Thread thread;
    private readonly TaskCompletionSource ended = new(TaskCreationOptions.RunContinuationsAsynchronously);

    public SqliteWriter(SqliteConnection connection, SqliteWrites writes, string path, Action committed)
    {
        (this.connection, this.writes, this.path, this.committed) = (connection, writes, path, committed);
        thread = new Thread(Loop) { Name = "store-writer", IsBackground = true };
        thread.Start();
    }

    public async ValueTask<T> RunAsync<T>(Func<SqliteWrites, T> work, TimeSpan deadline, CancellationToken cancel)
    {
        var request = new Request<T>(work);
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancel);
        limit.CancelAfter(deadline);
        try
        {
            await queue.Writer.WriteAsync(request, limit.Token).ConfigureAwait(false);
            return await request.Result.WaitAsync(limit.Token).ConfigureAwait(false);
        }
        catch (ChannelClosedException)
        {
            throw new StoreAwayException("it was closed");
        }
        catch (OperationCanceledException) when (!cancel.IsCancellationRequested)
        {
            throw new StoreAwayException($"the disk that holds {path} did not answer within {deadline.TotalSeconds} s");
        }
    }

    /// <summary>Writes what is queued, then ends the thread.</summary>
    public Task StopAsync()
    {
        queue.Writer.TryComplete();
        return ended.Task;
    }

    private void Loop()
    {
        var batch = new List<Request>(BatchLimit);
        while (WaitForWork())
        {
            while (batch.Count < BatchLimit && queue.Reader.TryRead(out var request)) batch.Add(request);
            if (batch.Count > 0) Write(batch);
            batch.Clear();
        }
        ended.SetResult();
    }

    private bool WaitForWork()
    {
        var wait = queue.Reader.WaitToReadAsync();
        return wait.IsCompleted ? wait.Result : wait.AsTask().GetAwaiter().GetResult();
    }

    private void Write(List<Request> batch)
    {
        var failure = TryCommit(batch);
        if (failure is null)
        {
            committed();
            foreach (var request in batch) request.Publish();
            return;
        }
        if (batch.Count == 1)
        {
            batch[0].Fail(failure);
            return;
        }
        // One request may be too big for what space is left; the others must not fail for it, so each is tried alone.
        foreach (var request in batch) Write([request]);
    }

    private Exception? TryCommit(List<Request> batch)
    {
        try
        {
            SqliteFile.Run(connection, "BEGIN IMMEDIATE");
            foreach (var request in batch) request.Execute(writes);
            writes.Finish();
            SqliteFile.Run(connection, "COMMIT");
            return null;
        }
        catch (Exception e)
        {
            RollBack();
            return e is SqliteException sqlite ? new StoreAwayException(SqliteCode.Explain(sqlite, path), e) : e;
        }
    }

    private void RollBack()
    {
        try
        {
            SqliteFile.Run(connection, "ROLLBACK");
        }
        catch (SqliteException)
        {
            // A full disk or a failed write has already rolled the transaction back (https://www.sqlite.org/lang_transaction.html).
        }
        writes.Forget();
    }

    private abstract class Request
    {
        public abstract void Execute(SqliteWrites writes);

        public abstract void Publish();

        public abstract void Fail(Exception e);
    }

    private sealed class Request<T>(Func<SqliteWrites, T> work) : Request
    {
        private readonly TaskCompletionSource<T> done = new(TaskCreationOptions.RunContinuationsAsynchronously);
        private T staged = default!;

        public Task<T> Result => done.Task;

        public override void Execute(SqliteWrites writes) => staged = work(writes);

        public override void Publish() => done.TrySetResult(staged);

        public override void Fail(Exception e) => done.TrySetException(e);
    }
}
