using System.Collections.Immutable;
using AgentMetal.NodeAgent.Pipeline;
using AgentMetal.Runtime.Execution;
using AgentMetal.Runtime.Planning;
using AgentMetal.Runtime.Trust;
using AgentMetal.WireMaps;
using Google.Protobuf;
using V1 = AgentMetal.Proto.V1;

namespace AgentMetal.NodeAgent.Edge;

/// <summary>Between the wire's messages and the daemon's records. What comes in is hostile: it is checked here, once.</summary>
internal static class Wire
{
    /// <summary>Peers of one resource; a longer list is refused.</summary>
    public const int MaxPeers = 64;

    /// <summary>What one spec may refer to; a longer list is refused.</summary>
    public const int MaxReferences = 64;

    /// <summary>Signatures over digests with one assignment; a longer list is refused.</summary>
    public const int MaxDigests = 1024;

    /// <summary>The member, or why the assignment is not one this host may act on.</summary>
    public static (MemberInput? Input, string? Refusal) Read(V1.Assignment a, string nodeUid)
    {
        var parts = a.Key.Split('/');
        if (parts.Length != 4 || parts[0] != nodeUid) return (null, $"assignment {a.Key}: its key does not begin with this node's uid");
        if (parts[1] != a.Kind || parts[2] != a.ResourceUid || parts[3] != a.Ordinal.ToString()) return (null, $"assignment {a.Key}: its key says something else than its fields");
        if (a.Peers.Count > MaxPeers) return (null, $"assignment {a.Key}: {a.Peers.Count} peers, at most {MaxPeers}");
        if (!IsName(a.Project) || !IsName(a.Name)) return (null, $"assignment {a.Key}: project or name is not an RFC 1123 label of at most 63 characters");
        foreach (var p in a.Peers)
            if (p.Port is < 0 or > 65535 || !System.Net.IPAddress.TryParse(p.Address, out _)) return (null, $"assignment {a.Key}: peer {p.Ordinal} has no IP address and port");
        foreach (var p in new[] { a.MoveFrom, a.MoveTo })
            if (p is not null && (p.Port is < 1 or > 65535 || !System.Net.IPAddress.TryParse(p.Address, out _) || !NodeUid.IsValid(p.NodeUid) || p.NodeUid == nodeUid)) return (null, $"assignment {a.Key}: it moves to or from what is no other host with an IP address and port");
        if (a.References.Count > MaxReferences) return (null, $"assignment {a.Key}: {a.References.Count} references, at most {MaxReferences}");
        foreach (var key in a.References.Keys)
            if (key.Split('/') is not [var kind, var name] || !IsKind(kind) || !IsName(name)) return (null, $"assignment {a.Key}: a reference is not named as Image/debian-12 is");
        if (a.Digests.Count > MaxDigests) return (null, $"assignment {a.Key}: {a.Digests.Count} signatures, at most {MaxDigests}");
        return (new()
        {
            Key = a.Key,
            ResourceKey = $"{a.Kind} {a.Project}/{a.Name}",
            Project = a.Project,
            Name = a.Name,
            ResourceUid = a.ResourceUid,
            Ordinal = a.Ordinal,
            Generation = a.Generation,
            Spec = a.Spec.Memory,
            Absent = a.Absent,
            Teardown = a.Teardown,
            Protect = a.Protect,
            Peers = [.. a.Peers.OrderBy(p => p.Ordinal).Select(p => Peer(p)!)],
            PrimaryOrdinal = a.PrimaryOrdinal,
            MoveFrom = Peer(a.MoveFrom),
            MoveTo = Peer(a.MoveTo),
            Secrets = a.Secrets.ToImmutableDictionary(s => s.Key, s => s.Value.Memory, StringComparer.Ordinal),
            NodeUid = nodeUid,
            Adopt = a.Adopt,
            References = a.References.ToImmutableSortedDictionary(r => r.Key, r => r.Value.Memory, StringComparer.Ordinal),
            // One that has not the form could be from a newer coordinator: it does not count, and the others do.
            Digests = [.. a.Digests.Select(Read).Where(d => d.FormError() is null)],
        }, null);
    }

    private static PeerAddress? Peer(V1.Peer? p) => p is null ? null : new(p.Ordinal, p.NodeUid, p.NodeName, p.Address, p.Port);

    public static DigestSignature Read(V1.DigestSignature d) => new()
    {
        Purpose = d.Purpose,
        Sha256 = d.Sha256,
        IssuedUnixMs = d.IssuedUnixMs,
        KeyId = d.KeyId,
        Signature = d.Signature.ToByteArray(),
    };

    public static V1.Step ToProto(Step s, MemberInput input, string nodeName)
    {
        var step = new V1.Step
        {
            Index = s.Index,
            Wave = s.Wave,
            NodeUid = input.NodeUid,
            NodeName = nodeName,
            ResourceUid = input.ResourceUid,
            Generation = input.Generation,
            Nonce = s.Nonce,
            Tool = s.Tool,
            ToolVersion = s.ToolVersion,
            Args = s.Args,
            Risk = s.Risk.Level.ToString(),
            LosesData = s.Risk.LosesData,
            Undo = new() { Kind = s.Undo.Kind.ToString(), Tool = s.Undo.Call?.Tool ?? "", Args = s.Undo.Call?.Args ?? "", Why = s.Undo.Why },
            Hash = s.Hash,
            Why = s.Why,
            Difference = s.Difference,
            Group = s.Group,
            Text = s.Text,
            UndoText = s.UndoText,
        };
        step.RiskReasons.AddRange(s.Risk.Reasons);
        step.Basis.AddRange(s.Basis.Select(f => new V1.Fact { Key = f.Key, Value = f.Value }));
        step.Expect.AddRange(s.Expect.Select(f => new V1.Fact { Key = f.Key, Value = f.Value }));
        return step;
    }

    public static V1.PlanSummary ToProto(ReconcileReport r, MemberInput input, string nodeName, ImmutableArray<Step> steps)
    {
        var plan = new V1.PlanSummary
        {
            Hash = r.PlanHash,
            ResourceUid = input.ResourceUid,
            ResourceKey = input.ResourceKey,
            Generation = input.Generation,
            NodeUid = input.NodeUid,
            NodeName = nodeName,
            Ordinal = input.Ordinal,
            Outcome = r.Phase == ReconcilePhase.Unseen ? "Unseen" : r.Outcome.ToString(),
            Questions = r.Questions,
            Error = r.Phase == ReconcilePhase.Unseen ? r.Blocker : "",
        };
        plan.Steps.AddRange(steps.Select(s => ToProto(s, input, nodeName)));
        plan.Differences.AddRange(r.Differences.Select(d => new V1.Drift { Key = d.Key, Text = d.Text }));
        foreach (var b in r.Blocked)
        {
            var blocked = new V1.Blocked { Difference = b.Difference, RetryAfterMs = (long)(b.RetryAfter?.TotalMilliseconds ?? 0), Exhausted = b.Exhausted };
            blocked.Reasons.AddRange(b.Reasons);
            plan.Blocked.Add(blocked);
        }
        return plan;
    }

    public static V1.MemberReport ToReport(MemberView v, string nodeName)
    {
        var self = v.Input.Peers.FirstOrDefault(p => p.Ordinal == v.Input.Ordinal);
        var status = new V1.MemberStatus
        {
            Ordinal = v.Input.Ordinal,
            NodeUid = v.Input.NodeUid,
            NodeName = nodeName,
            Address = self is null ? "" : self.Port == 0 ? self.Address : $"{self.Address}:{self.Port}",
            Phase = v.Gone ? "Absent" : v.Phase,
            Summary = v.Summary,
            ObservedGeneration = v.Input.Generation,
            ReportedUnixMs = v.Since.ToUnixTimeMilliseconds(),
        };
        status.Conditions.Add(new V1.Condition
        {
            Type = "Ready",
            Status = v.IsConverged ? "True" : v.Phase == nameof(ReconcilePhase.Unseen) ? "Unknown" : "False",
            Reason = v.Phase,
            Message = v.IsConverged ? v.Summary : v.Blocker.Length > 0 ? v.Blocker : FirstDifference(v),
            SinceUnixMs = v.Since.ToUnixTimeMilliseconds(),
            RetryUnixMs = v.RetryAt?.ToUnixTimeMilliseconds() ?? 0,
            NextCommand = NextCommand(v),
        });
        if (v.Serving is { } serving)
            status.Conditions.Add(new V1.Condition { Type = "Serving", Status = serving.Serves ? "True" : "False", Reason = serving.Serves ? "Serving" : "NotServing", Message = serving.Why, SinceUnixMs = v.Since.ToUnixTimeMilliseconds() });
        if (v.Story.Unsteady is { } unsteady)
            status.Conditions.Add(new V1.Condition { Type = "Unsteady", Status = "True", Reason = unsteady.Reason, Message = unsteady.Text, SinceUnixMs = v.Since.ToUnixTimeMilliseconds() });
        if (!v.Drift.IsEmpty)
        {
            status.Drift.AddRange(v.Drift.Select(d => new V1.Drift { Key = d.Key, Text = d.Text }));
            status.Conditions.Add(new V1.Condition { Type = "Drifted", Status = "True", Reason = "ChangedByHand", Message = $"changed by hand: {string.Join("; ", v.Drift.Select(d => d.Text))}; take it back: spec.drift: revert, or adopt it by changing the spec", SinceUnixMs = v.Since.ToUnixTimeMilliseconds() });
        }
        if (v.Paused is { } paused)
            status.Conditions.Add(new V1.Condition { Type = "Paused", Status = "True", Reason = paused.Stop ? "StoppedAtHost" : "PausedAtHost", Message = paused.Text, SinceUnixMs = paused.Since.ToUnixTimeMilliseconds(), NextCommand = Resume(v) });
        if (v is { Kept: { } kept, Serving: null })
        {
            var serves = kept.Phase == ReconcilePhase.Converged;
            status.Conditions.Add(new V1.Condition
            {
                Type = "Serving",
                Status = serves ? "True" : kept.Phase == ReconcilePhase.Unseen ? "Unknown" : "False",
                Reason = kept.Phase.ToString(),
                Message = serves ? kept.Summary : kept.Blocker.Length > 0 ? kept.Blocker : kept.Differences.IsEmpty ? kept.Summary : kept.Differences[0].Text,
                SinceUnixMs = v.Since.ToUnixTimeMilliseconds(),
            });
        }
        foreach (var (key, value) in v.Details) status.Details[key] = value;
        status.Drift.AddRange(v.Differences.Select(d => new V1.Drift { Key = d.Key, Text = d.Text }));
        return new() { Assignment = v.Input.Key, Status = status, Generation = v.Input.Generation, AbsentAcknowledged = v.Gone, Destroyed = v.Destroyed, HandedOver = v.Move.HandedOver, Received = v.Move.Received };
    }

    /// <summary>What a person can do; empty when nothing is to be done.</summary>
    public static string NextCommand(MemberView v)
    {
        var name = $"{v.Input.ResourceKey.Split(' ')[0].ToLowerInvariant()} {v.Input.Name}";
        return v.Phase switch
        {
            nameof(ReconcilePhase.Converged) => "",
            nameof(ReconcilePhase.Paused) => v.Paused?.StruckOff is null ? Resume(v) : "agentmetald join --help",
            nameof(ReconcilePhase.AwaitingApproval) => $"agentmetal approve {name.Replace(' ', '/')}",
            nameof(ReconcilePhase.Unseen) or nameof(ReconcilePhase.Stuck) or nameof(ReconcilePhase.Escalated) or "Unsupported" => $"agentmetal describe {name}",
            _ => $"agentmetal events --for {name.Replace(' ', '/')}",
        };
    }

    /// <summary>It is run on the host.</summary>
    private static string Resume(MemberView v) => $"agentmetal local resume {v.Input.ResourceKey.Split(' ')[0].ToLowerInvariant()}/{v.Input.Name}";

    public static V1.AuditRecord ToProto(Runtime.Audit.AuditRecord r) => new()
    {
        Chain = r.Chain,
        Seq = r.Seq,
        AtUnixMs = r.At.ToUnixTimeMilliseconds(),
        Kind = r.Kind,
        ResourceKey = r.ResourceKey,
        Body = r.Body,
        Previous = r.Previous,
        Hash = r.Hash,
    };

    /// <summary>The newest form of approval that this build understands.</summary>
    public const int ApprovalVersion = 2;

    /// <summary>What this host signs to say that these steps are its own question.</summary>
    public static V1.HeldPlan ToHeld(MemberView v, string nodeName, System.Security.Cryptography.ECDsa key, DateTimeOffset created, TimeSpan life)
    {
        var (from, until) = (created.ToUnixTimeMilliseconds(), (created + life).ToUnixTimeMilliseconds());
        var held = new V1.HeldPlan { Assignment = v.Input.Key, CreatedUnixMs = from, ExpiresUnixMs = until, ApprovalVersion = ApprovalVersion, Standing = v.Held.IsEmpty ? "" : v.Report?.Standing ?? "" };
        if (v.Running is { } running)
        {
            (held.RunningSinceUnixMs, held.Running) = (running.Since.ToUnixTimeMilliseconds(), running.Text);
            if (!v.Held.IsEmpty) held.Standing = "approved; running since " + ApprovalRule.When(held.RunningSinceUnixMs, running.Since);
            held.RunningSteps.AddRange(running.StepHashes);
        }
        if (!v.Held.IsEmpty && v.Report is { } report) held.Decisions.AddRange(report.Decisions.Select(TrustWire.Write));
        held.Plan = v.Held.IsEmpty || v.Report is null
            ? new() { NodeUid = v.Input.NodeUid, NodeName = nodeName, ResourceKey = v.Input.ResourceKey, ResourceUid = v.Input.ResourceUid }
            : ToProto(v.Report, v.Input, nodeName, v.Held);
        if (v.Held.IsEmpty) return held;
        var claim = new HeldPlanClaim
        {
            NodeUid = v.Input.NodeUid,
            Assignment = v.Input.Key,
            PlanHash = held.Plan.Hash,
            StepHashes = [.. v.Held.Select(s => s.Hash)],
            CreatedUnixMs = from,
            ExpiresUnixMs = until,
        };
        held.NodeSignature = ByteString.CopyFrom(claim.Sign(key));
        return held;
    }

    /// <summary>The same question as it is carried by hand, with the certificate that the coordinator would add.</summary>
    public static V1.Held ToCarried(V1.HeldPlan held, byte[] certificate) => new()
    {
        Id = HeldId.Of(held.Plan.Steps.Select(s => (s.Hash, s.Risk))),
        ApprovalVersion = held.ApprovalVersion,
        Standing = held.Standing,
        Decisions = { held.Decisions },
        Assignment = held.Assignment,
        Plan = held.Plan,
        CreatedUnixMs = held.CreatedUnixMs,
        ExpiresUnixMs = held.ExpiresUnixMs,
        ResourceKey = held.Plan.ResourceKey,
        NodeSignature = held.NodeSignature,
        NodeCertificate = ByteString.CopyFrom(certificate),
    };

    private static string FirstDifference(MemberView v) => v.Differences.IsEmpty ? v.Summary : v.Differences[0].Text;

    private static bool IsKind(string text) => text.Length is > 0 and <= 63 && text.All(char.IsAsciiLetterOrDigit);

    private static bool IsName(string text) =>
        text.Length is > 0 and <= 63 && text[0] != '-' && text[^1] != '-' && text.All(c => c is (>= 'a' and <= 'z') or (>= '0' and <= '9') or '-');
}
