using System.Globalization;
using System.Text;

namespace AgentMetal.Cli.Rendering;

/// <summary>Text that is safe to show: a hostile host must not move the cursor, recolour a risk or reverse a name.</summary>
internal static class Plain
{
    /// <summary>The same text on one line, with every control, bidirectional and other invisible character written as its number.</summary>
    internal static string Clean(string text)
    {
        var clean = true;
        foreach (var rune in text.EnumerateRunes())
            clean &= IsShown(rune);
        if (clean) return text;
        var result = new StringBuilder(text.Length + 16);
        foreach (var rune in text.EnumerateRunes())
        {
            if (IsShown(rune)) result.Append(rune.ToString());
            else if (rune.Value == '\n') result.Append("\\n");
            else if (rune.Value == '\t') result.Append("\\t");
            else result.Append(CultureInfo.InvariantCulture, $"\\u{{{rune.Value:x}}}");
        }
        return result.ToString();
    }

    /// <summary>How many characters a terminal shows for it.</summary>
    internal static int Width(string text)
    {
        var width = 0;
        foreach (var rune in text.EnumerateRunes())
            width += Rune.GetUnicodeCategory(rune) is UnicodeCategory.NonSpacingMark or UnicodeCategory.EnclosingMark ? 0 : IsWide(rune.Value) ? 2 : 1;
        return width;
    }

    /// <summary>At most this wide; what is cut off leaves an ellipsis.</summary>
    internal static string Fit(string text, int width)
    {
        if (Width(text) <= width) return text;
        if (width <= 0) return "";
        var result = new StringBuilder();
        var used = 0;
        foreach (var rune in text.EnumerateRunes())
        {
            var next = Width(rune.ToString());
            if (used + next > width - 1) break;
            result.Append(rune.ToString());
            used += next;
        }
        return result.Append('…').ToString();
    }

    /// <summary>Lines of at most this width, broken between words where there are any.</summary>
    internal static IReadOnlyList<string> Wrap(string text, int width)
    {
        if (width < 1 || Width(text) <= width) return [text];
        var lines = new List<string>();
        var line = "";
        foreach (var word in text.Split(' '))
        {
            var candidate = line.Length == 0 ? word : line + " " + word;
            if (Width(candidate) <= width)
            {
                line = candidate;
                continue;
            }
            if (line.Length > 0) lines.Add(line);
            line = word;
            while (Width(line) > width)
            {
                var cut = CutAt(line, width);
                lines.Add(line[..cut]);
                line = line[cut..];
            }
        }
        if (line.Length > 0 || lines.Count == 0) lines.Add(line);
        return lines;
    }

    private static int CutAt(string text, int width)
    {
        var used = 0;
        var at = 0;
        foreach (var rune in text.EnumerateRunes())
        {
            var next = Width(rune.ToString());
            if (used + next > width && at > 0) break;
            used += next;
            at += rune.Utf16SequenceLength;
        }
        return at;
    }

    private static bool IsShown(Rune rune) => Rune.GetUnicodeCategory(rune)
        is not (UnicodeCategory.Control or UnicodeCategory.Format or UnicodeCategory.LineSeparator or UnicodeCategory.ParagraphSeparator
            or UnicodeCategory.PrivateUse or UnicodeCategory.OtherNotAssigned or UnicodeCategory.Surrogate);

    // The blocks of East Asian wide characters that names of people and places use; a terminal shows them two cells wide (UAX #11).
    private static bool IsWide(int rune) => rune is >= 0x1100 and <= 0x115f or >= 0x2e80 and <= 0xa4cf or >= 0xac00 and <= 0xd7a3 or >= 0xf900 and <= 0xfaff
        or >= 0xfe30 and <= 0xfe6f or >= 0xff00 and <= 0xff60 or >= 0xffe0 and <= 0xffe6 or >= 0x1f300 and <= 0x1f64f or >= 0x1f900 and <= 0x1f9ff or >= 0x20000 and <= 0x3fffd;
}
