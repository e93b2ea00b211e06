using AgentMetal.Cli.Output;
using AgentMetal.Cli.Rendering;

namespace AgentMetal.Cli.Apply;

/// <summary>Progress on a terminal is a block that is drawn anew; elsewhere a line for every change. It goes to standard error where the result is for programs.</summary>
internal sealed class ProgressView(Screen screen, bool quiet)
{
    /// <summary>How far a step is, is said that often where lines cannot be drawn anew.</summary>
    private static readonly TimeSpan s_doingEvery = TimeSpan.FromSeconds(10);

    private readonly Dictionary<string, (string Line, TimeSpan At)> _said = [];
    private int _drawn;

    internal void Show(IReadOnlyList<AwaitedState> states, TimeSpan elapsed)
    {
        if (quiet) return;
        if (screen.Live) Draw(Block(states, elapsed));
        else foreach (var (key, line, doing) in Lines(states)) SayOnce(key, line, doing, elapsed);
    }

    /// <summary>A message between; it stays above the block.</summary>
    internal void Say(string message)
    {
        Erase();
        screen.Note(Piece.Warn("note: "), message);
    }

    /// <summary>The last word about each resource.</summary>
    internal void Finish(IReadOnlyList<AwaitedState> states, TimeSpan elapsed)
    {
        if (quiet) return;
        Erase();
        var table = new Table(new(""), new("", Overflow.Cut, 16), new(""), new("")) { Bare = true };
        foreach (var s in states)
            table.Add(Piece.Strong(Resources.Key(s.Latest)), s.IsDone ? s.IsGone ? "" : Resources.Where(s.Latest) : s.Blocker, Word(s), Seconds(elapsed));
        table.Write(screen);
    }

    internal static string Seconds(TimeSpan elapsed) => elapsed.TotalSeconds < 60 ? $"{elapsed.TotalSeconds.ToString("0.0", System.Globalization.CultureInfo.InvariantCulture)} s" : When.Length(elapsed);

    private static Piece Word(AwaitedState s) => s.IsGone ? s.Awaited.Gone ? Piece.Good("Gone") : Piece.Bad("Gone")
        : s.IsDone ? Piece.Good("Ready")
        : s.NeedsApproval ? Piece.Warn("Needs approval") : Piece.Warn(s.Awaited.Gone ? "Deleting" : "Changing");

    private List<Piece[]> Block(IReadOnlyList<AwaitedState> states, TimeSpan elapsed)
    {
        var lines = new List<Piece[]>();
        foreach (var s in states)
        {
            lines.Add([Piece.Strong(Resources.Key(s.Latest)), "  ", Word(s), Piece.Quiet($"  {Seconds(elapsed)}")]);
            foreach (var (node, phase, text) in Members(s)) lines.Add([$"  {node}  ", new(phase, phase == "Converged" ? Tone.Good : Tone.Warn), "  ", Plain.Fit(text, Math.Max(10, screen.Width - node.Length - phase.Length - 8))]);
            if (!s.IsDone && s.Latest.Status?.Members.Count is null or 0) lines.Add(["  ", Plain.Fit(s.Blocker, Math.Max(10, screen.Width - 4))]);
        }
        // More lines than the terminal has could not be drawn anew.
        return lines.Count <= 20 ? lines : [.. lines.Take(19), [$"  … and {lines.Count - 19} more lines"]];
    }

    private static IEnumerable<(string Key, string Line, bool Doing)> Lines(IReadOnlyList<AwaitedState> states)
    {
        foreach (var s in states)
        {
            var key = Resources.Key(s.Latest);
            var doing = s.Latest.Status?.Members.Any(m => Doing(s, m) is not null) == true;
            foreach (var (node, phase, text) in Members(s)) yield return ($"{key} {node}", $"{key}  {node}  {phase}{(text.Length > 0 ? "  " + text : "")}", doing);
            yield return (key, $"{key}  {Word(s).Text}{(s.IsDone ? "" : "  " + s.Blocker)}", doing);
        }
    }

    private static IEnumerable<(string Node, string Phase, string Text)> Members(AwaitedState s) => s.IsGone ? [] : (s.Latest.Status?.Members ?? Enumerable.Empty<Proto.V1.MemberStatus>())
        .OrderBy(m => m.Ordinal).Select(m => Doing(s, m) is { } doing ? (m.NodeName, "Converging", doing) : (m.NodeName, m.Phase, m.Conditions.FirstOrDefault(c => c.Status != "True") is { Message.Length: > 0 } blocked ? blocked.Message : m.Summary));

    /// <summary>What a step that runs is doing; it is news to nobody once all is as asked.</summary>
    private static string? Doing(AwaitedState s, Proto.V1.MemberStatus m) => !s.IsDone && m.Details.TryGetValue("progress", out var doing) ? doing : null;

    private void SayOnce(string key, string line, bool doing, TimeSpan elapsed)
    {
        if (_said.TryGetValue(key, out var last) && (last.Line == line || (doing && elapsed - last.At < s_doingEvery))) return;
        _said[key] = (line, elapsed);
        screen.Line(Piece.Quiet(When.Clock(screen.Clock.GetUtcNow().ToUnixTimeMilliseconds(), screen.Clock) + "  "), line);
    }

    private void Draw(List<Piece[]> lines)
    {
        Erase();
        foreach (var line in lines) screen.Line(line);
        _drawn = lines.Count;
    }

    private void Erase()
    {
        if (_drawn > 0) screen.Out.Write($"\e[{_drawn}A\e[J");
        _drawn = 0;
    }
}
