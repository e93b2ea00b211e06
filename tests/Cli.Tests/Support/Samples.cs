using AgentMetal.Proto.V1;
using Google.Protobuf;

namespace AgentMetal.Cli.Tests.Support;

/// <summary>The fleet of the design's sketches.</summary>
internal static class Samples
{
    internal const string Uid = "0198c1d2";

    internal static Resource Sessions(long generation = 3, string ready = "True", long observed = 3)
    {
        var resource = new Resource
        {
            ApiVersion = "agentmetal.io/v1",
            Kind = "Redis",
            Spec = ByteString.CopyFromUtf8("""{"memory":{"max":"256Mi"},"replicas":1}"""),
            Metadata = new Metadata { Project = "default", Name = "sessions", Uid = Uid, Generation = generation, CreatedUnixMs = FixedClock.Ms("12:05:11") },
            Status = new Status { ObservedGeneration = observed },
        };
        resource.Status.Conditions.Add(ready == "True"
            ? new Condition { Type = "Ready", Status = "True", Reason = "Converged", Message = "2 of 2 members as wanted" }
            : new Condition
            {
                Type = "Ready",
                Status = ready,
                Reason = "NodeAway",
                Message = "edge-2 cannot be reached; last seen 14:02:09",
                SinceUnixMs = FixedClock.Ms("14:02:11"),
                RetryUnixMs = FixedClock.Ms("14:05:41"),
                NextCommand = "agentmetal nodes describe edge-2",
            });
        resource.Status.Conditions.Add(new Condition { Type = "Serving", Status = "True", Message = "primary edge-1, replica edge-3 (lag 0)" });
        resource.Status.Members.Add(Member(0, "edge-1", "10.0.0.11:6379", "primary"));
        resource.Status.Members.Add(Member(1, "edge-3", "10.0.0.13:6379", "replica, lag 0"));
        return resource;
    }

    internal static MemberStatus Member(int ordinal, string node, string address, string summary, string phase = "Converged") => new()
    {
        Ordinal = ordinal,
        NodeName = node,
        Address = address,
        Phase = phase,
        Summary = summary,
        ObservedGeneration = 3,
        ReportedUnixMs = FixedClock.Ms("14:05:01"),
    };

    internal static PlanReply Bigger()
    {
        var resource = Sessions(4);
        var plan = new ResourcePlan { Resource = resource, FromGeneration = 3, Action = "changed" };
        plan.Changes.Add(new FieldChange { Path = "spec.memory.max", Before = "256Mi", After = "512Mi" });
        plan.Changes.Add(new FieldChange { Path = "spec.persistence.appendonly", Before = "false", After = "true" });
        plan.Changes.Add(new FieldChange { Path = "spec.replicas", Before = "1", After = "2" });
        plan.FleetSteps.Add(Step("coordinator", "assign", "replica on edge-2", "Safe", "Call", "release", "spread over hosts"));
        plan.Members.Add(Summary("edge-2", Step("edge-2", "install-package", "install redis-server 7.0.15", "Safe", "Keep", "", "package missing"),
            Step("edge-2", "write-config", "write config, unit agentmetal-redis-default-sessions-2", "Moderate", "Call", "remove", "new member"),
            Step("edge-2", "start", "start member, follow edge-1", "Moderate", "Call", "stop", "resync about 40 MiB")));
        plan.Members.Add(Summary("edge-1", Step("edge-1", "config-set", "set maxmemory=512mb, appendonly=yes", "Moderate", "Call", "set back", "primary last")));
        return new PlanReply { Hash = "7f3a9c21d0a1", ExpiresUnixMs = FixedClock.Ms("14:20:12"), Resources = { plan } };
    }

    internal static PlanReply Deletion()
    {
        var plan = new ResourcePlan { Resource = Sessions(4), FromGeneration = 3, Action = "deleted" };
        var remove = Step("edge-1", "remove-data", "remove the data of sessions#0", "Dangerous", "Impossible", "", "the resource is deleted");
        remove.LosesData = true;
        remove.RiskReasons.Add(["data-loss", "irreversible", "keep-serving"]);
        remove.Undo.Why = "no copy is left";
        plan.Members.Add(Summary("edge-1", Step("edge-1", "stop", "stop member", "Moderate", "Call", "start it", ""), remove));
        return new PlanReply { Hash = "aabbccdd0011", ExpiresUnixMs = FixedClock.Ms("14:20:12"), Resources = { plan } };
    }

    internal static PlanSummary Summary(string node, params Step[] steps)
    {
        var summary = new PlanSummary { NodeName = node, Outcome = "Ready", Hash = "00", ResourceUid = Uid };
        summary.Steps.AddRange(steps);
        return summary;
    }

    internal static Step Step(string node, string tool, string text, string risk, string undo, string undoText, string why) => new()
    {
        NodeName = node,
        Tool = tool,
        ToolVersion = 1,
        Args = "{}",
        Text = text,
        Risk = risk,
        Undo = new Undo { Kind = undo, Tool = undo == "Call" ? "inverse" : "" },
        UndoText = undoText,
        Why = why,
    };
}
