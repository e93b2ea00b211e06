using System.Globalization;
using System.Text;

namespace AgentMetal.NodeAgent.Agents.Instance;

/// <summary>The last lines of a guest's console. The guest is hostile: what would move a cursor, colour a word or turn its direction is taken out, and there is an end to every line.</summary>
internal static class ConsoleTail
{
    /// <summary>Of the log, at most so many bytes are read.</summary>
    public const int Bytes = 8 * 1024;

    /// <summary>Shown lines, and characters of each.</summary>
    public const int MaxLines = 5, MaxLine = 160;

    private const char Escape = '\u001b';

    /// <param name="tail">The end of the log.</param>
    /// <param name="whole">It begins where the log begins; else its first line is half of one.</param>
    public static IReadOnlyList<string> Lines(ReadOnlySpan<byte> tail, bool whole)
    {
        var lines = new List<string>();
        var all = Encoding.UTF8.GetString(tail).Split('\n', '\r');
        for (var i = all.Length - 1; i >= (whole ? 0 : 1) && lines.Count < MaxLines; i--)
            if (Clean(all[i]) is { Length: > 0 } line) lines.Insert(0, line);
        return lines;
    }

    private static string Clean(string line)
    {
        var text = new StringBuilder();
        for (var i = 0; i < line.Length && text.Length < MaxLine;)
        {
            if (line[i] == Escape)
            {
                i = AfterSequence(line, i + 1);
                continue;
            }
            if (!Rune.TryGetRuneAt(line, i, out var rune)) { i++; continue; }
            i += rune.Utf16SequenceLength;
            if (rune.Value == '\t') text.Append(' ');
            else if (Rune.GetUnicodeCategory(rune) is not (UnicodeCategory.Control or UnicodeCategory.Format or UnicodeCategory.LineSeparator or UnicodeCategory.ParagraphSeparator
                or UnicodeCategory.PrivateUse or UnicodeCategory.OtherNotAssigned) && rune.Value != 0xFFFD && text.Length + rune.Utf16SequenceLength <= MaxLine) text.Append(rune.ToString());
        }
        return text.ToString().Trim();
    }

    /// <summary>Past a control sequence (ECMA-48): CSI up to its final byte, OSC up to its end, any other one character.</summary>
    private static int AfterSequence(string line, int at)
    {
        if (at >= line.Length) return at;
        if (line[at] == '[')
        {
            for (at++; at < line.Length && line[at] is < '@' or > '~'; at++) { }
            return Math.Min(at + 1, line.Length);
        }
        if (line[at] is not (']' or 'P' or '_' or '^' or 'X')) return at + 1;
        for (at++; at < line.Length && line[at] is not ('\a' or Escape); at++) { }
        return at < line.Length && line[at] == '\a' ? at + 1 : at;
    }
}
