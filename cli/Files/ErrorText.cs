using System.Globalization;
using System.Text;
using AgentMetal.Cli.CommandLine;
using AgentMetal.Cli.Rendering;

namespace AgentMetal.Cli.Files;

/// <summary>Errors as a person reads them: place, field, what is wrong, the line with a caret under it, what to do.</summary>
internal static class ErrorText
{
    /// <summary>More than these are counted, not shown: the first ones are what one fixes.</summary>
    internal const int Most = 50;

    private const int LineWidth = 110;

    /// <summary>All errors and the closing line that says nothing was changed. Ends with a line break.</summary>
    internal static string Render(IReadOnlyList<Diagnostic> errors, ExitCode code = ExitCode.BadInput)
    {
        var text = new StringBuilder();
        foreach (var error in errors.Take(Most))
            Append(text, error);
        if (errors.Count > Most) text.Append(CultureInfo.InvariantCulture, $"and {errors.Count - Most} more\n");
        text.Append(CultureInfo.InvariantCulture, $"{errors.Count} {(errors.Count == 1 ? "error" : "errors")}; nothing was changed. Exit code {(int)code}.\n");
        return text.ToString();
    }

    private static void Append(StringBuilder text, Diagnostic error)
    {
        text.Append("error: ");
        var subject = error.At?.Place ?? error.Subject;
        if (subject.Length > 0) text.Append(Plain.Clean(subject)).Append(": ");
        if (error.Path.Length > 0) text.Append(Plain.Clean(error.Path)).Append(": ");
        text.Append(Plain.Clean(error.Message)).Append('\n');
        if (error is { At: { } at, ShowSource: true }) AppendSource(text, at);
        foreach (var note in error.Notes)
            text.Append("  = note: ").Append(Plain.Clean(note)).Append('\n');
    }

    // The line loses its indentation: what matters is the word under the caret, and deep fields would leave the screen.
    private static void AppendSource(StringBuilder text, SourceSpan at)
    {
        var line = at.Source.Line(at.Line);
        var column = Math.Clamp(at.Column - 1, 0, line.Length);
        var start = Math.Min(line.Length - line.TrimStart(' ').Length, column);
        if (column - start > LineWidth / 2) start = column - (LineWidth / 4);
        var end = Math.Min(line.Length, start + LineWidth);
        if (line[start..end].Trim().Length == 0) return;
        var word = Math.Clamp(column + at.Length, column, end);

        var before = Plain.Clean(Whole(line, start, column));
        var marked = Plain.Clean(Whole(line, column, word));
        var after = Plain.Clean(Whole(line, word, end));
        text.Append("  |   ").Append(before).Append(marked).Append(after).Append('\n');
        text.Append("  |   ").Append(' ', Plain.Width(before)).Append('^', Math.Max(1, Plain.Width(marked))).Append('\n');
    }

    private static string Whole(string line, int start, int end) => end > start ? line[start..end] : "";
}
