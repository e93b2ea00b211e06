using AgentMetal.Cli.Rendering;
using AgentMetal.Runtime.Local;

namespace AgentMetal.Cli.Local;

/// <summary>What a host says about itself.</summary>
internal sealed class LocalView(Screen screen)
{
    internal void Status(LocalAnswer answer)
    {
        Host(answer);
        if (answer.Members.IsEmpty)
        {
            screen.Line("Nothing is assigned to this host.");
            return;
        }
        screen.Line("");
        var table = new Table(new("RESOURCE"), new("#"), new("PHASE"), new("SINCE"), new("IS", Overflow.Cut, 12), new("BLOCKED BY", Overflow.Wrap, 16));
        foreach (var m in answer.Members.OrderBy(m => m.Resource, StringComparer.Ordinal).ThenBy(m => m.Ordinal))
            table.Add(m.Resource, $"{m.Ordinal}", PhaseOf(m), When.Age(m.SinceUnixMs, screen.Clock), m.Summary, m.Blocker.Length == 0 && m.Paused is { } p ? PausedBy(p) : m.Blocker);
        table.Write(screen);
        if (answer.Members.FirstOrDefault(m => m.Phase != "Converged") is { } open)
            screen.Line(Piece.Strong("Next"), $"       agentmetal local why {open.Resource.Split(' ')[0].ToLowerInvariant()}/{open.Resource.Split('/')[^1]}");
    }

    internal void Why(LocalAnswer answer)
    {
        Host(answer);
        foreach (var m in answer.Members)
        {
            screen.Line("");
            screen.Line(Piece.Strong(m.Resource), $"   member {m.Ordinal}   generation {m.Generation}");
            var lines = new Table(new(""), new(""), new("", Overflow.Wrap, 30)) { Bare = true };
            var converged = m.Phase == "Converged";
            lines.Add("Ready", converged ? Piece.Good("True") : Piece.Bad("False"), converged ? m.Summary
                : $"since {When.ClockAndAge(m.SinceUnixMs, screen.Clock)}   {(m.Blocker.Length > 0 ? m.Blocker : m.Phase)}" + (m.RetryUnixMs > 0 ? $"; looked at again {When.Again(m.RetryUnixMs, screen.Clock)}" : ""));
            lines.Add("Phase", PhaseOf(m), converged ? "" : m.Summary);
            if (m.Paused is { } paused) lines.Add("Paused", Piece.Warn("True"), $"since {When.ClockAndAge(paused.SinceUnixMs, screen.Clock)}   {PausedBy(paused)}; go on with: agentmetal local resume {m.Resource.Split(' ')[0].ToLowerInvariant()}/{m.Resource.Split('/')[^1]}");
            foreach (var difference in m.Differences) lines.Add("Differs", "", difference);
            foreach (var held in m.Held) lines.Add("Held", new(held.Risk, RiskWords.ToneOf(held.Risk)), $"{held.Text}: {RiskWords.Of(held.Reasons)}   hash {held.Hash}");
            lines.Write(screen);
            new Describe.DetailsView(screen).Write("", m.Details);
            if (m.NextCommand.Length > 0) screen.Line(Piece.Strong("Next"), "       " + m.NextCommand);
            if (m.Events.IsEmpty) continue;
            screen.Line(Piece.Quiet("Events"));
            foreach (var e in m.Events.Reverse()) screen.Line("  ", Piece.Quiet(When.Clock(e.AtUnixMs, screen.Clock)), "  ", new((e.Warning ? "! " : "") + e.Reason, e.Warning ? Tone.Warn : Tone.Plain), "  ", e.Message);
        }
    }

    private static string PausedBy(LocalPaused p) => $"paused by {p.By}{(p.Reason.Length > 0 ? $" ({p.Reason})" : "")}{(p.Progress.Length > 0 ? "; it " + p.Progress : "")}";

    private void Host(LocalAnswer answer)
    {
        if (answer.Node is { } node)
        {
            screen.Line(Piece.Strong(node.Name), $"   uid {node.Uid}   agentmetald {node.Version}, up {When.Age(node.StartedUnixMs, screen.Clock)}   certificate ends {When.Until(node.CertificateExpiresUnixMs, screen.Clock)}   approver set {node.ApproverSetVersion}");
        }
        if (answer.Link is not { } link) return;
        if (link.State == "Attached") screen.Line("Coordinator  ", Piece.Good("Attached"), $"  since {When.ClockAndAge(link.SinceUnixMs, screen.Clock)}");
        if (link.StruckOff is { } struck) screen.Line("Host         ", Piece.Bad("Struck off"), $"   {struck}");
        if (link.ClockWrong is { } clock) screen.Line("Clock        ", Piece.Bad("Wrong"), $"   {clock}");
        if (link.StoreRefused is { } refused) screen.Line("Store        ", Piece.Bad("Refused"), $"   {refused}. This host goes on as it was. Next, where an operator's key is: agentmetal nodes accept-store");
        if (link.State != "Attached" && link.StruckOff is null)
        {
            screen.Line("Coordinator  ", Piece.Warn(link.State), $"  since {When.ClockAndAge(link.SinceUnixMs, screen.Clock)}: {link.Detail}"
                + (link.NextTryUnixMs > 0 ? $"; tried again {When.Until(link.NextTryUnixMs, screen.Clock)}" : "") + ". This host goes on by itself.");
        }
    }

    private static Piece PhaseOf(LocalMember m) => new(m.Phase, m.Phase switch { "Converged" => Tone.Good, "Stuck" or "Escalated" => Tone.Bad, _ => Tone.Warn });
}
