using AgentMetal.Cli.Output;
using AgentMetal.Cli.Rendering;
using AgentMetal.Proto.V1;

namespace AgentMetal.Cli.Get;

/// <summary>Resources as rows: what, is it ready, where, and what blocks it.</summary>
internal static class ResourceTable
{
    internal static Table Of(Screen screen, IEnumerable<Resource> resources, bool wide, bool projects)
    {
        var table = new Table(new("PROJECT"), new("KIND"), new("NAME"), new("READY"), new("MEMBERS"), new("WHERE", Overflow.Cut, 12), new("AGE"),
            new("GENERATION"), new("ADDRESS", Overflow.Cut, 12), new("UID"), new("BLOCKED BY", Overflow.Cut, 16));
        foreach (var r in resources)
        {
            table.Add(projects ? Resources.ProjectOf(r.Metadata) : "", r.Kind, r.Metadata.Name, Ready(r), Members(r), Resources.Where(r), When.Age(r.Metadata.CreatedUnixMs, screen.Clock),
                wide ? $"{r.Metadata.Generation}" : "", wide ? string.Join(",", r.Status?.Members.Select(m => m.Address) ?? []) : "", wide ? r.Metadata.Uid : "", Resources.Blocker(r));
        }
        return table;
    }

    /// <summary>Whether a line about the one would be a line about the other.</summary>
    internal static bool SaysTheSame(Resource a, Resource b) => a.Metadata.Generation == b.Metadata.Generation && Ready(a).Text == Ready(b).Text && Members(a) == Members(b)
        && (Resources.IsReady(a) ? Resources.Where(a) == Resources.Where(b) : Resources.Blocker(a) == Resources.Blocker(b));

    /// <summary>One change of a watch, on one line that says when.</summary>
    internal static Piece[] ChangeLine(Screen screen, ResourceChange change)
    {
        var r = change.Resource;
        return [Piece.Quiet(When.Clock(screen.Clock.GetUtcNow().ToUnixTimeMilliseconds(), screen.Clock) + "  "), $"{change.Type,-8}  {Resources.Key(r)}  ",
            change.Type == "deleted" ? "gone" : Ready(r), change.Type == "deleted" ? "" : $"  {Members(r)}  {(Resources.IsReady(r) ? Resources.Where(r) : Resources.Blocker(r))}"];
    }

    internal static Piece Ready(Resource r) => r.Metadata.DeletedUnixMs != 0 ? Piece.Warn("Deleting")
        : Resources.AwaitsApproval(r) ? Piece.Warn("Approval")
        : Resources.IsReady(r) ? Piece.Good("True")
        : Resources.Find(r, "Ready")?.Status == "True" ? Piece.Warn("Changing")
        : Piece.Bad(Resources.Find(r, "Ready")?.Status ?? "Unknown");

    private static string Members(Resource r) => r.Status is null ? "0/0" : r.Status.Members.Count == 0 && Resources.IsReady(r) ? "-" : $"{r.Status.Members.Count(m => m.Phase == "Converged")}/{r.Status.Members.Count}";
}
