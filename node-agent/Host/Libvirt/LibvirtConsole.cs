namespace AgentMetal.NodeAgent.Host.Libvirt;

/// <summary>Opens serial consoles; a number of them at once and no more, because each has a thread and a connection.</summary>
internal sealed class LibvirtConsole(LibvirtLink link) : ILibvirtConsole
{
    /// <summary>Consoles that are open at once.</summary>
    internal const int MaxOpen = 16;

    private int _open;

    /// <summary>Consoles that are open now.</summary>
    internal int Open => Volatile.Read(ref _open);

    public async ValueTask<(Stream? Console, DomainOutcome Outcome)> OpenAsync(string uuid, bool force, TimeSpan deadline, CancellationToken stop)
    {
        try
        {
            var console = await link.RunAsync("opening a console", () => OpenOne(uuid, force), deadline, stop).ConfigureAwait(false);
            return (console, DomainOutcome.Done);
        }
        catch (LibvirtException error)
        {
            return (null, new DomainOutcome(error.Result, error.Message));
        }
    }

    // Counted where it is opened: a caller that has gone by then leaves a stream that is disposed of and counted down like any other.
    private ConsoleStream OpenOne(string uuid, bool force)
    {
        if (Interlocked.Increment(ref _open) > MaxOpen)
        {
            Interlocked.Decrement(ref _open);
            throw new LibvirtException(DomainResult.Refused, $"{MaxOpen} consoles are open already");
        }

        try
        {
            return ConsoleStream.Open(link.Options, uuid, force, () => Interlocked.Decrement(ref _open));
        }
        catch
        {
            Interlocked.Decrement(ref _open);
            throw;
        }
    }
}
