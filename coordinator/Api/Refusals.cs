using AgentMetal.Proto.V1;
using Google.Protobuf;
using Grpc.Core;

namespace AgentMetal.Coordinator.Api;

/// <summary>How bad input is answered: everything that is wrong at once, each with its path, in a trailer that programs can read.</summary>
internal static class Refusals
{
    public const string Trailer = "agentmetal-errors-bin";
    private const int MaxErrors = 100;

    public static RpcException Invalid(IReadOnlyList<FieldError> errors)
    {
        var all = new FieldErrors();
        // A trailer has a limit; a hundred errors are enough to begin with.
        all.Errors.AddRange(errors.Take(MaxErrors));
        var text = string.Join("; ", errors.Take(5).Select(e => $"{e.Path}: {e.Message}")) + (errors.Count > 5 ? $"; and {errors.Count - 5} more" : "");
        return new(new Grpc.Core.Status(StatusCode.InvalidArgument, text), new Grpc.Core.Metadata { { Trailer, all.ToByteArray() } });
    }

    public static RpcException Invalid(string path, string message, string note = "") => Invalid([new() { Path = path, Message = message, Note = note }]);

    public static RpcException NotFound(string message) => new(new Grpc.Core.Status(StatusCode.NotFound, message));

    public static RpcException Precondition(string message) => new(new Grpc.Core.Status(StatusCode.FailedPrecondition, message));

    public static RpcException TooMany(string message) => new(new Grpc.Core.Status(StatusCode.ResourceExhausted, message));

    public static RpcException Conflict(string message) => new(new Grpc.Core.Status(StatusCode.Aborted, message));
}
