using AgentMetal.NodeAgent.Edge.Identity;
using AgentMetal.Runtime.Trust;
using Google.Protobuf;
using Grpc.Core;
using V1 = AgentMetal.Proto.V1;

namespace AgentMetal.NodeAgent.Edge.Enrol;

/// <summary>Joins a fleet with a single-use token, and renews the certificate that was given. Either can be repeated after a crash.</summary>
internal sealed class Enrolment(IdentityFolder folder, Uri coordinator, Func<DateTimeOffset> now)
{
    private static readonly TimeSpan CallDeadline = TimeSpan.FromSeconds(15);
    private static readonly TimeSpan Between = TimeSpan.FromSeconds(1);

    /// <summary>Joins; tries again while the coordinator cannot be reached, until <paramref name="patience"/> is over.</summary>
    public async Task<Verdict<NodeIdentity>> JoinAsync(JoinToken token, string name, string version, IReadOnlyDictionary<string, string> labels, TimeSpan patience, CancellationToken stop)
    {
        var until = DateTimeOffset.UtcNow + patience;
        while (true)
        {
            try { return await JoinOnceAsync(token, name, version, labels, stop); }
            // Cancelled is how the coordinator sees the deadline of a call that it could not answer in time.
            catch (RpcException e) when (e.StatusCode is StatusCode.Unavailable or StatusCode.DeadlineExceeded or StatusCode.Cancelled && DateTimeOffset.UtcNow < until) { await Task.Delay(Between, stop); }
            catch (RpcException e) { return new TrustProblem(TrustProblemCode.Malformed, $"{coordinator.Authority}: {e.StatusCode}: {e.Status.Detail}"); }
        }
    }

    /// <summary>Hears what came beside a refusal to renew.</summary>
    public Func<Metadata, Task>? Refused { get; init; }

    /// <summary>A new certificate for a new key; the old one stays in use until the answer is saved.</summary>
    public async Task<Verdict<NodeIdentity>> RenewAsync(NodeIdentity current, CancellationToken stop)
    {
        var key = folder.NextKey();
        if (!key.IsTrusted) return key.Problem!;
        using var channel = CoordinatorChannel.Open(coordinator, current.Root, current, now);
        try
        {
            var request = new V1.RenewRequest { Csr = ByteString.CopyFrom(SigningRequest.Create(key.Value, current.Peer.Name)) };
            var reply = await new V1.Enrollment.EnrollmentClient(channel).RenewAsync(request, deadline: DateTime.UtcNow + CallDeadline, cancellationToken: stop);
            return Save(reply, key.Value);
        }
        catch (RpcException e)
        {
            if (Refused is { } refused) await refused(e.Trailers);
            return new TrustProblem(TrustProblemCode.Malformed, $"{coordinator.Authority}: {e.StatusCode}: {e.Status.Detail}");
        }
    }

    private async Task<Verdict<NodeIdentity>> JoinOnceAsync(JoinToken token, string name, string version, IReadOnlyDictionary<string, string> labels, CancellationToken stop)
    {
        var pinned = await PinAsync(token, stop);
        if (!pinned.IsTrusted) return pinned.Problem!;
        using var root = pinned.Value;
        var key = folder.NextKey();
        if (!key.IsTrusted) return key.Problem!;
        using var channel = CoordinatorChannel.Open(coordinator, root, null, now);
        var request = new V1.JoinRequest
        {
            TokenId = token.Id,
            TokenSecret = token.Secret,
            Csr = ByteString.CopyFrom(SigningRequest.Create(key.Value, name)),
            Name = name,
            Version = version,
        };
        request.Labels.Add(labels.ToDictionary());
        return Save(await new V1.Enrollment.EnrollmentClient(channel).JoinAsync(request, deadline: DateTime.UtcNow + CallDeadline, cancellationToken: stop), key.Value);
    }

    private async Task<Verdict<PinnedRoot>> PinAsync(JoinToken token, CancellationToken stop)
    {
        if (folder.Root() is { } known)
            return !known.IsTrusted || known.Value.Sha256 == token.RootSha256 ? known
                : Verdict<PinnedRoot>.Refuse(TrustProblemCode.UntrustedRoot, "this host has pinned another fleet's root; to move it, remove its identity directory first");
        using var unverified = CoordinatorChannel.Open(coordinator, null, null, now);
        var reply = await new V1.Enrollment.EnrollmentClient(unverified).GetRootAsync(new(), deadline: DateTime.UtcNow + CallDeadline, cancellationToken: stop);
        var root = PinnedRoot.FromPin(token.RootSha256, reply.Root.ToByteArray());
        if (!root.IsTrusted) return root;
        return folder.Pin(root.Value) is { } problem ? problem : root;
    }

    private Verdict<NodeIdentity> Save(V1.JoinReply reply, System.Security.Cryptography.ECDsa key)
    {
        var saved = folder.Save(key, [.. reply.Chain.Select(c => c.ToByteArray())], now());
        if (!saved.IsTrusted || reply.ApproverSet.IsEmpty) return saved;
        // A set that is refused leaves the one before in force; without any, nothing Dangerous runs on this host.
        var set = folder.TakeApproverSet(reply.ApproverSet.ToByteArray(), now());
        return set.IsTrusted ? saved : set.Problem!;
    }
}
