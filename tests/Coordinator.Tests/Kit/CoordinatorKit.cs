using System.Net;
using System.Net.Security;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using AgentMetal.Coordinator.Hosting;
using AgentMetal.Coordinator.Store;
using AgentMetal.Proto.V1;
using AgentMetal.Runtime.Trust;
using Google.Protobuf;
using Grpc.Core;
using Grpc.Net.Client;
using Microsoft.Extensions.Logging.Abstractions;
using Xunit;
using Metadata = AgentMetal.Proto.V1.Metadata;

namespace AgentMetal.Coordinator.Tests.Kit;

/// <summary>A whole coordinator over real TLS on loopback, with a real store in a directory of its own, and an operator who may call it.</summary>
internal sealed class CoordinatorKit : IAsyncDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("agentmetal-coordinator-").FullName;
    private readonly List<IDisposable> _owned = [];
    private readonly TimeProvider _clock;
    private readonly X509Certificate2 _operator;
    private readonly PinnedRoot _root;
    private SqliteStore _store = null!;
    private int _barriers;

    private CoordinatorKit(TimeProvider clock)
    {
        _clock = clock;
        Init = InitBundle.Create(new() { Fleet = "lab", Coordinator = new() { Name = "control", Addresses = [IPAddress.Loopback] }, OperatorName = "alice" }, RandomNumberGenerator.Fill, clock.GetUtcNow()).Value;
        Directory.CreateDirectory(Identity);
        foreach (var file in Init.Coordinator)
        {
            File.WriteAllBytes(Path.Combine(Identity, file.Path), file.Bytes);
            File.SetUnixFileMode(Path.Combine(Identity, file.Path), file.Mode);
        }
        _root = PinnedRoot.FromTrustedBytes(InitBundle.ReadCertificate(Home(InitBundle.RootCertificate), "root").Value).Value;
        using var person = X509Certificate2.CreateFromPem(Home(InitBundle.OperatorCertificate));
        _operator = Usable(person, Home(InitBundle.OperatorKey));
        _owned.AddRange([_root, _operator]);
    }

    public InitBundle Init { get; }

    public string Data => Path.Combine(_folder, "data");

    public string Identity => Path.Combine(_folder, "identity");

    public CoordinatorHost Host { get; private set; } = null!;

    public Operator.OperatorClient Operator { get; private set; } = null!;

    public GrpcChannel OperatorChannel { get; private set; } = null!;

    public ECDsa OperatorKey
    {
        get
        {
            var key = ECDsa.Create();
            key.ImportFromPem(Home(InitBundle.OperatorKey));
            return key;
        }
    }

    public static CancellationToken Stop => TestContext.Current.CancellationToken;

    public static async Task<CoordinatorKit> StartAsync(TimeProvider? clock = null)
    {
        var kit = new CoordinatorKit(clock ?? TimeProvider.System);
        await kit.BeginAsync();
        return kit;
    }

    /// <summary>Ends the coordinator and starts another one on the same data. Nodes must attach anew: the port is another one.</summary>
    public async Task RestartAsync(Action? between = null)
    {
        await EndAsync();
        between?.Invoke();
        await BeginAsync();
    }

    public async ValueTask DisposeAsync()
    {
        await EndAsync();
        foreach (var owned in _owned) owned.Dispose();
        Directory.Delete(_folder, recursive: true);
    }

    /// <summary>A channel with this client certificate, or none.</summary>
    public GrpcChannel Channel(X509Certificate2? certificate, params X509Certificate2[] intermediates)
    {
        var options = new SslClientAuthenticationOptions { RemoteCertificateValidationCallback = PeerValidation.For(() => _root, PeerRole.Coordinator, _clock.GetUtcNow) };
        if (certificate is not null) options.ClientCertificateContext = SslStreamCertificateContext.Create(certificate, [.. intermediates], offline: true);
        var channel = GrpcChannel.ForAddress($"https://{Host.EndPoint}", new() { HttpHandler = new SocketsHttpHandler { SslOptions = options }, DisposeHttpClient = true, MaxReceiveMessageSize = 64 << 20 });
        _owned.Add(channel);
        return channel;
    }

    public HttpClient OperatorHttp()
    {
        var options = new SslClientAuthenticationOptions
        {
            RemoteCertificateValidationCallback = PeerValidation.For(() => _root, PeerRole.Coordinator, _clock.GetUtcNow),
            ClientCertificateContext = SslStreamCertificateContext.Create(_operator, [], offline: true),
        };
        var client = new HttpClient(new SocketsHttpHandler { SslOptions = options }) { BaseAddress = new Uri($"https://{Host.EndPoint}") };
        _owned.Add(client);
        return client;
    }

    /// <summary>A host that joined with a single-use token.</summary>
    public async Task<FakeNode> JoinAsync(string name, params (string Key, string Value)[] labels)
    {
        var request = new CreateJoinTokenRequest { Name = name };
        foreach (var (key, value) in labels) request.Labels[key] = value;
        var token = JoinToken.Parse((await Operator.CreateJoinTokenAsync(request, cancellationToken: Stop)).Token).Value;
        var key2 = P256.Generate();
        var csr = new CertificateRequest($"CN={name}", key2, HashAlgorithmName.SHA256).CreateSigningRequest();
        var join = new JoinRequest { TokenId = token.Id, TokenSecret = token.Secret, Csr = ByteString.CopyFrom(csr), Name = name, Version = "test" };
        var reply = await new Enrollment.EnrollmentClient(Channel(null)).JoinAsync(join, cancellationToken: Stop);
        using var leaf = X509CertificateLoader.LoadCertificate(reply.Chain[0].Span);
        var node = new FakeNode(this, name, reply.NodeUid, Usable(leaf, key2.ExportPkcs8PrivateKeyPem()), X509CertificateLoader.LoadCertificate(reply.Chain[1].Span));
        _owned.AddRange([key2, node]);
        return node;
    }

    /// <summary>Waits, by the Watch call, until the resource is as wanted; null = it is gone.</summary>
    public async Task<Resource?> UntilAsync(string name, Func<Resource?, bool> wanted, string project = "default")
    {
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(Stop);
        limit.CancelAfter(TimeSpan.FromSeconds(60));
        using var watch = Operator.Watch(new() { Project = project, Kind = "all", Name = name }, cancellationToken: limit.Token);
        Resource? last = null;
        try
        {
            await foreach (var change in watch.ResponseStream.ReadAllAsync(limit.Token))
            {
                last = change.Type switch { "bookmark" => last, "deleted" => null, _ => change.Resource };
                if ((change.Type != "added" || last is not null) && wanted(last)) return last;
            }
        }
        catch (Exception e) when (limit.IsCancellationRequested && e is RpcException or OperationCanceledException) { }
        throw new TimeoutException($"{name} did not become as wanted; it is {last}");
    }

    /// <summary>
    /// Completes when everything that this stream said before was heard and acted on: placement works in order, and what it did arrives in order.
    /// </summary>
    public async Task SettledAsync(FakeStream stream)
    {
        var name = $"barrier-{++_barriers}";
        var heard = new NodeMessage();
        heard.Events.Add(new Event { Reason = name, AtUnixMs = 1 });
        await stream.SendAsync(heard);
        using (var events = Operator.WatchEvents(new(), cancellationToken: Stop))
            await foreach (var e in events.ResponseStream.ReadAllAsync(Stop))
                if (e.Reason == name) break;
        await ApplyAsync(Redis(name, $$"""{"port":{{7000 + _barriers}}}"""));
        await UntilAsync(name, r => r?.Status.Members.Count == 1);
    }

    public Task<ApplyReply> ApplyAsync(params Resource[] resources) => ApplyAsync("", resources);

    public async Task<ApplyReply> ApplyAsync(string planHash, Resource[] resources)
    {
        var request = new ApplyRequest { PlanHash = planHash };
        request.Resources.AddRange(resources);
        return await Operator.ApplyAsync(request, cancellationToken: Stop);
    }

    public static Resource Redis(string name = "sessions", string spec = "{}", bool protect = false, string project = "") => new()
    {
        ApiVersion = "agentmetal.io/v1",
        Kind = "Redis",
        Metadata = new Metadata { Name = name, Project = project, Protect = protect },
        Spec = ByteString.CopyFromUtf8(spec),
    };

    public static Condition Condition(Resource? resource, string type) => resource!.Status.Conditions.Single(c => c.Type == type);

    public static bool Is(Resource? resource, string type, string status) => resource?.Status?.Conditions.Any(c => c.Type == type && c.Status == status) == true;

    private async Task BeginAsync()
    {
        Directory.CreateDirectory(Data);
        _store = Assert.IsType<StoreOpening.Opened>(SqliteStore.Open(new() { Path = Path.Combine(Data, "store.db"), Time = _clock })).Store;
        var options = new CoordinatorOptions { Data = Data, Identity = Identity, Listen = new(IPAddress.Loopback, 0), Metrics = new(IPAddress.Loopback, 0) };
        Host = await CoordinatorHost.StartAsync(options, _store, _clock, NullLoggerFactory.Instance, Stop);
        OperatorChannel = Channel(_operator);
        Operator = new(OperatorChannel);
    }

    private async Task EndAsync()
    {
        await Host.DisposeAsync();
        await _store.DisposeAsync();
    }

    private string Home(string file) => System.Text.Encoding.ASCII.GetString(Init.OperatorHome.Single(f => f.Path == file).Bytes);

    private static X509Certificate2 Usable(X509Certificate2 certificate, string keyPem)
    {
        using var key = ECDsa.Create();
        key.ImportFromPem(keyPem);
        return certificate.CopyWithPrivateKey(key);
    }
}
