namespace AgentMetal.NodeAgent.Host.Processes;

/// <summary>Runs programs without a shell.</summary>
internal interface IProcessRunner
{
    /// <summary>
    /// Runs a program to its end, or to the deadline, when its process group is killed. Cancellation kills it too and
    /// then throws <see cref="OperationCanceledException"/>.
    /// </summary>
    Task<ProcessOutcome> RunAsync(ProcessRequest request, CancellationToken ct);
}

/// <summary>What to run.</summary>
internal sealed record ProcessRequest
{
    /// <summary>Absolute path of the program: nothing is looked up in PATH.</summary>
    public required string Program { get; init; }

    /// <summary>Arguments without the program's own name. Never a secret: everyone on the host can read them.</summary>
    public IReadOnlyList<string> Arguments { get; init; } = [];

    /// <summary>Bytes for standard input, the place for secrets; null is an empty input.</summary>
    public ReadOnlyMemory<byte>? Stdin { get; init; }

    /// <summary>The whole environment; nothing is inherited. PATH and LANG=C.UTF-8 are set unless given here.</summary>
    public IReadOnlyDictionary<string, string> Environment { get; init; } = new Dictionary<string, string>();

    /// <summary>How long it may run.</summary>
    public required TimeSpan Deadline { get; init; }

    /// <summary>Bytes kept of each output stream, its last ones; the rest is read and dropped.</summary>
    public int MaxOutputBytes { get; init; } = 256 * 1024;
}

/// <summary>How a program ended.</summary>
internal enum ProcessResult
{
    /// <summary>It exited by itself; see <see cref="ProcessOutcome.ExitCode"/>.</summary>
    Exited,

    /// <summary>A signal ended it; see <see cref="ProcessOutcome.Signal"/>.</summary>
    Signalled,

    /// <summary>The deadline passed and it was killed.</summary>
    DeadlinePassed,

    /// <summary>It could not be started; see <see cref="ProcessOutcome.Detail"/>.</summary>
    NotStarted,
}

/// <summary>The outcome of a run.</summary>
internal sealed record ProcessOutcome
{
    /// <summary>How it ended.</summary>
    public required ProcessResult Result { get; init; }

    /// <summary>Exit status, or -1 when it did not exit by itself.</summary>
    public int ExitCode { get; init; } = -1;

    /// <summary>The signal that ended it, else 0.</summary>
    public int Signal { get; init; }

    /// <summary>The last bytes of standard output, as UTF-8 with replacement characters.</summary>
    public string Stdout { get; init; } = "";

    /// <summary>The last bytes of standard error, as UTF-8 with replacement characters.</summary>
    public string Stderr { get; init; } = "";

    /// <summary>True when the beginning of an output was dropped.</summary>
    public bool Truncated { get; init; }

    /// <summary>One sentence when it did not exit with 0, without arguments or output.</summary>
    public string Detail { get; init; } = "";

    /// <summary>True for exit status 0.</summary>
    public bool IsSuccess => Result == ProcessResult.Exited && ExitCode == 0;
}
