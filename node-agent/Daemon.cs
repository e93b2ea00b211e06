using System.Net;
using AgentMetal.NodeAgent.Agents.Instance;
using AgentMetal.NodeAgent.Edge;
using AgentMetal.NodeAgent.Edge.Consoles;
using AgentMetal.NodeAgent.Edge.Enrol;
using AgentMetal.NodeAgent.Edge.Identity;
using AgentMetal.NodeAgent.Host.Files;
using AgentMetal.NodeAgent.Host.Libvirt;
using AgentMetal.NodeAgent.Host.Notify;
using AgentMetal.NodeAgent.Host.Packages;
using AgentMetal.NodeAgent.Host.Processes;
using AgentMetal.NodeAgent.Host.Systemd;
using AgentMetal.NodeAgent.Host.Transfer;
using AgentMetal.NodeAgent.Pipeline;
using AgentMetal.NodeAgent.Pipeline.Stories;
using AgentMetal.Runtime.Approval;
using AgentMetal.Runtime.Audit;
using AgentMetal.Runtime.Trust;
using Google.Protobuf;
using Microsoft.Extensions.Logging;

namespace AgentMetal.NodeAgent;

/// <summary>The composition root: everything is made here, by hand, and ends in reverse order.</summary>
internal sealed partial class Daemon(string data, AgentConfig config, string version, LibvirtOptions libvirtOptions, ImageDirectories imageDirectories, ILoggerFactory logs)
{
    private static readonly TimeSpan TimePersistEvery = TimeSpan.FromHours(1);
    private static readonly TimeSpan RenewLookEvery = TimeSpan.FromMinutes(10);
    private static readonly TimeSpan FirstTrim = TimeSpan.FromSeconds(20);
    private static readonly TimeSpan TrimEvery = TimeSpan.FromMinutes(10);
    private static readonly TimeSpan MetricsRetry = TimeSpan.FromSeconds(30);
    private static readonly TimeSpan MembersFirst = TimeSpan.FromMilliseconds(500);
    private static readonly TimeSpan EndDeadline = TimeSpan.FromSeconds(5);

    private readonly ILogger _log = logs.CreateLogger<Daemon>();
    private readonly TimeProvider _clock = TimeProvider.System;
    private readonly DateTimeOffset _started = TimeProvider.System.GetUtcNow();
    private HostClock _time = null!;
    private NodeIdentity _identity = null!;
    private ApproverSet? _approvers;

    /// <summary>Runs until stopped; throws <see cref="InvalidDataException"/> with the fix when it cannot begin.</summary>
    public async Task RunAsync(string socketPath, string busAddress, CancellationToken stop)
    {
        using var notifier = new SystemdNotifier(Environment.GetEnvironmentVariable, Environment.ProcessId);
        var folder = new IdentityFolder(Path.Combine(data, "identity"));
        _identity = LoadIdentity(folder);
        await using var store = OpenStore();
        _time = new(_clock, () => _identity.NotAfter);
        _time.Prove(_identity.NotBefore);
        if (await store.MetaAsync(HostClock.Meta, stop) is { } text && long.TryParse(text, out var ms)) _time.Prove(DateTimeOffset.FromUnixTimeMilliseconds(ms));
        _approvers = LoadApprovers(folder);

        await using var bus = new SystemdLink(new SystemdOptions { BusAddress = busAddress }, _clock);
        using var paths = new PathWatcher();
        // Neither the library nor the daemon of libvirt is touched before the first machine is assigned.
        await using var libvirt = new LibvirtLink(libvirtOptions, _clock);
        using var images = new ImageStore(_clock, imageDirectories);
        var coordinator = new Uri("https://" + config.Coordinator);
        await using var handOvers = new HandOvers(new TransferFiles(Path.Combine(data, "moves"), new FileReader(), new FileWriter()) { StaysHere = InstanceLayout.StaysHere },
            new PeerTransport(() => _identity, Now, () => TransferAddress(coordinator), logs.CreateLogger<PeerTransport>()), _clock, logs.CreateLogger<HandOvers>());
        var jobs = new OwnJobs(_clock);
        var host = Access(bus, libvirt, jobs);
        var metrics = new Metrics(version, ProcessAge.Of(ProcessAge.OwnStat));
        var verdict = new PeerVerdict(Now, () => _identity.Verify(Now()));
        var link = new CoordinatorLink(Options(coordinator, host.Hypervisor), store, () => CoordinatorChannel.Open(coordinator, _identity.Root, _identity, Now, verdict), () => _identity.Key, _clock, logs.CreateLogger<CoordinatorLink>());
        var time = new TrustedClock(_clock, Now);
        var state = new MemberState(store, _clock);
        await using var controller = new Controller(ControllerOptions(), AgentCatalog.Members(host, images, handOvers), state, host.Units, paths, link,
            new ApprovalVerifier(() => _approvers), new DigestVerifier(() => _approvers, time), time, logs.CreateLogger<Controller>(), AgentCatalog.Topics(host))
        {
            Stories = new(host.Units, jobs, new MemoryEvents(), state, Boot.Id, _clock, logs.CreateLogger<MemberStories>()) { Log = new UnitLog(host.Processes) },
        };
        link.Bind(controller);
        (link.Verdict, link.Time) = (verdict, _time);
        link.LinkChanged = metrics.Attached;
        var (words, own) = await HearAsync(store, controller, link, time, stop);
        link.ApproverSet = bytes => TakeApprovers(folder, bytes, controller, store);
        metrics.Observe(controller, link.Guard);
        metrics.Observe(controller, AgentCatalog.Series(host));
        var details = new MemberDetails(controller, AgentCatalog.Details(host), _clock, logs.CreateLogger<MemberDetails>());
        controller.Happened += (_, happened) => metrics.Happened(happened);
        CrashPoint.Install(controller);

        await controller.LoadPausesAsync(store, stop);
        await AssignAsync(store, controller, stop);
        _ = own.HoldAsync(stop);
        controller.Start();
        var consoles = new ConsoleDesk(AgentCatalog.Consoles(host), (resource, kind, body) => AuditAsync(store, resource, kind, body), _clock, logs.CreateLogger<ConsoleDesk>());
        var remote = new RemoteConsole(consoles, Trust(), () => controller.Members.Where(m => !m.Gone).Select(m => m.Input), () => CoordinatorChannel.Open(coordinator, _identity.Root, _identity, Now), _clock, logs.CreateLogger<RemoteConsole>());
        link.Console = call => _ = remote.ServeAsync(call, stop);
        using var desk = Desk(store, controller);
        link.Decide = desk.TakeAsync;
        var local = new LocalServer(socketPath, Sources(store, controller, link, consoles, desk) with
        {
            State = words.TakeCarriedAsync,
            StruckOff = () => words.Own,
            Hands = new LocalHands(controller, time, (resource, kind, body) => AuditAsync(store, resource, kind, body), stop).TakeAsync,
        }, logs.CreateLogger<LocalServer>());
        notifier.Ready($"{controller.Members.Length} members");
        LogReady(_log, config.Name, _identity.Peer.Uid, controller.Members.Length);
        using var ending = CancellationTokenSource.CreateLinkedTokenSource(stop);
        try
        {
            await TogetherAsync([local.RunAsync(ending.Token), AfterLookingAsync(controller, link.RunAsync, ending.Token), WatchdogAsync(notifier, store, ending.Token),
                RenewAsync(folder, coordinator, link, ending.Token), PersistTimeAsync(store, ending.Token), TrimAsync(ending.Token), details.RunAsync(ending.Token), AfterLookingAsync(controller, stop => ServeMetricsAsync(metrics, stop), ending.Token)], ending);
        }
        catch (OperationCanceledException) when (stop.IsCancellationRequested) { /* The end that was asked for. */ }
        notifier.Stopping();
        await consoles.EndedAsync();
    }

    private LocalStore OpenStore() => LocalStore.Open(Path.Combine(data, "local.db"), _identity.Peer.Uid) switch
    {
        LocalOpening.Refused refused => throw new InvalidDataException(refused.Message),
        var opened => ((LocalOpening.Opened)opened).Store,
    };

    /// <summary>What operators say of the fleet, and what of it is of this host.</summary>
    private async Task<(FleetWords Words, OwnStrikeOff Own)> HearAsync(LocalStore store, Controller controller, CoordinatorLink link, TrustedClock time, CancellationToken stop)
    {
        var words = new FleetWords(store, _identity.Peer.Uid, () => _approvers, Now, logs.CreateLogger<FleetWords>()) { Guard = link.Guard, Time = _time };
        var own = new OwnStrikeOff(controller, words, time, logs.CreateLogger<OwnStrikeOff>());
        words.Struck = struck =>
        {
            controller.MarkAgain();
            _ = own.HoldAsync(stop);
        };
        link.Guard.IsStruckOff = words.IsStruckOff;
        link.StoreRefused = why => store.AuditAsync("StoreRefused", Now(), AuditBody.Of(("why", why))).AsTask();
        await words.LoadAsync(stop);
        controller.Mark = words.Mark;
        link.Statement = words.TakeAsync;
        return (words, own);
    }

    /// <summary>What was declared last, also where no coordinator is there.</summary>
    private async Task AssignAsync(LocalStore store, Controller controller, CancellationToken stop)
    {
        foreach (var wire in await store.AssignmentsAsync(stop))
        {
            var (input, why) = Wire.Read(wire, _identity.Peer.Uid);
            if (input is null) LogUnusable(_log, why!);
            else controller.Assign(input);
        }
    }

    /// <summary>The members of this host come before everybody who wants to know of them; those who cannot be looked at quickly keep nobody waiting.</summary>
    private async Task AfterLookingAsync(Controller controller, Func<CancellationToken, Task> part, CancellationToken stop)
    {
        try { await controller.LookedAtAll.WaitAsync(MembersFirst, _clock, stop); }
        catch (TimeoutException) { }
        await part(stop);
    }

    /// <summary>Until all have ended. A part that fails ends the others, and systemd starts a whole daemon: half of one would look alive.</summary>
    private static async Task TogetherAsync(List<Task> parts, CancellationTokenSource ending)
    {
        try
        {
            while (parts.Count > 0)
            {
                var ended = await Task.WhenAny(parts);
                parts.Remove(ended);
                await ended;
            }
        }
        finally
        {
            await ending.CancelAsync();
            await Task.WhenAny(Task.WhenAll(parts), Task.Delay(EndDeadline, CancellationToken.None));
        }
    }

    private DateTimeOffset Now() => _time.Now();

    /// <summary>The address that peers are told; asked anew at each try, for it may come after the daemon.</summary>
    private IPEndPoint TransferAddress(Uri coordinator)
    {
        if (config.TransferPort == 0) throw new IOException("transferPort is 0 in " + AgentConfig.FileName);
        return new(HostFacts.Addresses(config.Address, coordinator) is [var first, ..] ? IPAddress.Parse(first) : throw new IOException("this host has no address yet"), config.TransferPort);
    }

    private HostAccess Access(SystemdLink bus, LibvirtLink libvirt, OwnJobs jobs)
    {
        var processes = new ProcessRunner(_clock);
        var units = new OwnUnitWriter(new UnitWriter(bus), jobs);
        var packages = new DpkgReader(processes, "/var/lib/dpkg");
        return new(new UnitReader(bus), units, new FileReader(), new FileWriter(), packages, new AptWriter(processes, packages, units, _clock), processes,
            new LibvirtReader(libvirt), new LibvirtWriter(libvirt), new HypervisorProbe(processes, new HypervisorOptions(), _clock),
            new LibvirtConsole(libvirt));
    }

    private LinkOptions Options(Uri coordinator, HypervisorProbe hypervisor) => new()
    {
        Coordinator = coordinator,
        Name = config.Name,
        Uid = _identity.Peer.Uid,
        Version = version,
        Labels = config.Labels,
        Facts = async stop => HostFacts.Read().Add("hypervisor", await HypervisorAsync(hypervisor, stop)).Add("transfer_port", config.TransferPort.ToString(System.Globalization.CultureInfo.InvariantCulture)),
        Addresses = () => HostFacts.Addresses(config.Address, coordinator),
    };

    /// <summary>kvm, tcg or none. A host without QEMU is not asked; the answer of one that has it is kept for the boot.</summary>
    private static async ValueTask<string> HypervisorAsync(HypervisorProbe probe, CancellationToken stop) =>
        File.Exists(new HypervisorOptions().Program) ? (await probe.ProbeAsync(stop)).Accelerator.ToString().ToLowerInvariant() : "none";

    private ControllerOptions ControllerOptions() => new()
    {
        Probe = TimeSpan.FromSeconds(config.ProbeSeconds),
        Resync = TimeSpan.FromSeconds(config.ResyncSeconds),
        MaxReturns = config.MaxReturns,
    };

    private static NodeIdentity LoadIdentity(IdentityFolder folder) => folder.Load() switch
    {
        null => throw new InvalidDataException("this host has no identity yet. Next: agentmetald join --help"),
        { IsTrusted: true } ok => ok.Value,
        var bad => throw new InvalidDataException($"the identity of this host cannot be used: {bad.Problem!.Message}. Next: agentmetald join with a new token"),
    };

    private ApproverSet? LoadApprovers(IdentityFolder folder)
    {
        if (folder.ApproverSet() is not { } bytes) return null;
        var set = ApproverSet.Verify(bytes, _identity.Root.Certificate, Now(), 0);
        if (!set.IsTrusted) LogApprovers(_log, set.Problem!.Message);
        return set.IsTrusted ? set.Value : null;
    }

    private void TakeApprovers(IdentityFolder folder, byte[] bytes, Controller controller, LocalStore store)
    {
        var set = folder.TakeApproverSet(bytes, Now());
        if (!set.IsTrusted)
        {
            LogApprovers(_log, set.Problem!.Message);
            return;
        }
        var news = _approvers?.Version != set.Value.Version;
        _approvers = set.Value;
        // Who may not decide any more took his denials with him: what they stopped is asked anew, and not free.
        if (news) _ = store.ForgetDenialsAsync(key => set.Value.Find(key) is not null, Now(), CancellationToken.None).AsTask().GetAwaiter().GetResult();
        // What waits for signatures may be signed as the new set wants it, and the other way round.
        if (news) controller.Wake(null);
    }

    private async ValueTask AuditAsync(LocalStore store, string resource, string kind, string body) =>
        _ = await store.CommitAsync(new() { At = Now(), ResourceKey = resource, Audit = [(kind, body)] });

    private ConsoleTrust Trust() => new() { NodeUid = _identity.Peer.Uid, NodeKey = () => _identity.Key, NodeCertificate = () => _identity.CertificateDer, Approvers = () => _approvers, Now = Now };

    private DecisionDesk Desk(LocalStore store, Controller controller) => new(new()
    {
        Store = store,
        NodeUid = _identity.Peer.Uid,
        Approvers = () => _approvers,
        Now = Now,
        Members = () => controller.Members,
        Decided = controller.WakeResource,
        Audit = (resource, kind, body) => AuditAsync(store, resource, kind, body),
    });

    private LocalSources Sources(LocalStore store, Controller controller, CoordinatorLink link, ConsoleDesk consoles, DecisionDesk desk) => new()
    {
        Node = () =>
        {
            var cursor = store.CursorAsync(CancellationToken.None).AsTask().WaitAsync(TimeSpan.FromSeconds(2)).GetAwaiter().GetResult();
            return new(config.Name, _identity.Peer.Uid, version, _started.ToUnixTimeMilliseconds(), _identity.NotAfter.ToUnixTimeMilliseconds(), (int)(_approvers?.Version ?? 0), cursor.StoreId, cursor.Revision);
        },
        Link = () => link.View,
        Members = () => controller.Members,
        Held = view => view.Held.IsEmpty ? null
            : Wire.ToCarried(Wire.ToHeld(view, config.Name, _identity.Key, Now(), TimeSpan.FromHours(24)), _identity.CertificateDer).ToByteArray(),
        Approve = desk.TakeAsync,
        Console = (member, force, peer, stop) => consoles.ServeAsync(member, new("root on this host", "", force), peer, stop),
    };

    /// <summary>The watchdog is fed by a round trip through the store: a daemon whose disk hangs is not alive.</summary>
    private static async Task WatchdogAsync(SystemdNotifier notifier, LocalStore store, CancellationToken stop)
    {
        if (notifier.WatchdogInterval is not { } interval) return;
        while (true)
        {
            await store.CursorAsync(stop);
            notifier.Watchdog();
            await Task.Delay(interval, stop);
        }
    }

    private async Task PersistTimeAsync(LocalStore store, CancellationToken stop)
    {
        while (true)
        {
            await Task.Delay(TimePersistEvery, _clock, stop);
            // What was set in between by a signature stands: it is the floor that is kept, and not the clock.
            var floor = _time.Floor;
            try
            {
                await store.SetMetaAsync(HostClock.Meta, floor.ToUnixTimeMilliseconds().ToString(System.Globalization.CultureInfo.InvariantCulture), stop);
                await store.PruneApprovalsAsync(floor, stop);
            }
            catch (LocalStoreException e) { LogTimeNotKept(_log, e.Message); } // The next hour may find space.
        }
    }

    /// <summary>A port that somebody else has is no reason to leave members alone: it is tried again until it is free.</summary>
    private async Task ServeMetricsAsync(Metrics metrics, CancellationToken stop)
    {
        if (config.Metrics.Length == 0) return;
        var endpoint = IPEndPoint.Parse(config.Metrics);
        while (true)
        {
            try
            {
                using var serving = metrics.Serve(endpoint);
                await Task.Delay(Timeout.InfiniteTimeSpan, stop);
            }
            catch (HttpListenerException e) { LogNoMetrics(_log, config.Metrics, e.Message, MetricsRetry.TotalSeconds); }
            await Task.Delay(MetricsRetry, _clock, stop);
        }
    }

    /// <summary>A start and a round of repairs need memory that a quiet daemon does not; neither the collector nor the allocator gives it back unasked.</summary>
    private async Task TrimAsync(CancellationToken stop)
    {
        for (var wait = FirstTrim; ; wait = TrimEvery)
        {
            await Task.Delay(wait, _clock, stop);
            MemoryTrim.GiveBack();
        }
    }

    private async Task RenewAsync(IdentityFolder folder, Uri coordinator, CoordinatorLink link, CancellationToken stop)
    {
        var jitter = Random.Shared.NextDouble();
        while (true)
        {
            if (_identity.StateAt(Now(), jitter) is CertificateState.Due or CertificateState.Expired)
            {
                var renewed = await TryRenewAsync(folder, coordinator, link, stop);
                if (renewed.IsTrusted)
                {
                    // Make before break: the stream that stands keeps its certificate, the next one uses the new one.
                    _identity = renewed.Value;
                    _time.Prove(_identity.NotBefore);
                    jitter = Random.Shared.NextDouble();
                    LogRenewed(_log, _identity.NotAfter);
                }
                else LogNotRenewed(_log, renewed.Problem!.Message, _identity.NotAfter);
            }
            await Task.Delay(RenewLookEvery, _clock, stop);
        }
    }

    private async Task<Verdict<NodeIdentity>> TryRenewAsync(IdentityFolder folder, Uri coordinator, CoordinatorLink link, CancellationToken stop)
    {
        try { return await new Enrolment(folder, coordinator, Now) { Refused = trailers => link.FarewellAsync(trailers, stop) }.RenewAsync(_identity, stop); }
        // A full disk is no end of the certificate: there are days left to try again.
        catch (Exception e) when (e is IOException or UnauthorizedAccessException) { return Verdict<NodeIdentity>.Refuse(TrustProblemCode.Malformed, e.Message); }
    }

    /// <summary>The engine's clock never goes back behind what was persisted, because approvals are judged by it.</summary>
    private sealed class TrustedClock(TimeProvider inner, Func<DateTimeOffset> now) : TimeProvider
    {
        public override DateTimeOffset GetUtcNow() => now();
        public override long GetTimestamp() => inner.GetTimestamp();
        public override ITimer CreateTimer(TimerCallback callback, object? state, TimeSpan dueTime, TimeSpan period) => inner.CreateTimer(callback, state, dueTime, period);
    }

    [LoggerMessage(EventId = 1301, Level = LogLevel.Information, Message = "{Name} ({Uid}) is ready with {Members} members")]
    private static partial void LogReady(ILogger log, string name, string uid, int members);

    [LoggerMessage(EventId = 1302, Level = LogLevel.Error, Message = "a stored assignment cannot be used: {Why}")]
    private static partial void LogUnusable(ILogger log, string why);

    [LoggerMessage(EventId = 1303, Level = LogLevel.Warning, Message = "approver set refused: {Why}; nothing Dangerous is approved by it")]
    private static partial void LogApprovers(ILogger log, string why);

    [LoggerMessage(EventId = 1304, Level = LogLevel.Information, Message = "certificate renewed, valid until {Until}")]
    private static partial void LogRenewed(ILogger log, DateTimeOffset until);

    [LoggerMessage(EventId = 1306, Level = LogLevel.Warning, Message = "the trusted time was not kept: {Why}; it is tried again in an hour")]
    private static partial void LogTimeNotKept(ILogger log, string why);

    [LoggerMessage(EventId = 1307, Level = LogLevel.Warning, Message = "no metrics at {Address}: {Why}; tried again in {Seconds} s")]
    private static partial void LogNoMetrics(ILogger log, string address, string why, double seconds);

    [LoggerMessage(EventId = 1305, Level = LogLevel.Warning, Message = "certificate not renewed: {Why}; it is valid until {Until}")]
    private static partial void LogNotRenewed(ILogger log, string why, DateTimeOffset until);
}
