using System.Runtime.InteropServices;
using System.Text;

namespace AgentMetal.NodeAgent.Host.Processes;

/// <summary>One program from start to end, on one thread.</summary>
internal sealed unsafe class ProcessRun(ProcessRequest request, TimeProvider time, WakeUp stop) : IDisposable
{
    /// <summary>After the program ended, how long output of what it left running is still read.</summary>
    private static readonly TimeSpan Drain = TimeSpan.FromSeconds(1);

    private const int SetFlags = 4;
    private const int NonBlocking = 0x800;
    private const int Again = 11;
    private const int OutOfMemory = 12;

    private readonly Tail _stdout = new(request.MaxOutputBytes);
    private readonly Tail _stderr = new(request.MaxOutputBytes);
    private readonly byte[] _buffer = new byte[16 * 1024];
    private readonly int[] _pipes = [-1, -1, -1, -1, -1, -1];
    private int _pid;
    private int _pidFd = -1;
    private int _stdinDone;

    internal ProcessOutcome Run()
    {
        var errno = Start();
        if (errno != 0)
            return new ProcessOutcome { Result = ProcessResult.NotStarted, Detail = $"{request.Program} could not be started (errno {errno})" };

        var ends = time.GetTimestamp() + (long)(request.Deadline.TotalSeconds * time.TimestampFrequency);
        var inTime = Pump(ends, untilExit: true, stoppable: true);
        // Also after a good end: what a program leaves running in its session is nobody's.
        _ = ProcessNative.SendSignal(-_pid, ProcessNative.Kill);
        if (!inTime)
            _ = ProcessNative.SendSignal(_pid, ProcessNative.Kill);
        var status = Reap();
        Pump(time.GetTimestamp() + (long)(Drain.TotalSeconds * time.TimestampFrequency), untilExit: false, stoppable: false);
        return OutcomeOf(status, inTime);
    }

    public void Dispose()
    {
        foreach (var fd in _pipes.Append(_pidFd).Where(static fd => fd >= 0))
            _ = ProcessNative.Close(fd);
    }

    // The pipes are, in pairs of reading and writing end: standard input, output, error.
    private int Start()
    {
        fixed (int* first = _pipes)
        {
            for (var i = 0; i < 3; i++)
            {
                if (ProcessNative.Pipe(first + (2 * i), ProcessNative.CloseOnExec) != 0)
                    return Marshal.GetLastPInvokeError();
            }
        }

        foreach (var ours in (int[])[_pipes[1], _pipes[2], _pipes[4]])
            _ = ProcessNative.FileControl(ours, SetFlags, NonBlocking);

        var result = Spawn();
        Close(0);
        Close(3);
        Close(5);
        if (result != 0)
            return result;

        _pidFd = ProcessNative.PidFdOpen(_pid);
        if (_pidFd >= 0)
            return 0;

        result = Marshal.GetLastPInvokeError();
        _ = ProcessNative.SendSignal(-_pid, ProcessNative.Kill);
        Reap();
        return result;
    }

    private int Spawn()
    {
        byte* actions = stackalloc byte[ProcessNative.OpaqueSize];
        byte* attributes = stackalloc byte[ProcessNative.OpaqueSize];
        byte* signals = stackalloc byte[ProcessNative.OpaqueSize];
        var failed = ProcessNative.FileActionsInit(actions) | ProcessNative.AttributesInit(attributes);
        using var argv = new NativeStrings([request.Program, .. request.Arguments]);
        using var envp = new NativeStrings(Environment());
        try
        {
            for (var i = 0; i < 3; i++)
                failed |= ProcessNative.FileActionsAddDup2(actions, _pipes[i == 0 ? 0 : (2 * i) + 1], i);
            // .NET ignores SIGPIPE, and a child would inherit that: programs behave oddly with it.
            failed |= ProcessNative.SignalsFill(signals) | ProcessNative.AttributesSetSignalDefaults(attributes, signals);
            failed |= ProcessNative.SignalsEmpty(signals) | ProcessNative.AttributesSetSignalMask(attributes, signals);
            failed |= ProcessNative.AttributesSetFlags(
                attributes, ProcessNative.NewSession | ProcessNative.SetSignalDefaults | ProcessNative.SetSignalMask);
            if (failed != 0)
                return OutOfMemory;

            return ProcessNative.Spawn(out _pid, request.Program, actions, attributes, argv.Pointer, envp.Pointer);
        }
        finally
        {
            _ = ProcessNative.FileActionsDestroy(actions);
            _ = ProcessNative.AttributesDestroy(attributes);
        }
    }

    private List<string> Environment()
    {
        var all = new Dictionary<string, string>(StringComparer.Ordinal)
        {
            ["PATH"] = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            ["LANG"] = "C.UTF-8",
        };
        foreach (var (name, value) in request.Environment)
            all[name] = value;
        return [.. all.Select(static pair => $"{pair.Key}={pair.Value}")];
    }

    /// <summary>Moves bytes until the program ended (or both outputs did), the time came, or we are told to stop.</summary>
    /// <returns>True when what was waited for happened in time.</returns>
    private bool Pump(long ends, bool untilExit, bool stoppable)
    {
        if (_stdinDone == (request.Stdin?.Length ?? 0))
            Close(1);
        Span<Polling.Entry> entries = stackalloc Polling.Entry[5];
        while (true)
        {
            if (!untilExit && _pipes[2] < 0 && _pipes[4] < 0)
                return true;

            var left = time.GetElapsedTime(time.GetTimestamp(), ends).TotalMilliseconds;
            if (left <= 0)
                return false;

            entries[0] = new Polling.Entry { Fd = _pipes[1], Events = Polling.Out };
            entries[1] = new Polling.Entry { Fd = _pipes[2], Events = Polling.In };
            entries[2] = new Polling.Entry { Fd = _pipes[4], Events = Polling.In };
            entries[3] = new Polling.Entry { Fd = untilExit ? _pidFd : -1, Events = Polling.In };
            entries[4] = new Polling.Entry { Fd = stoppable ? stop.Fd : -1, Events = Polling.In };
            Polling.Wait(entries, (int)Math.Min(Math.Ceiling(left), 60_000));
            if (entries[0].Returned != 0)
                Feed();
            if (entries[1].Returned != 0)
                Take(2, _stdout);
            if (entries[2].Returned != 0)
                Take(4, _stderr);
            if (entries[4].Returned != 0)
                return false;
            if (entries[3].Returned != 0)
                return true;
        }
    }

    private void Feed()
    {
        fixed (byte* first = request.Stdin!.Value.Span[_stdinDone..])
        {
            var count = ProcessNative.Write(_pipes[1], first, (nuint)(request.Stdin.Value.Length - _stdinDone));
            if (count >= 0)
                _stdinDone += (int)count;
            // A program may stop reading before the end; that is its business, and its exit status tells.
            if (_stdinDone == request.Stdin.Value.Length || (count < 0 && Marshal.GetLastPInvokeError() != Again))
                Close(1);
        }
    }

    private void Take(int pipe, Tail tail)
    {
        fixed (byte* first = _buffer)
        {
            var count = ProcessNative.Read(_pipes[pipe], first, (nuint)_buffer.Length);
            if (count > 0)
                tail.Add(_buffer.AsSpan(0, (int)count));
            else if (count == 0 || Marshal.GetLastPInvokeError() != Again)
                Close(pipe);
        }
    }

    private int Reap()
    {
        // The child is dead or was killed. Only a signal can interrupt the wait, and only so often.
        for (var attempt = 0; attempt < 100; attempt++)
        {
            if (ProcessNative.WaitPid(_pid, out var status, 0) == _pid)
                return status;
        }

        throw new InvalidOperationException($"waitpid failed with errno {Marshal.GetLastPInvokeError()}: someone else reaps our children.");
    }

    private ProcessOutcome OutcomeOf(int status, bool inTime)
    {
        var signal = status & 0x7F;
        var code = (status >> 8) & 0xFF;
        var outcome = new ProcessOutcome
        {
            Result = !inTime ? ProcessResult.DeadlinePassed : signal != 0 ? ProcessResult.Signalled : ProcessResult.Exited,
            ExitCode = inTime && signal == 0 ? code : -1,
            Signal = signal,
            Stdout = _stdout.Text,
            Stderr = _stderr.Text,
            Truncated = _stdout.IsCut || _stderr.IsCut,
        };
        return outcome with
        {
            Detail = outcome.Result switch
            {
                ProcessResult.DeadlinePassed => $"{request.Program} did not end within {request.Deadline.TotalSeconds:0.###} s and was killed",
                ProcessResult.Signalled => $"{request.Program} was ended by signal {signal}",
                _ => code == 0 ? "" : $"{request.Program} exited with status {code}",
            },
        };
    }

    private void Close(int pipe)
    {
        if (_pipes[pipe] >= 0)
            _ = ProcessNative.Close(_pipes[pipe]);
        _pipes[pipe] = -1;
    }

    /// <summary>The last bytes of a stream, in at most twice the room.</summary>
    private sealed class Tail(int limit)
    {
        private byte[] _bytes = [];
        private int _length;

        internal bool IsCut { get; private set; }

        internal string Text
        {
            get
            {
                Cut();
                return Encoding.UTF8.GetString(_bytes, 0, _length);
            }
        }

        internal void Add(ReadOnlySpan<byte> bytes)
        {
            if (_length + bytes.Length > _bytes.Length)
                Array.Resize(ref _bytes, Math.Max(_length + bytes.Length, _bytes.Length * 2));
            bytes.CopyTo(_bytes.AsSpan(_length));
            _length += bytes.Length;
            if (_length > 2L * limit)
                Cut();
        }

        private void Cut()
        {
            if (_length <= limit)
                return;

            _bytes.AsSpan(_length - limit, limit).CopyTo(_bytes);
            _length = limit;
            IsCut = true;
        }
    }

    /// <summary>A NULL-terminated array of C strings.</summary>
    private sealed class NativeStrings : IDisposable
    {
        private readonly int _count;

        internal NativeStrings(IReadOnlyList<string> values)
        {
            _count = values.Count;
            Pointer = (nint*)NativeMemory.AllocZeroed((nuint)(_count + 1), (nuint)sizeof(nint));
            for (var i = 0; i < _count; i++)
                Pointer[i] = Marshal.StringToCoTaskMemUTF8(values[i]);
        }

        internal nint* Pointer { get; }

        public void Dispose()
        {
            for (var i = 0; i < _count; i++)
                Marshal.FreeCoTaskMem(Pointer[i]);
            NativeMemory.Free(Pointer);
        }
    }
}
