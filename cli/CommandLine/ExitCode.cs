namespace AgentMetal.Cli.CommandLine;

/// <summary>What a script can tell apart. The numbers are a promise; `agentmetal help exit-codes` prints them.</summary>
internal enum ExitCode
{
    Ok = 0,
    Failed = 1,
    BadInput = 2,
    NotFound = 3,
    WaitingForApproval = 4,
    Unreachable = 5,
    TimedOut = 6,
    Refused = 7,

    /// <summary>`plan --detailed-exitcode` only: there is something to change.</summary>
    Changes = 10,

    /// <summary>Ctrl-C: 128 + SIGINT, as shells count.</summary>
    Interrupted = 130,
}
