using AgentMetal.Cli.Rendering;
using AgentMetal.Proto.V1;

namespace AgentMetal.Cli.Events;

/// <summary>Events as rows, oldest first.</summary>
internal static class EventTable
{
    internal static Table Of(Screen screen, IEnumerable<Event> events, bool resources)
    {
        var table = new Table(new("AT"), new("ON"), new(resources ? "RESOURCE" : ""), new("REASON"), new("MESSAGE", Overflow.Wrap, 30)) { Bare = true, Indent = resources ? 0 : 2 };
        foreach (var e in events.OrderBy(e => e.Seq)) table.Add(Cells(screen, e, resources));
        return table;
    }

    internal static Piece[] Cells(Screen screen, Event e, bool resources) =>
    [
        Piece.Quiet(When.Clock(e.AtUnixMs, screen.Clock)), e.NodeName.Length > 0 ? e.NodeName : "coordinator", resources ? e.ResourceKey : "",
        new((e.Type == "Warning" ? "! " : "") + e.Reason, e.Type == "Warning" ? Tone.Warn : Tone.Plain), e.Message,
    ];
}
