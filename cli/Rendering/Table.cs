namespace AgentMetal.Cli.Rendering;

/// <summary>What happens to a column that does not fit.</summary>
internal enum Overflow
{
    /// <summary>It is never made narrower.</summary>
    Keep,

    /// <summary>It is cut, with an ellipsis.</summary>
    Cut,

    /// <summary>It goes on in the next line.</summary>
    Wrap,
}

/// <param name="Title">Its heading; empty = none.</param>
/// <param name="Overflow">What happens when the screen is too narrow.</param>
/// <param name="Min">It is not made narrower than this, in characters.</param>
internal sealed record Column(string Title, Overflow Overflow = Overflow.Keep, int Min = 8);

/// <summary>Rows under headings, two spaces apart; an empty column is left out.</summary>
internal sealed class Table(params Column[] columns)
{
    private readonly List<Piece[]> _rows = [];

    /// <summary>Before every line, in spaces.</summary>
    internal int Indent { get; init; }

    /// <summary>No line of headings.</summary>
    internal bool Bare { get; init; }

    internal int Count => _rows.Count;

    internal void Add(params Piece[] cells)
    {
        if (cells.Length != columns.Length) throw new ArgumentException($"{cells.Length} cells for {columns.Length} columns", nameof(cells));
        _rows.Add([.. cells.Select(c => c with { Text = Plain.Clean(c.Text) })]);
    }

    internal void Write(Screen screen)
    {
        foreach (var line in Lines(screen.Width)) screen.Line(line);
    }

    /// <summary>The lines at this width, padding included.</summary>
    internal IEnumerable<Piece[]> Lines(int width)
    {
        var shown = Enumerable.Range(0, columns.Length).Where(i => _rows.Count == 0 || _rows.Any(r => r[i].Text.Length > 0)).ToArray();
        var widths = Widths(shown, width);
        if (!Bare)
            foreach (var line in Row(shown, widths, [.. columns.Select(c => Piece.Quiet(c.Title))])) yield return line;
        foreach (var row in _rows)
            foreach (var line in Row(shown, widths, row)) yield return line;
    }

    private Dictionary<int, int> Widths(int[] shown, int width)
    {
        var widths = shown.ToDictionary(i => i, i => _rows.Select(r => Plain.Width(r[i].Text)).Append(Bare ? 0 : Plain.Width(columns[i].Title)).Max());
        if (width == Screen.Unbounded) return widths;
        var tooWide = Indent + widths.Values.Sum() + (2 * Math.Max(0, shown.Length - 1)) - width;
        // The widest column that can give gives first, so that two long columns share the loss.
        while (tooWide > 0)
        {
            var giving = shown.Where(i => columns[i].Overflow != Overflow.Keep && widths[i] > columns[i].Min).OrderByDescending(i => widths[i]).ThenByDescending(i => i).Cast<int?>().FirstOrDefault();
            if (giving is not { } at) break;
            widths[at]--;
            tooWide--;
        }
        return widths;
    }

    private IEnumerable<Piece[]> Row(int[] shown, Dictionary<int, int> widths, Piece[] cells)
    {
        var parts = shown.ToDictionary(i => i, i => columns[i].Overflow switch
        {
            Overflow.Wrap => Plain.Wrap(cells[i].Text, widths[i]),
            Overflow.Cut => [Plain.Fit(cells[i].Text, widths[i])],
            _ => [cells[i].Text],
        });
        var height = shown.Length == 0 ? 0 : parts.Values.Max(p => p.Count);
        for (var line = 0; line < height; line++)
        {
            var pieces = new List<Piece> { new string(' ', Indent) };
            foreach (var i in shown)
            {
                var text = line < parts[i].Count ? parts[i][line] : "";
                pieces.Add(cells[i] with { Text = text });
                if (i != shown[^1]) pieces.Add(new string(' ', widths[i] - Plain.Width(text) + 2));
            }
            yield return [.. pieces];
        }
    }
}
