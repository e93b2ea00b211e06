using AgentMetal.Coordinator.Events;
using AgentMetal.Coordinator.Identity;
using AgentMetal.Proto.V1;
using AgentMetal.Runtime.Trust;
using Google.Protobuf;
using Grpc.Core;

namespace AgentMetal.Coordinator.Nodes;

/// <summary>Lets hosts in. Called without a client certificate, so everything is hostile until <see cref="Identity.Enrollment"/> has checked it.</summary>
internal sealed class EnrollmentService(Identity.Enrollment enrollment, IdentityBundle bundle, Gate gate, EventLog events) : Proto.V1.Enrollment.EnrollmentBase
{
    public override Task<GetRootReply> GetRoot(GetRootRequest request, ServerCallContext context) =>
        Task.FromResult(new GetRootReply { Root = ByteString.CopyFrom(bundle.Root.Certificate.RawData) });

    public override async Task<JoinReply> Join(JoinRequest request, ServerCallContext context)
    {
        var verdict = await enrollment.JoinAsync(new()
        {
            TokenId = request.TokenId,
            TokenSecret = request.TokenSecret,
            Csr = request.Csr.ToByteArray(),
            Name = request.Name,
            Labels = request.Labels.ToDictionary(StringComparer.Ordinal),
        }, context.CancellationToken);
        if (verdict.IsTrusted) events.Note(request.Name, "", "NodeJoined", $"{request.Name} joined as node {verdict.Value.Node.Uid}");
        return Reply(verdict, []);
    }

    public override async Task<JoinReply> Renew(RenewRequest request, ServerCallContext context)
    {
        var certificate = context.GetHttpContext().Connection.ClientCertificate
            ?? throw new RpcException(new Grpc.Core.Status(StatusCode.Unauthenticated, "this call needs the node's certificate"));
        var verdict = await enrollment.RenewAsync(certificate, request.Csr.ToByteArray(), context.CancellationToken);
        return Reply(verdict, verdict.IsTrusted ? [] : await gate.FarewellAsync(certificate, context.CancellationToken));
    }

    private JoinReply Reply(Verdict<Enrolled> verdict, Grpc.Core.Metadata trailers)
    {
        if (verdict.Problem is { } problem)
            throw new RpcException(new Grpc.Core.Status(problem.Code is TrustProblemCode.Malformed or TrustProblemCode.UnsupportedKey ? StatusCode.InvalidArgument : StatusCode.PermissionDenied, problem.Message), trailers);
        var reply = new JoinReply
        {
            Root = ByteString.CopyFrom(bundle.Root.Certificate.RawData),
            ApproverSet = ByteString.CopyFrom(bundle.ApproverSet),
            NodeUid = verdict.Value.Node.Uid,
        };
        reply.Chain.AddRange(verdict.Value.Chain.Select(c => ByteString.CopyFrom(c)));
        return reply;
    }
}
