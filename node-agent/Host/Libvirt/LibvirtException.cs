namespace AgentMetal.NodeAgent.Host.Libvirt;

/// <summary>A call into libvirt that failed, with its own words (virterror.h).</summary>
internal sealed class LibvirtException : Exception
{
    // virErrorNumber
    private const int InternalError = 1;
    private const int NoConnect = 5;
    private const int InvalidConnection = 6;
    private const int SystemError = 38;
    private const int Rpc = 39;
    private const int NoDomain = 42;
    private const int NoNetwork = 43;
    private const int AuthFailed = 45;
    private const int NoDomainSnapshot = 72;
    private const int AuthCancelled = 79;
    private const int AuthUnavailable = 94;
    private const int DeviceMissing = 99;

    // virErrorDomain: who raised it
    private const int FromRpc = 7;
    private const int FromRemote = 13;

    public LibvirtException(DomainResult result, string message, int code = 0, int domain = 0)
        : base(message)
    {
        Result = result;
        Code = code;
        Domain = domain;
    }

    /// <summary>What a caller may conclude; never Done.</summary>
    public DomainResult Result { get; }

    /// <summary>virErrorNumber, 0 where the failure is ours.</summary>
    public int Code { get; }

    /// <summary>virErrorDomain, 0 where the failure is ours.</summary>
    public int Domain { get; }

    /// <summary>True when the domain, network, snapshot or device does not exist.</summary>
    internal bool IsNotFound => Result == DomainResult.NotFound;

    /// <summary>libvirt's last error of this thread. Only right after the call that failed, on the same thread.</summary>
    internal static unsafe LibvirtException Last(string function)
    {
        var error = Virt.GetLastError();
        if (error is null || error->Code == 0)
            return new LibvirtException(DomainResult.Refused, $"{function} failed and gave no reason");

        var text = Virt.Text(error->Message);
        return new LibvirtException(ResultOf(error->Code, error->Domain), text.Length > 0 ? text : $"{function} failed with error {error->Code}", error->Code, error->Domain);
    }

    internal static LibvirtException Away(string why) => new(DomainResult.Unreachable, why);

    internal static LibvirtException DeadlinePassed(string why) => new(DomainResult.DeadlinePassed, why);

    /// <summary>An error's meaning. That the way to the daemon broke must never be read as its answer.</summary>
    internal static DomainResult ResultOf(int code, int domain) => code switch
    {
        NoDomain or NoNetwork or NoDomainSnapshot or DeviceMissing => DomainResult.NotFound,
        NoConnect or InvalidConnection or Rpc or AuthFailed or AuthCancelled or AuthUnavailable => DomainResult.Unreachable,
        SystemError or InternalError when domain is FromRpc or FromRemote => DomainResult.Unreachable,
        _ => DomainResult.Refused,
    };
}
