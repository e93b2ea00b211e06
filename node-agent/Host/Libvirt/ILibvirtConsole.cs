namespace AgentMetal.NodeAgent.Host.Libvirt;

/// <summary>Serial consoles of running domains.</summary>
internal interface ILibvirtConsole
{
    /// <summary>
    /// Opens the first console of a domain as a duplex stream of bytes. It ends (reads return 0) when the domain stops, when another opens it
    /// by force, or when libvirt is lost. A reader that is too slow loses the oldest output, never the connection's memory.
    /// </summary>
    /// <param name="uuid">The domain.</param>
    /// <param name="force">Takes the console away from whoever has it open; without, one that is open is refused.</param>
    /// <param name="deadline">How long opening may take.</param>
    /// <param name="stop">Gives up waiting.</param>
    /// <returns>The stream when the outcome is done, else null.</returns>
    ValueTask<(Stream? Console, DomainOutcome Outcome)> OpenAsync(string uuid, bool force, TimeSpan deadline, CancellationToken stop);
}
