using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace AgentMetal.NodeAgent.Host.Systemd;

/// <summary>A method call from the request to its one outcome. Only the bus's thread calls its methods.</summary>
internal abstract unsafe class PendingCall
{
    private readonly TimeProvider _time;
    private SdSlotHandle? _slot;
    private GCHandle _self;

    protected PendingCall(BusCall call, TimeProvider time, TimeSpan deadline)
    {
        Call = call;
        _time = time;
        ExpiresAt = time.GetTimestamp() + (long)(deadline.TotalSeconds * time.TimestampFrequency);
    }

    internal BusCall Call { get; }

    /// <summary>Timestamp of the clock at which the caller stops waiting.</summary>
    internal long ExpiresAt { get; }

    internal bool IsExpired => _time.GetTimestamp() >= ExpiresAt;

    internal bool WasSent { get; private set; }

    internal bool IsEnded { get; private set; }

    /// <summary>Puts the call on the bus. A failure ends it.</summary>
    internal void Send(SdBusHandle bus)
    {
        if (IsEnded || WasSent)
            return;

        var result = SdBus.NewMethodCall(bus, out var message, Call.Destination, Call.Path, Call.Interface, Call.Member);
        using (message)
        {
            foreach (var argument in Call.Arguments)
                result = result < 0 ? result : argument.AppendTo(message);
            if (result >= 0)
            {
                _self = GCHandle.Alloc(this);
                // The deadline is kept by the connection; the library gets none, so that the two cannot race.
                result = SdBus.CallAsync(bus, out _slot, message, &OnReply, GCHandle.ToIntPtr(_self), ulong.MaxValue);
            }
        }

        if (result < 0)
            Fail(SystemdException.Native("sd_bus_call_async", result));
        else
            WasSent = true;
    }

    internal void Fail(SystemdException error)
    {
        if (IsEnded)
            return;

        End();
        SetException(error);
    }

    internal void Cancel(CancellationToken ct)
    {
        if (IsEnded)
            return;

        End();
        SetCanceled(ct);
    }

    protected abstract void SetResult(BusMessage reply);

    protected abstract void SetException(Exception error);

    protected abstract void SetCanceled(CancellationToken ct);

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    private static int OnReply(nint message, nint userdata, nint error)
    {
        var call = (PendingCall)GCHandle.FromIntPtr(userdata).Target!;
        call.Complete(new BusMessage(message));
        return 0;
    }

    private void Complete(BusMessage reply)
    {
        if (IsEnded)
            return;

        End();
        // No exception may cross the native frame below; it belongs to whoever awaits the call.
        try
        {
            if (reply.Error() is { } error)
                SetException(SystemdException.FromReply(error.Name, error.Text, error.Errno, Call.Member, IsExpired));
            else
                SetResult(reply);
        }
        catch (Exception exception)
        {
            SetException(exception);
        }
    }

    private void End()
    {
        IsEnded = true;
        _slot?.Dispose();
        _slot = null;
        if (_self.IsAllocated)
            _self.Free();
    }
}

/// <summary>A call whose reply is read into a <typeparamref name="T"/>.</summary>
internal sealed class PendingCall<T>(BusCall call, Func<BusMessage, T> read, TimeProvider time, TimeSpan deadline)
    : PendingCall(call, time, deadline)
{
    // Continuations run elsewhere: the bus's thread must never wait for a caller.
    private readonly TaskCompletionSource<T> _source = new(TaskCreationOptions.RunContinuationsAsynchronously);

    internal Task<T> Task => _source.Task;

    protected override void SetResult(BusMessage reply) => _source.TrySetResult(read(reply));

    protected override void SetException(Exception error) => _source.TrySetException(error);

    protected override void SetCanceled(CancellationToken ct) => _source.TrySetCanceled(ct);
}
