using System.Net;
using System.Security.Cryptography;
using AgentMetal.Coordinator.Agents.Orchestrator;
using AgentMetal.Coordinator.Api;
using AgentMetal.Coordinator.Approvals;
using AgentMetal.Coordinator.AuditLog;
using AgentMetal.Coordinator.Consoles;
using AgentMetal.Coordinator.Events;
using AgentMetal.Coordinator.Fleet;
using AgentMetal.Coordinator.Identity;
using AgentMetal.Coordinator.Nodes;
using AgentMetal.Runtime.Store;
using AgentMetal.Runtime.Trust;

namespace AgentMetal.Coordinator.Hosting;

/// <summary>A coordinator cannot start; the message names the flag or file and the fix.</summary>
internal sealed class StartupException(string message, Exception? inner = null) : Exception(message, inner);

/// <summary>The composition root: every part is made here, by hand, and knows only what it is given.</summary>
internal sealed class CoordinatorHost : IAsyncDisposable
{
    private static readonly TimeSpan NodeLife = TimeSpan.FromDays(3);
    private static readonly TimeSpan Tick = TimeSpan.FromSeconds(1);
    private const int SaveEvery = 5;
    private static readonly TimeSpan Chores = TimeSpan.FromMinutes(5);

    private readonly CoordinatorOptions _options;
    private readonly IStore _store;
    private readonly IdentityBundle _bundle;
    private readonly TimeProvider _clock;
    private readonly ILoggerFactory _logs;
    private readonly Leadership _leadership;
    private readonly FleetModel _model;
    private readonly FleetWriter _writer;
    private readonly EventLog _events;
    private readonly FleetJournal _journal;
    private readonly NodeRegistry _registry;
    private readonly HostBoard _hosts;
    private readonly Reports _reports;
    private readonly HeldPlans _held;
    private readonly TurnTable _turns;
    private readonly AssignmentFeed _feed;
    private readonly Orchestrator _orchestrator;
    private readonly StatusBoard _board;
    private readonly LastSaid _last;
    private readonly ReadinessLog _readiness;
    private readonly DiskWatch _disk;
    private bool _lastStood = true;
    private int _looks;
    private readonly ChangeHub _hub = new();
    private readonly ApprovalShelf _approvals;
    private readonly StatementShelf _statements;
    private readonly StoreBook _book;
    private readonly HostStandings _standings = new();
    private readonly ConsoleBridge _consoles;
    private readonly JoinTokens _tokens;
    private readonly ServerIdentity _server;
    private readonly WebApplication _app;
    private readonly WebApplication _metricsApp;
    private readonly CancellationTokenSource _stopping = new();
    private Task _running = Task.CompletedTask;

    private CoordinatorHost(CoordinatorOptions options, IStore store, IdentityBundle bundle, ServerIdentity server, FleetJournal journal, TimeProvider clock, ILoggerFactory logs)
    {
        (_options, _store, _bundle, _server, _journal, _clock, _logs) = (options, store, bundle, server, journal, clock, logs);
        var name = options.Name.Length > 0 ? options.Name : bundle.Names.Name;
        _leadership = new(store, name, clock, logs.CreateLogger<Leadership>());
        var catalog = new AgentCatalog();
        _model = new(store, logs.CreateLogger<FleetModel>(), clock) { ReferencesOf = r => catalog.ReferencesOf(r).Select(to => Keys.Path(r.Metadata.Project, to)) };
        _writer = new(store, _model, _leadership);
        _events = new(Path.Combine(options.Data, "events"), clock, logs.CreateLogger<EventLog>());
        _registry = new(_model, _events, clock);
        _hosts = new(_model, _registry, _standings);
        _book = new(store, Path.Combine(options.Data, "store.seen"), clock, logs.CreateLogger<StoreBook>());
        _last = new(Path.Combine(options.Data, "last-said"), clock, logs.CreateLogger<LastSaid>());
        _reports = new(clock, _last);
        _disk = new(options.Data, clock);
        _held = new(clock);
        _turns = new(store, _leadership, clock);
        var secrets = new SecretShelf(bundle.KeyEncryptionKey, logs.CreateLogger<SecretShelf>());
        var reservations = new PlanReservations(clock);
        _feed = new(_model, _registry, secrets, _book);
        var agent = new PlacementAgent(new AssignmentWriter(_writer, catalog, secrets, reservations));
        var world = new PlacementWorld(_model, _hosts, _reports, catalog);
        _orchestrator = new(agent, _model, world, journal, _events, clock, logs.CreateLogger<Orchestrator>());
        _board = new(_model, _registry, _standings, _reports, _held, _orchestrator, catalog, clock);
        _readiness = new(_model, _board, _events, clock);
        Func<ApproverSet?> approvers = () => ApproverSet.Verify(bundle.ApproverSet, bundle.Root.Certificate, clock.GetUtcNow(), 0) is { IsTrusted: true } v ? v.Value : null;
        _approvals = new(store, _model, _writer, _registry, _held, _events, approvers, clock);
        var audit = new AuditSegments(Path.Combine(options.Data, "audit"));
        _statements = new(store, _model, _writer, _registry, _events, _book, audit, approvers, clock);
        _tokens = new(store, bundle.Root.Sha256, RandomNumberGenerator.Fill, clock);
        var previews = new Previews(_registry, clock);
        var inbox = new NodeInbox(_model, _standings, _reports, _held, previews, _turns, audit, _events, clock, logs.CreateLogger<NodeInbox>()) { Decided = _approvals.AnsweredAsync };
        Wire(inbox);
        _consoles = new(_model, _registry, _events, clock);
        var identity = new CoordinatorIdentity(name, store.StoreId, bundle.ApproverSet);
        var link = new NodeLinkService(_registry, new NodeRecords(_model, _writer), _feed, inbox, audit, _held, _approvals, _statements, _book, _consoles, identity, clock, logs.CreateLogger<NodeLinkService>());
        var api = new OperatorService(_model, _writer, new Admission(reservations, catalog, clock), new PlanMaker(_model, world, agent, previews, secrets, reservations, catalog, clock), new SavedPlans(clock),
            reservations, _board, _hub, _held, _approvals, _statements, _book, _standings, new OrphanAdoption(_model, _writer, _standings, secrets, clock), _events, _registry, _hosts, _reports, audit, journal, _tokens, secrets, catalog, _consoles, _disk, clock);
        var gate = new Gate(store, bundle, clock) { Refused = _registry.CertificateRefused, Farewell = (uid, stop) => _statements.FarewellAsync(uid, bundle.ApproverSet, stop) };
        var enrollment = new EnrollmentService(new Enrollment(store, bundle, RandomNumberGenerator.Fill, clock, NodeLife), bundle, gate, _events);
        _app = CoordinatorServer.Build(options.Listen, server, gate, api, link, enrollment, logs);
        _metricsApp = CoordinatorServer.BuildMetrics(options.Metrics, new(_model, _registry, _standings, _book, _held, _board, _events, journal, _disk), Unhealthy);
    }

    /// <summary>Where it listens with TLS.</summary>
    public IPEndPoint EndPoint => CoordinatorServer.EndPointOf(_app);

    /// <summary>Where metrics are.</summary>
    public IPEndPoint MetricsEndPoint => CoordinatorServer.EndPointOf(_metricsApp);

    /// <summary>Completes when the coordinator must stop by itself; faulted with the reason.</summary>
    public Task Running => _running;

    /// <summary>Starts, and returns once it listens. The store stays the caller's.</summary>
    /// <exception cref="StartupException">It cannot start.</exception>
    /// <exception cref="StoreAwayException">The store cannot answer.</exception>
    public static async Task<CoordinatorHost> StartAsync(CoordinatorOptions options, IStore store, TimeProvider clock, ILoggerFactory logs, CancellationToken stop)
    {
        var bundle = IdentityBundle.Load(options.Identity, clock.GetUtcNow());
        if (bundle.Problem is { } noIdentity) throw new StartupException($"--identity {options.Identity}: {noIdentity.Message}");
        var server = ServerIdentity.Create(bundle.Value, clock.GetUtcNow(), RandomNumberGenerator.Fill);
        if (server.Problem is { } noServer) throw new StartupException($"--identity {options.Identity}: {noServer.Message}");
        FleetJournal journal;
        try { journal = new(Path.Combine(options.Data, "fleet.db"), clock); }
        catch (InvalidOperationException e) { throw new StartupException($"--data {options.Data}: {e.Message}", e); }
        var host = new CoordinatorHost(options, store, bundle.Value, server.Value, journal, clock, logs);
        try { await host.StartAsync(stop); }
        catch
        {
            await host.DisposeAsync();
            throw;
        }
        return host;
    }

    public async ValueTask DisposeAsync()
    {
        await _stopping.CancelAsync();
        // Streams first: a node that is told nothing keeps what it has.
        foreach (var session in _registry.Serving) session.End();
        _consoles.End();
        using (var limit = new CancellationTokenSource(TimeSpan.FromSeconds(5)))
        {
            await _app.StopAsync(limit.Token);
            await _metricsApp.StopAsync(limit.Token);
        }
        try { await _running; }
        catch (Exception e) when (e is OperationCanceledException or NotLeaderException or StoreReplacedException or StoreAwayException)
        {
            // Said by whoever awaited Running.
        }
        await _app.DisposeAsync();
        await _metricsApp.DisposeAsync();
        _consoles.Dispose();
        _last.Save();
        _orchestrator.Dispose();
        _turns.Dispose();
        _writer.Dispose();
        _events.Dispose();
        _journal.Dispose();
        _bundle.Dispose();
        _stopping.Dispose();
    }

    private async Task StartAsync(CancellationToken stop)
    {
        if (await _leadership.AcquireAsync(stop) is { } other) throw new StartupException(other);
        await _book.BeginAsync(_leadership.Proof, stop);
        await _model.LoadAsync(stop);
        _hosts.Load();
        _feed.Load();
        await _turns.LoadAsync(stop);
        await _statements.LoadAsync(stop);
        var following = Task.Run(() => _model.FollowAsync(_stopping.Token), CancellationToken.None);
        await _writer.FinishIntentsAsync(stop);
        await ListenAsync(_app, "--listen", _options.Listen, stop);
        await ListenAsync(_metricsApp, "--metrics", _options.Metrics, stop);
        _events.Note("", "", "CoordinatorStarted", $"coordinator {_leadership.Proof.Holder} {Coordinator.Build.Version} started at revision {_model.Current.At.Number}");
        if (_book.PutBack is { } putBack)
            _events.Warn("", "", "StorePutBack", $"this store is not the one that was followed: {putBack}. Nothing is placed or told to hosts by it, and they go on as they were, until an operator signs: agentmetal nodes accept-store");
        _readiness.Begin(_model.Current.Resources.Keys);
        _running = WatchAsync(following, Task.Run(() => _leadership.KeepAsync(_stopping.Token), CancellationToken.None),
            Task.Run(PlaceAsync, CancellationToken.None), Task.Run(() => TickAsync(_stopping.Token), CancellationToken.None));
    }

    /// <summary>The first loop that ends before it is asked to ends all of them: half a coordinator is worse than a restart.</summary>
    private async Task WatchAsync(params Task[] loops)
    {
        var first = await Task.WhenAny(loops);
        var asked = _stopping.IsCancellationRequested;
        if (!asked) await _stopping.CancelAsync();
        await Task.WhenAll(loops).ContinueWith(static _ => { }, CancellationToken.None, TaskContinuationOptions.None, TaskScheduler.Default);
        await first;
        if (!asked) throw new InvalidOperationException("a loop of the coordinator ended by itself");
    }

    /// <summary>What an older store says of places is not acted on.</summary>
    private async Task PlaceAsync()
    {
        try { await _book.Accepted.WaitAsync(_stopping.Token); }
        catch (OperationCanceledException) { return; }
        await _orchestrator.RunAsync(_stopping.Token);
    }

    private async Task TickAsync(CancellationToken stop)
    {
        var chores = _clock.GetUtcNow() + Chores;
        try
        {
            while (true)
            {
                await Task.Delay(Tick, _clock, stop);
                _registry.Tick();
                _book.Note(_model.Current.At.Number);
                Look();
                if (_clock.GetUtcNow() < chores) continue;
                chores = _clock.GetUtcNow() + Chores;
                if (_server.RenewIfDue(_clock.GetUtcNow()).Problem is { } problem) _events.Warn("", "", "ServerCertificate", problem.Message);
                try
                {
                    await _tokens.PruneAsync(stop);
                    await _approvals.PruneAsync(stop);
                    await _statements.PruneAsync(stop);
                }
                catch (Exception e) when (e is StoreAwayException or NotLeaderException)
                {
                    // Pruning can wait for the next round.
                }
            }
        }
        catch (OperationCanceledException) when (stop.IsCancellationRequested)
        {
            // Asked to.
        }
    }

    /// <summary>Who is told what: the one place where changes are turned into work.</summary>
    private void Wire(NodeInbox inbox)
    {
        _model.Changed = (view, delta) =>
        {
            foreach (var node in delta.Nodes) _hosts.Refresh(node);
            _feed.Push(view, delta);
            var freed = false;
            foreach (var key in delta.Assignments)
            {
                if (view.Assignments.ContainsKey(key)) continue;
                freed = true;
                _reports.Forget(key);
                _held.Forget(key);
            }
            foreach (var uid in delta.Resources)
            {
                if (!view.Resources.ContainsKey(uid)) _board.Forget(uid);
                _orchestrator.Wake(uid);
                Touch(uid);
            }
            WakeBeside(view, delta);
            foreach (var uid in delta.Names.SelectMany(view.ReferrersOf)) _orchestrator.Wake(uid);
            foreach (var path in delta.Referred)
                if (view.Names.TryGetValue(path, out var used)) Touch(used);
            foreach (var node in delta.Hosts) WakeMembers(view, node);
            // A host that changed, and a port or memory that somebody gave back, may be what they wait for.
            if (delta.Hosts.Count > 0 || freed) _orchestrator.WakeUnplaced();
        };
        _registry.StandingChanged = node =>
        {
            _hosts.Refresh(node);
            WakeMembers(_model.Current, node);
            _orchestrator.WakeUnplaced();
        };
        _standings.Changed = node =>
        {
            _hosts.Refresh(node);
            WakeMembers(_model.Current, node);
            _orchestrator.WakeUnplaced();
        };
        inbox.ResourceChanged = uid =>
        {
            if (_orchestrator.Report(uid) is not { Report.Phase: Runtime.Execution.ReconcilePhase.Converged }) _orchestrator.Wake(uid);
            Touch(uid);
        };
        inbox.DetailsChanged = _hub.Touch; // What people only look at changes no readiness.
        _orchestrator.Reconciled = Touch;
    }

    private void Touch(string uid)
    {
        _hub.Touch(uid);
        _readiness.Touch(uid);
    }

    /// <summary>Once a second: what nobody signals.</summary>
    private void Look()
    {
        // What was said before the start no longer stands: everybody looks.
        if (_lastStood && !_last.Stands)
        {
            _lastStood = false;
            foreach (var uid in _model.Current.Resources.Keys) Touch(uid);
        }
        _readiness.Tick();
        if (_disk.Tick())
        {
            if (_disk.Problem is { } full) _events.Warn("", "", "CoordinatorDiskFull", full);
            else _events.Note("", "", "CoordinatorDiskOk", $"the disk that holds {_options.Data} takes writes again");
        }
        if (++_looks % SaveEvery == 0) _last.Save();
    }

    /// <summary>Where members of one resource are may be where those of another belong.</summary>
    private void WakeBeside(FleetView view, FleetDelta delta)
    {
        foreach (var uid in delta.Assignments.Select(k => k.Split('/')[2]).Distinct(StringComparer.Ordinal))
            if (view.Resources.TryGetValue(uid, out var row))
                foreach (var other in view.ReferrersOf(Keys.Path(row.Value))) _orchestrator.Wake(other);
    }

    private void WakeMembers(FleetView view, string node)
    {
        foreach (var row in view.OfNode(node))
        {
            _orchestrator.Wake(row.Value.ResourceUid);
            Touch(row.Value.ResourceUid);
        }
    }

    private string? Unhealthy()
    {
        if (_running.IsCompleted) return "stopping";
        if (_disk.Problem is { } full) return full;
        try { return _leadership.Proof.Until < _clock.GetUtcNow() ? "the CoordinatorLease could not be renewed" : null; }
        catch (NotLeaderException e) { return e.Message; }
    }

    private static async Task ListenAsync(WebApplication app, string flag, IPEndPoint at, CancellationToken stop)
    {
        try { await app.StartAsync(stop); }
        catch (IOException e) { throw new StartupException($"{flag}: cannot listen on {at}: {e.Message}; stop what listens there or give another {flag} ADDRESS:PORT", e); }
        catch (System.Net.Sockets.SocketException e) { throw new StartupException($"{flag}: cannot listen on {at}: {e.Message}; give an address of this machine", e); }
    }
}
