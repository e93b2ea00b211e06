using System.Globalization;

namespace AgentMetal.Testing;

/// <summary>
/// Hosts on a private bridge, each with systemd as PID 1 over a disk of its own. Several labs can run at once; each has
/// its own 10.213.x.0/24. There is no route out: what a host needs is in its root filesystem (see rootfs.sh).
/// </summary>
public sealed class Lab : IAsyncDisposable
{
    private static readonly TimeSpan VerbTimeout = TimeSpan.FromSeconds(30);
    private static readonly TimeSpan DownTimeout = TimeSpan.FromMinutes(2);

    private readonly LabScript script;
    private readonly Dictionary<string, LabHost> hosts = [];
    private bool disposed;

    private Lab(LabScript script) => this.script = script;

    /// <summary>The hosts, in the order of <see cref="LabOptions.HostNames"/>.</summary>
    public IReadOnlyList<LabHost> Hosts => [.. hosts.Values];

    /// <summary>This machine's address on the bridge: where a coordinator in the root namespace listens. Hosts know it as <c>control</c>.</summary>
    public string GatewayAddress { get; private set; } = "";

    /// <summary>Where the lab's disks and process ids are, under the cache.</summary>
    public string StateDirectory => script.StateDirectory;

    /// <summary>Marks the lab in everything it makes outside its directory: the bridge is am{Index}, its groups amlab-{Index}-….</summary>
    public int Index { get; private set; }

    public LabHost this[string name] => hosts.TryGetValue(name, out var host)
        ? host
        : throw new LabException($"this lab has no host {name}; it has {string.Join(", ", hosts.Keys)}");

    /// <summary>Builds what the first lab on a machine needs (about a minute), so that a test may count boot times without it.</summary>
    public static Task PrepareAsync(CancellationToken cancellationToken = default) => LabScript.RootFilesystemAsync(cancellationToken);

    /// <summary>Removes what the labs of dead owners left: processes, groups, bridges, files. Labs of living owners are untouched.</summary>
    /// <exception cref="LabException">Something could not be removed; the message names it.</exception>
    public static async Task SweepAsync(CancellationToken cancellationToken = default)
    {
        var result = (await new LabScript("/nonexistent").RunAsync(DownTimeout, default, cancellationToken, "sweep")).OrThrow();
        if (result.Stderr.Contains("error:", StringComparison.Ordinal))
            throw new LabException(result.Stderr.Trim());
    }

    /// <summary>Sweeps, then makes the hosts and waits until systemd is up on each (about a second a host on two cores).</summary>
    /// <exception cref="LabException">A host did not boot; its console's end is in the message. Nothing is left behind.</exception>
    public static async Task<Lab> StartAsync(LabOptions options, CancellationToken cancellationToken = default)
    {
        await PrepareAsync(cancellationToken);
        await SweepAsync(cancellationToken);
        var name = $"{Environment.ProcessId}-{Guid.NewGuid().ToString("N")[..8]}";
        var lab = new Lab(new LabScript(Path.Combine(LabScript.CacheDirectory, "run", name)));
        try
        {
            await lab.BootAsync(options, cancellationToken);
            return lab;
        }
        catch
        {
            await lab.DisposeAsync();
            throw;
        }
    }

    /// <summary>A virtual machine on this lab's bridge, off until it is started; the caller disposes of it before the lab.</summary>
    /// <param name="name">As of a host.</param>
    /// <param name="binds">Copied to a disk that the guest reads.</param>
    public async Task<LabGuest> AddGuestAsync(string name, IReadOnlyList<LabBind> binds, CancellationToken cancellationToken = default)
    {
        var options = binds.SelectMany(bind => new[] { "--bind", $"{Path.GetFullPath(bind.Source)}:{bind.Destination}" });
        return new LabGuest(script, name, await script.DefineGuestAsync(name, options, cancellationToken));
    }

    /// <summary>Neither host hears the other any more; both hear everybody else. Outlives a reboot of either.</summary>
    public Task PartitionAsync(LabHost a, LabHost b, CancellationToken cancellationToken = default) =>
        VerbAsync(cancellationToken, "cut", a.Name, b.Name);

    /// <summary>What <paramref name="from"/> sends to <paramref name="to"/> is lost; the other direction works.</summary>
    public Task PartitionOneWayAsync(LabHost from, LabHost to, CancellationToken cancellationToken = default) =>
        VerbAsync(cancellationToken, "cut", from.Name, to.Name, "--one-way");

    /// <summary>The host and this machine (the coordinator's place) do not hear each other any more.</summary>
    public Task PartitionFromControlAsync(LabHost host, CancellationToken cancellationToken = default) =>
        VerbAsync(cancellationToken, "cut", host.Name, "control");

    /// <summary>The host hears nobody and nobody hears it.</summary>
    public Task IsolateAsync(LabHost host, CancellationToken cancellationToken = default) =>
        VerbAsync(cancellationToken, "isolate", host.Name);

    /// <summary>Drops packets at random, in each direction on its own: at 50, three of four pings find no answer.</summary>
    /// <param name="percent">0 to 100.</param>
    public Task LossAsync(LabHost host, int percent, CancellationToken cancellationToken = default) =>
        VerbAsync(cancellationToken, "loss", host.Name, percent.ToString(CultureInfo.InvariantCulture));

    /// <summary>Ends every network fault of this lab.</summary>
    public Task HealAsync(CancellationToken cancellationToken = default) => VerbAsync(cancellationToken, "heal");

    /// <summary>Kills the hosts and removes every trace of the lab.</summary>
    /// <exception cref="LabException">Something could not be removed; the message names it.</exception>
    public async ValueTask DisposeAsync()
    {
        if (disposed)
            return;
        disposed = true;
        // Not cancellable: a lab that is half removed is what the next one stumbles over.
        if (File.Exists(Path.Combine(StateDirectory, "lab")))
            await script.RequireAsync(DownTimeout, CancellationToken.None, "down");
        else if (Directory.Exists(StateDirectory))
            Directory.Delete(StateDirectory, recursive: true);
    }

    private async Task BootAsync(LabOptions options, CancellationToken cancellationToken)
    {
        await VerbAsync(cancellationToken, "create", "--owner", options.OwnerProcessId.ToString(CultureInfo.InvariantCulture));
        GatewayAddress = await script.RequireAsync(VerbTimeout, cancellationToken, "address", "control");
        Index = int.Parse(GatewayAddress.Split('.')[2], CultureInfo.InvariantCulture);
        var binds = options.Binds.SelectMany(bind => new[] { "--bind", $"{Path.GetFullPath(bind.Source)}:{bind.Destination}" });
        foreach (var name in options.HostNames)
        {
            await VerbAsync(cancellationToken, ["define", name, .. binds]);
            var address = await script.RequireAsync(VerbTimeout, cancellationToken, "address", name);
            hosts.Add(name, new LabHost(script, name, address));
        }

        // The hosts wait for each other's disks and locks more than for the cores, but more than a few gain nothing.
        var parallel = new ParallelOptions { MaxDegreeOfParallelism = 4, CancellationToken = cancellationToken };
        await Parallel.ForEachAsync(hosts.Values, parallel, async (host, token) => await host.StartAsync(token));
    }

    private Task VerbAsync(CancellationToken cancellationToken, params string[] arguments) =>
        script.RequireAsync(VerbTimeout, cancellationToken, arguments);
}
