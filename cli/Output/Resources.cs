using AgentMetal.Proto.V1;

namespace AgentMetal.Cli.Output;

/// <summary>What a resource on the wire says about itself.</summary>
internal static class Resources
{
    /// <summary>"Redis default/sessions".</summary>
    internal static string Key(Resource? r) => r?.Metadata is { } meta ? $"{r.Kind} {ProjectOf(meta)}/{meta.Name}" : "";

    internal static string ProjectOf(Metadata meta) => meta.Project.Length == 0 ? "default" : meta.Project;

    /// <summary>"redis/sessions", as commands take it.</summary>
    internal static string Short(Resource r) => $"{r.Kind.ToLowerInvariant()}/{r.Metadata.Name}";

    internal static Condition? Find(Resource r, string type) => r.Status?.Conditions.FirstOrDefault(c => c.Type == type);

    /// <summary>Ready counts only when it was said about this generation: right after a change the old answer still stands.</summary>
    internal static bool IsReady(Resource r) =>
        Find(r, "Ready")?.Status == "True" && r.Status.ObservedGeneration >= r.Metadata.Generation && r.Metadata.DeletedUnixMs == 0;

    /// <summary>Of this generation: what an older one waited for is nobody's question any more.</summary>
    internal static bool AwaitsApproval(Resource r) => r.Status is not null && r.Status.ObservedGeneration >= r.Metadata.Generation
        && (Find(r, "Approved")?.Status == "False" || r.Status.Members.Any(m => m.Phase == "AwaitingApproval" && m.ObservedGeneration >= r.Metadata.Generation));

    /// <summary>What clears without a person: hosts look again, and do it when they can.</summary>
    private static readonly HashSet<string> s_clearing = new(["Converging", "Planning", "Placing", "Pending", "Waiting", "WaitsForReference", "Deleting"], StringComparer.Ordinal);

    /// <summary>How it goes on from here; what needs a person does not go on by itself, and is not said to.</summary>
    internal static string GoesOn(Resource r)
    {
        if (AwaitsApproval(r) || Find(r, "Approved")?.Status == "False") return "it goes on when it is approved";
        var reason = Find(r, "Ready")?.Reason ?? "";
        if (r.Status?.Members.Any(m => m.Phase is "Stuck" or "Escalated" or "Unsupported") == true || reason is "Stuck" or "Escalated" or "Unsupported" or "NotPlaced" or "NodeQuarantined") return "it does not go on by itself: it needs you";
        if (reason is "NodeAway") return "it goes on when that host is back";
        return reason.Length == 0 || s_clearing.Contains(reason) ? "it goes on by itself" : "it is looked at again, and goes on when that is gone";
    }

    /// <summary>One line: what blocks it, or where it runs.</summary>
    internal static string Blocker(Resource r)
    {
        if (IsReady(r)) return "";
        var condition = Find(r, "Ready") ?? r.Status?.Conditions.FirstOrDefault(c => c.Status != "True");
        if (condition is { Message.Length: > 0 }) return condition.Message;
        if (r.Metadata.DeletedUnixMs != 0) return "is being deleted";
        return r.Status?.ObservedGeneration < r.Metadata.Generation ? "the change is on its way to the hosts" : condition?.Reason ?? "no host has reported yet";
    }

    /// <summary>"primary on edge-1, replica on edge-3"; of a kind without members who uses it.</summary>
    internal static string Where(Resource r) => r.Status is null ? "" : r.Status.Members.Count == 0 ? Find(r, "Ready") is { Status: "True" } ready ? ready.Message : "" : string.Join(", ", r.Status.Members.OrderBy(m => m.Ordinal).Select(m =>
        m.Summary.Length == 0 ? m.NodeName : $"{m.Summary.Split(',')[0]} on {m.NodeName}"));
}
