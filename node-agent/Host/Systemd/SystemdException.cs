namespace AgentMetal.NodeAgent.Host.Systemd;

/// <summary>Why a method call has no answer.</summary>
internal enum BusFailure
{
    /// <summary>The peer answered with an error: it saw the request and did not carry it out.</summary>
    Refused,

    /// <summary>No answer within the deadline. Whether the request was carried out is unknown.</summary>
    DeadlinePassed,

    /// <summary>The bus, or the peer on it, is away. Whether the request was carried out is unknown.</summary>
    Away,
}

/// <summary>A D-Bus method call that brought no reply (sd-bus-errors(3), D-Bus specification).</summary>
internal sealed class SystemdException : Exception
{
    private const string Standard = "org.freedesktop.DBus.Error.";

    /// <summary>An error reply, or a failure of this side with errno(3).</summary>
    public SystemdException(string errorName, string message, int errno, BusFailure failure)
        : base($"{errorName}: {message}")
    {
        ErrorName = errorName;
        Reason = message;
        Errno = errno;
        Failure = failure;
    }

    /// <summary>The D-Bus error name, "org.freedesktop.systemd1.NoSuchUnit" and the like.</summary>
    public string ErrorName { get; }

    /// <summary>The sentence that came with it.</summary>
    public string Reason { get; }

    /// <summary>errno(3) that sd-bus maps the name to, 0 when there is none.</summary>
    public int Errno { get; }

    /// <summary>What a caller may conclude.</summary>
    public BusFailure Failure { get; }

    internal static SystemdException Away(string why) => new(Standard + "Disconnected", why, 0, BusFailure.Away);

    internal static SystemdException DeadlinePassed(string member) =>
        new(Standard + "Timeout", $"{member} was not answered within its deadline", 0, BusFailure.DeadlinePassed);

    internal static SystemdException Native(string function, int negativeErrno) =>
        new("System.Error." + -negativeErrno, $"{function} failed with errno {-negativeErrno}", -negativeErrno, BusFailure.Away);

    /// <summary>
    /// An error reply, by its name. These names mean that nobody is there to answer, which must never be read as the
    /// answer that a unit does not exist.
    /// </summary>
    internal static SystemdException FromReply(string errorName, string message, int errno, string member, bool deadlinePassed)
    {
        switch (errorName)
        {
            case Standard + "NoReply" or Standard + "Timeout" or Standard + "TimedOut" or "System.Error.ETIMEDOUT":
                return deadlinePassed ? DeadlinePassed(member) : new SystemdException(errorName, message, errno, BusFailure.Away);
            case Standard + "Disconnected" or Standard + "ServiceUnknown" or Standard + "NameHasNoOwner" or Standard + "NoServer"
                or Standard + "LimitsExceeded":
                return new SystemdException(errorName, message, errno, BusFailure.Away);
            default:
                return errorName.StartsWith(Standard + "Spawn.", StringComparison.Ordinal)
                    ? new SystemdException(errorName, message, errno, BusFailure.Away)
                    : new SystemdException(errorName, message, errno, BusFailure.Refused);
        }
    }
}
