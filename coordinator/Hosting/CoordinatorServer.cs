using System.Net;
using System.Net.Security;
using System.Security.Cryptography.X509Certificates;
using AgentMetal.Coordinator.Api;
using AgentMetal.Coordinator.Identity;
using AgentMetal.Coordinator.Nodes;
using AgentMetal.Runtime.Trust;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Hosting.Server.Features;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.AspNetCore.Server.Kestrel.Https;
using Prometheus;

namespace AgentMetal.Coordinator.Hosting;

/// <summary>The two listeners: TLS for nodes and operators, and plaintext on loopback for metrics, which has no service of the first.</summary>
internal static class CoordinatorServer
{
    private const int OperatorMessage = 64 * 1024 * 1024;
    private const int NodeMessage = 4 * 1024 * 1024;
    private const int EnrollmentMessage = 64 * 1024;

    public static WebApplication Build(IPEndPoint listen, ServerIdentity identity, Gate gate, OperatorService api, NodeLinkService link, EnrollmentService enrollment, ILoggerFactory logs)
    {
        var builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        builder.Services.AddSingleton<IHostLifetime, CallersLifetime>();
        builder.Services.AddSingleton(logs);
        builder.Services.AddSingleton(new PeerInterceptor(gate)).AddSingleton(api).AddSingleton(link).AddSingleton(enrollment);
        builder.Services.AddGrpc(o => o.Interceptors.Add<PeerInterceptor>())
            .AddServiceOptions<OperatorService>(o => (o.MaxReceiveMessageSize, o.MaxSendMessageSize) = (OperatorMessage, OperatorMessage))
            .AddServiceOptions<NodeLinkService>(o => (o.MaxReceiveMessageSize, o.MaxSendMessageSize) = (NodeMessage, OperatorMessage))
            .AddServiceOptions<EnrollmentService>(o => o.MaxReceiveMessageSize = EnrollmentMessage)
            .AddJsonTranscoding();
        builder.WebHost.UseKestrelCore().UseKestrelHttpsConfiguration().ConfigureKestrel(kestrel =>
        {
            kestrel.AddServerHeader = false;
            kestrel.Limits.MaxConcurrentConnections = 20_000;
            kestrel.Limits.MaxRequestBodySize = OperatorMessage;
            // A host that lost power says no goodbye; the ping finds out before the heartbeat does.
            kestrel.Limits.Http2.KeepAlivePingDelay = TimeSpan.FromSeconds(10);
            kestrel.Limits.Http2.KeepAlivePingTimeout = TimeSpan.FromSeconds(5);
            kestrel.Listen(listen, o =>
            {
                o.Protocols = HttpProtocols.Http1AndHttp2;
                o.UseHttps(new TlsHandshakeCallbackOptions { HandshakeTimeout = TimeSpan.FromSeconds(10), OnConnection = _ => new(Tls(identity, gate)) });
            });
        });
        var app = builder.Build();
        app.MapGrpcService<OperatorService>();
        app.MapGrpcService<NodeLinkService>();
        app.MapGrpcService<EnrollmentService>();
        return app;
    }

    public static WebApplication BuildMetrics(IPEndPoint listen, CoordinatorMetrics metrics, Func<string?> unhealthy)
    {
        var builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        builder.Services.AddSingleton<IHostLifetime, CallersLifetime>();
        builder.WebHost.ConfigureKestrel(kestrel =>
        {
            kestrel.AddServerHeader = false;
            kestrel.Limits.MaxConcurrentConnections = 64;
            kestrel.Listen(listen);
        });
        var app = builder.Build();
        app.MapMetrics("/metrics", metrics.Registry);
        app.MapGet("/healthz", () => unhealthy() is { } why ? Results.Text(why + "\n", statusCode: 503) : Results.Text("ok\n"));
        return app;
    }

    /// <summary>Where an application listens, once it was started.</summary>
    public static IPEndPoint EndPointOf(WebApplication app)
    {
        var address = new Uri(app.Services.GetRequiredService<IServer>().Features.Get<IServerAddressesFeature>()!.Addresses.First());
        return new(IPAddress.Parse(address.Host.Trim('[', ']')), address.Port);
    }

    // A certificate is asked for and not required: a joining host has none. Each service then asks for the role it serves.
    private static SslServerAuthenticationOptions Tls(ServerIdentity identity, Gate gate) => new()
    {
        ServerCertificateContext = identity.Context,
        ClientCertificateRequired = true,
        CertificateChainPolicy = PeerValidation.ChainPolicy(null),
        ApplicationProtocols = [SslApplicationProtocol.Http2, SslApplicationProtocol.Http11],
        EnabledSslProtocols = System.Security.Authentication.SslProtocols.Tls12 | System.Security.Authentication.SslProtocols.Tls13,
        RemoteCertificateValidationCallback = (_, certificate, _, _) => certificate is null || (certificate is X509Certificate2 leaf && gate.MayConnect(leaf)),
    };
}

/// <summary>The program alone hears signals: a host that hears them too ends its start under the program's feet.</summary>
internal sealed class CallersLifetime : IHostLifetime
{
    public Task WaitForStartAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    public Task StopAsync(CancellationToken cancellationToken) => Task.CompletedTask;
}
