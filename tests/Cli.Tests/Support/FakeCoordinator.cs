using System.Net;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using AgentMetal.Cli.SerialConsole;
using AgentMetal.Proto.V1;
using AgentMetal.Runtime.Trust;
using Grpc.Core;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.AspNetCore.Server.Kestrel.Https;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Status = Grpc.Core.Status;

namespace AgentMetal.Cli.Tests.Support;

/// <summary>A fleet made by `init`, and a scripted coordinator of it behind real mTLS on loopback.</summary>
internal sealed class FakeCoordinator : IAsyncDisposable
{
    private readonly Place _place;
    private readonly WebApplication _app;
    private readonly PinnedRoot _root;

    private FakeCoordinator(WebApplication app, PinnedRoot root, CoordinatorAuthority authority, Place place, int port)
    {
        (_app, _root, Authority, _place, Port) = (app, root, authority, place, port);
    }

    internal ScriptedOperator Script { get; private init; } = null!;

    internal CoordinatorAuthority Authority { get; }

    internal int Port { get; }

    internal string Home => _place.In("home");

    internal string In(string name) => _place.In(name);

    internal static async Task<FakeCoordinator> StartAsync()
    {
        var place = new Place();
        var paper = new Paper(clock: TimeProvider.System);
        var code = await paper.RunAsync("init", "--coordinator", "control", "--address", "127.0.0.1", "--bundle", place.In("bundle"), "--home", place.In("home"), "--operator", "alice");
        if (code != 0) throw new InvalidOperationException(paper.Error);
        string Text(string name) => File.ReadAllText(Path.Combine(place.In("bundle"), name));
        var intermediateDer = InitBundle.ReadCertificate(Text(InitBundle.IntermediateCertificate), "intermediate").Value;
        var authority = CoordinatorAuthority.Load(Text(InitBundle.IntermediateKey), intermediateDer).Value;
        var root = PinnedRoot.FromTrustedBytes(InitBundle.ReadCertificate(Text(InitBundle.RootCertificate), "root").Value).Value;
        var script = new ScriptedOperator();
        var app = Build(script, ServerCertificate(authority), X509CertificateLoader.LoadCertificate(intermediateDer), root);
        await app.StartAsync();
        var port = new Uri(app.Urls.Single()).Port;
        return new FakeCoordinator(app, root, authority, place, port) { Script = script };
    }

    /// <summary>Runs a command of the fleet's operator against it.</summary>
    internal async Task<(int Code, string Out, string Error)> RunAsync(string[] args, string input = "", bool canAsk = false, Func<TerminalPort>? port = null)
    {
        var paper = new Paper(input: input, canAsk: canAsk, clock: TimeProvider.System, port: port);
        var code = await paper.RunAsync([.. args, "--home", Home, "--coordinator", $"127.0.0.1:{Port}"]);
        return (code, paper.Out, paper.Error);
    }

    internal async Task StopAsync() => await _app.StopAsync();

    public async ValueTask DisposeAsync()
    {
        await _app.DisposeAsync();
        Authority.Dispose();
        _root.Dispose();
        _place.Dispose();
    }

    private static X509Certificate2 ServerCertificate(CoordinatorAuthority authority)
    {
        using var key = P256.Generate();
        var names = new CoordinatorNames { Name = "control", Addresses = [IPAddress.Loopback] };
        using var bare = X509CertificateLoader.LoadCertificate(authority.IssueServer(names, key.ExportSubjectPublicKeyInfo(), DateTimeOffset.UtcNow, TimeSpan.FromDays(1), RandomNumberGenerator.Fill).Value);
        return bare.CopyWithPrivateKey(key);
    }

    private static WebApplication Build(ScriptedOperator script, X509Certificate2 certificate, X509Certificate2 intermediate, PinnedRoot root)
    {
        var builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        builder.Services.AddGrpc();
        builder.Services.AddSingleton(script);
        builder.WebHost.UseKestrelHttpsConfiguration().ConfigureKestrel(kestrel => kestrel.Listen(IPAddress.Loopback, 0, listen =>
        {
            listen.Protocols = HttpProtocols.Http2;
            listen.UseHttps(https =>
            {
                https.ServerCertificate = certificate;
                https.ServerCertificateChain = [intermediate];
                https.ClientCertificateMode = ClientCertificateMode.RequireCertificate;
                https.ClientCertificateValidation = (leaf, _, _) =>
                    ChainVerifier.Verify(new ChainRequest { Leaf = leaf, Root = root, Now = DateTimeOffset.UtcNow, Role = PeerRole.Operator }).IsTrusted;
            });
        }));
        var app = builder.Build();
        app.MapGrpcService<ScriptedOperator>();
        return app;
    }
}

/// <summary>Answers what the test says, and remembers what it was asked.</summary>
internal sealed class ScriptedOperator : Operator.OperatorBase
{
    internal Func<ApplyRequest, ApplyReply> OnApply { get; set; } = _ => throw Unexpected("Apply");
    internal Func<ApplyRequest, PlanReply> OnPlan { get; set; } = _ => throw Unexpected("Plan");
    internal Func<GetRequest, Resource> OnGet { get; set; } = _ => throw Unexpected("Get");
    internal Func<ListRequest, ListReply> OnList { get; set; } = _ => throw Unexpected("List");
    internal Func<DeleteRequest, Resource> OnDelete { get; set; } = _ => throw Unexpected("Delete");
    internal Func<ListRequest, CancellationToken, IAsyncEnumerable<ResourceChange>> OnWatch { get; set; } = (_, _) => throw Unexpected("Watch");
    internal Func<DecideRequest, DecideReply> OnDecide { get; set; } = _ => throw Unexpected("Decide");
    internal Func<CreateJoinTokenRequest, CreateJoinTokenReply> OnCreateJoinToken { get; set; } = _ => throw Unexpected("CreateJoinToken");
    internal Func<IAsyncStreamReader<ConsoleMessage>, IServerStreamWriter<ConsoleMessage>, Task> OnConsole { get; set; } = (_, _) => throw Unexpected("Console");
    internal Func<DeleteRequest, Resource> OnUndelete { get; set; } = _ => throw Unexpected("Undelete");
    internal Func<StateRequest, StateReply> OnState { get; set; } = _ => throw Unexpected("State");
    internal Func<OrphanRequest, Resource> OnOrphan { get; set; } = _ => throw Unexpected("AdoptOrphan");

    /// <summary>What it says of its store.</summary>
    internal VersionReply Store { get; } = new() { Version = "9.9.9", Store = "sqlite", StoreId = "s1", Revision = 7, Nodes = 3 };
    internal List<AuditGap> Gaps { get; } = [];
    internal List<Held> Held { get; } = [];
    internal List<Node> Nodes { get; } = [];
    internal List<Event> Events { get; } = [];
    internal List<AuditRecord> Audit { get; } = [];
    internal List<DecideRequest> Decided { get; } = [];

    /// <summary>How long the last plan was given.</summary>
    internal TimeSpan PlanTime { get; private set; }

    public override Task<ApplyReply> Apply(ApplyRequest request, ServerCallContext context) => Task.FromResult(OnApply(request));
    public override Task<PlanReply> Plan(ApplyRequest request, ServerCallContext context)
    {
        PlanTime = context.Deadline - DateTime.UtcNow;
        return Task.FromResult(OnPlan(request));
    }

    public override Task<Resource> Get(GetRequest request, ServerCallContext context) => Task.FromResult(OnGet(request));
    public override Task<ListReply> List(ListRequest request, ServerCallContext context) => Task.FromResult(OnList(request));
    public override Task<Resource> Delete(DeleteRequest request, ServerCallContext context) => Task.FromResult(OnDelete(request));
    public override Task<CreateJoinTokenReply> CreateJoinToken(CreateJoinTokenRequest request, ServerCallContext context) => Task.FromResult(OnCreateJoinToken(request));
    public override Task<ListHeldReply> ListHeld(ListHeldRequest request, ServerCallContext context) => Task.FromResult(new ListHeldReply { Held = { Held } });
    public override Task<ListNodesReply> ListNodes(ListNodesRequest request, ServerCallContext context) => Task.FromResult(new ListNodesReply { Nodes = { Nodes } });
    public override Task<ListEventsReply> ListEvents(ListEventsRequest request, ServerCallContext context) => Task.FromResult(new ListEventsReply { Events = { Events } });
    public override Task<VersionReply> Version(VersionRequest request, ServerCallContext context) => Task.FromResult(Store);
    public override Task<Resource> Undelete(DeleteRequest request, ServerCallContext context) => Task.FromResult(OnUndelete(request));
    public override Task<StateReply> State(StateRequest request, ServerCallContext context) => Task.FromResult(OnState(request));
    public override Task<Resource> AdoptOrphan(OrphanRequest request, ServerCallContext context) => Task.FromResult(OnOrphan(request));

    public override Task<ListAuditReply> ListAudit(ListAuditRequest request, ServerCallContext context)
    {
        var reply = new ListAuditReply();
        reply.Chains.AddRange(Audit.Select(a => a.Chain).Distinct());
        reply.Gaps.AddRange(Gaps);
        reply.Records.AddRange(Audit.Where(a => a.Chain == request.Chain && a.Seq > request.AfterSeq).Take(2));
        return Task.FromResult(reply);
    }

    public override Task<DecideReply> Decide(DecideRequest request, ServerCallContext context)
    {
        Decided.Add(request);
        return Task.FromResult(OnDecide(request));
    }

    public override Task Console(IAsyncStreamReader<ConsoleMessage> requestStream, IServerStreamWriter<ConsoleMessage> responseStream, ServerCallContext context) => OnConsole(requestStream, responseStream);

    public override async Task Watch(ListRequest request, IServerStreamWriter<ResourceChange> stream, ServerCallContext context)
    {
        await foreach (var change in OnWatch(request, context.CancellationToken).WithCancellation(context.CancellationToken)) await stream.WriteAsync(change, context.CancellationToken);
    }

    private static RpcException Unexpected(string call) => new(new Status(StatusCode.Internal, $"the test did not expect {call}"));
}
