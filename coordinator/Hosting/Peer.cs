using AgentMetal.Coordinator.Identity;
using AgentMetal.Runtime.Store;
using AgentMetal.Runtime.Trust;
using Grpc.Core;
using Grpc.Core.Interceptors;

namespace AgentMetal.Coordinator.Hosting;

/// <summary>
/// Every call passes here before its service sees it: the service decides the role that the peer's certificate must have, and who the peer is comes from
/// its certificate, never from a message.
/// </summary>
internal sealed class PeerInterceptor(Gate gate) : Interceptor
{
    private const string Key = "agentmetal.peer";

    /// <summary>The verified peer of a call.</summary>
    public static T Of<T>(ServerCallContext context)
        where T : PeerIdentity => (T)context.UserState[Key];

    public override async Task<TResponse> UnaryServerHandler<TRequest, TResponse>(TRequest request, ServerCallContext context, UnaryServerMethod<TRequest, TResponse> continuation)
    {
        await AdmitAsync(context);
        return await Explained(() => continuation(request, context));
    }

    public override async Task ServerStreamingServerHandler<TRequest, TResponse>(TRequest request, IServerStreamWriter<TResponse> responseStream, ServerCallContext context,
        ServerStreamingServerMethod<TRequest, TResponse> continuation)
    {
        await AdmitAsync(context);
        await Explained(async () => { await continuation(request, responseStream, context); return true; });
    }

    public override async Task DuplexStreamingServerHandler<TRequest, TResponse>(IAsyncStreamReader<TRequest> requestStream, IServerStreamWriter<TResponse> responseStream,
        ServerCallContext context, DuplexStreamingServerMethod<TRequest, TResponse> continuation)
    {
        await AdmitAsync(context);
        await Explained(async () => { await continuation(requestStream, responseStream, context); return true; });
    }

    private async Task AdmitAsync(ServerCallContext context)
    {
        var service = context.Method.Split('/') is [_, var name, ..] ? name : "";
        if (service == "agentmetal.v1.Enrollment") return; // The join token is the credential; Renew looks at the certificate itself.
        var certificate = context.GetHttpContext().Connection.ClientCertificate;
        var verdict = service switch
        {
            "agentmetal.v1.Operator" => gate.Operator(certificate),
            "agentmetal.v1.NodeLink" => await gate.NodeAsync(certificate, context.CancellationToken),
            _ => throw new RpcException(new Status(StatusCode.Unimplemented, $"there is no service {service}")),
        };
        if (verdict.Problem is { } problem)
        {
            var trailers = service == "agentmetal.v1.NodeLink" ? await gate.FarewellAsync(certificate, context.CancellationToken) : [];
            throw new RpcException(new Status(certificate is null ? StatusCode.Unauthenticated : StatusCode.PermissionDenied, problem.Message), trailers);
        }
        context.UserState[Key] = verdict.Value;
    }

    /// <summary>What the coordinator cannot do now is said as such, not as an internal error.</summary>
    private static async Task<T> Explained<T>(Func<Task<T>> call)
    {
        try { return await call(); }
        catch (StoreAwayException e) { throw new RpcException(new Status(StatusCode.Unavailable, $"{e.Message}; nothing is known to have changed, look and try again")); }
        catch (Fleet.NotLeaderException e) { throw new RpcException(new Status(StatusCode.Unavailable, e.Message)); }
        catch (Fleet.TooLargeException e) { throw new RpcException(new Status(StatusCode.InvalidArgument, e.Message)); }
    }
}
