using System.Diagnostics;

namespace AgentMetal.NodeAgent.Agents.Redis;

/// <summary>
/// The deadline of one call over several operations. A timer is set only for an operation that does not complete at once: a server of this host answers
/// sooner than a timer is set, and the threads that timers wake are a large part of what a daemon costs that asks fifty members every ten seconds.
/// </summary>
internal sealed class RespLimit : IDisposable
{
    private readonly long _started = Stopwatch.GetTimestamp();
    private readonly TimeSpan _deadline;
    private readonly CancellationTokenSource _source;
    private bool _isSet;

    public RespLimit(TimeSpan deadline, CancellationToken ct)
    {
        _deadline = deadline;
        _source = CancellationTokenSource.CreateLinkedTokenSource(ct);
    }

    /// <summary>For the operations that <see cref="Guard{T}"/> is then given.</summary>
    public CancellationToken Token => _source.Token;

    /// <summary>The operation, which is cancelled when the time of the whole call is over.</summary>
    /// <exception cref="OperationCanceledException">It is over already, whatever this operation came to: nobody dribbles bytes past it.</exception>
    public ValueTask<T> Guard<T>(ValueTask<T> operation)
    {
        Watch(operation.IsCompleted);
        return operation;
    }

    /// <inheritdoc cref="Guard{T}"/>
    public ValueTask Guard(ValueTask operation)
    {
        Watch(operation.IsCompleted);
        return operation;
    }

    private void Watch(bool isCompleted)
    {
        var left = _deadline - Stopwatch.GetElapsedTime(_started);
        if (left <= TimeSpan.Zero)
        {
            _source.Cancel();
            if (isCompleted) throw new OperationCanceledException(_source.Token);
        }
        else if (!_isSet && !isCompleted)
        {
            _isSet = true;
            _source.CancelAfter(left);
        }
    }

    public void Dispose() => _source.Dispose();
}
