using System.Net.Sockets;
using System.Security.Authentication;
using AgentMetal.Cli.CommandLine;
using Grpc.Core;

namespace AgentMetal.Cli.Link;

/// <summary>What a failed call means for the person who made it.</summary>
internal static class RpcFailure
{
    internal static Failure Of(RpcException e, string address, string? refusal)
    {
        var detail = e.Status.Detail;
        return e.StatusCode switch
        {
            _ when refusal is not null => new(ExitCode.Refused,
                $"what answers at {address} is not a coordinator of this fleet: {refusal}",
                "check that --home and --coordinator belong to the same fleet; do not go on until you know who answers"),
            StatusCode.Unavailable or StatusCode.Internal when Refused(e) is { } why => new(ExitCode.Refused,
                $"the coordinator at {address} refused this operator's certificate: {why}",
                "check that --home and --coordinator belong to the same fleet"),
            StatusCode.Unavailable => new(ExitCode.Unreachable,
                $"the coordinator at {address} cannot be reached: {Reason(e)}; hosts keep running",
                "on a host: agentmetal local status"),
            StatusCode.DeadlineExceeded => new(ExitCode.TimedOut,
                $"the coordinator at {address} did not answer in time; what was asked may still happen",
                "look with: agentmetal get all; or ask again with a longer --timeout"),
            StatusCode.NotFound => new(ExitCode.NotFound, detail, "see what there is: agentmetal get all -A"),
            StatusCode.InvalidArgument or StatusCode.OutOfRange => new(ExitCode.BadInput, detail, "correct it and run the command again"),
            StatusCode.FailedPrecondition or StatusCode.Aborted or StatusCode.AlreadyExists => new(ExitCode.Failed, detail, "look again with: agentmetal get all, then retry"),
            StatusCode.PermissionDenied or StatusCode.Unauthenticated => new(ExitCode.Refused, $"refused: {detail}",
                "this takes an operator's certificate of this fleet; see which one is used: --home"),
            StatusCode.Unimplemented => new(ExitCode.Failed, $"the coordinator at {address} does not know this call", "it may be older than this command: agentmetal version"),
            StatusCode.ResourceExhausted => new(ExitCode.Failed, detail.Length > 0 ? detail : "too much was asked at once", "ask for less, or later"),
            _ => new(ExitCode.Failed, $"the coordinator failed ({e.StatusCode}): {detail}", "its log says more: journalctl -u agentmetal-coordinator"),
        };
    }

    private static string? Refused(RpcException e)
    {
        for (var cause = e.Status.DebugException; cause is not null; cause = cause.InnerException)
            if (cause is AuthenticationException) return cause.InnerException?.Message ?? cause.Message;
        return null;
    }

    private static string Reason(RpcException e)
    {
        for (var cause = e.Status.DebugException; cause is not null; cause = cause.InnerException)
        {
            switch (cause)
            {
                case SocketException { SocketErrorCode: SocketError.ConnectionRefused }:
                    return "connection refused, nothing listens there";
                case SocketException socket:
                    return socket.Message;
                case OperationCanceledException or TimeoutException:
                    return "no answer within 5 s";
                default:
                    break;
            }
        }
        return e.Status.Detail;
    }
}
