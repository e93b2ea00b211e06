using System.Collections.Immutable;
using AgentMetal.Runtime.Resources;

namespace AgentMetal.Cli.Files;

/// <summary>Where something is written. Lines and columns count from 1, columns and length in UTF-16 characters of that line.</summary>
/// <param name="Source">The file.</param>
/// <param name="Line">Its line.</param>
/// <param name="Column">Of the first character.</param>
/// <param name="Length">On that line; at least 1.</param>
internal sealed record SourceSpan(SourceFile Source, int Line, int Column, int Length)
{
    /// <summary>"examples/sessions.yaml:14".</summary>
    internal string Place => $"{Source.Name}:{Line}";
}

/// <summary>A file as it was read; "-" is standard input.</summary>
internal sealed class SourceFile(string name, string text)
{
    private string[]? lines;

    internal string Name { get; } = name == "-" ? "standard input" : name;

    internal string Text { get; } = text;

    internal int LineCount => Lines.Length;

    private string[] Lines => lines ??= Text.Split('\n');

    /// <summary>A line without its end; empty beyond the last.</summary>
    internal string Line(int number) => number >= 1 && number <= Lines.Length ? Lines[number - 1].TrimEnd('\r') : "";
}

/// <summary>One error for a person: where, which field, what is wrong, what to do.</summary>
internal sealed record Diagnostic
{
    /// <summary>Null when no place in a file is to blame.</summary>
    internal SourceSpan? At { get; init; }

    /// <summary>For errors that concern a whole file: its name, when there is no <see cref="At"/>.</summary>
    internal string Subject { get; init; } = "";

    /// <summary>spec.persistence.appendfsync; empty when it is about the text, not a field.</summary>
    internal string Path { get; init; } = "";

    internal required string Message { get; init; }

    internal ImmutableArray<string> Notes { get; init; } = [];

    /// <summary>Whether the line itself helps: not for a rule about the fleet.</summary>
    internal bool ShowSource { get; init; } = true;

    internal static Diagnostic Of(SourceSpan at, string message, params ReadOnlySpan<string> notes) => new() { At = at, Message = message, Notes = [.. notes] };

    internal static Diagnostic OfFile(string name, string message, params ReadOnlySpan<string> notes) => new() { Subject = name, Message = message, Notes = [.. notes] };

    internal static Diagnostic OfField(SourceSpan at, FieldError error) =>
        new() { At = at, Path = error.Path, Message = error.Message, Notes = error.Note.Length == 0 ? [] : [error.Note] };
}
