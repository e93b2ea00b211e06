using System.Text;
using AgentMetal.Cli.SerialConsole;

namespace AgentMetal.Cli.Rendering;

/// <summary>Where a command reads and writes, and what that place can show.</summary>
internal sealed class Screen
{
    /// <summary>No terminal: lines are as long as they are.</summary>
    internal const int Unbounded = int.MaxValue;

    internal required TextWriter Out { get; init; }

    internal required TextWriter Error { get; init; }

    internal required TextReader In { get; init; }

    /// <summary>Colours may be written to <see cref="Out"/>; they never carry meaning alone.</summary>
    internal bool Color { get; set; }

    /// <summary>Lines of <see cref="Out"/> can be written anew.</summary>
    internal bool Live { get; init; }

    /// <summary>Somebody can be asked.</summary>
    internal bool CanAsk { get; init; }

    /// <summary>Columns; <see cref="Unbounded"/> where there is no terminal.</summary>
    internal int Width { get; init; } = Unbounded;

    internal TimeProvider Clock { get; init; } = TimeProvider.System;

    /// <summary>The same place as bytes, for what is no text of ours.</summary>
    internal Func<TerminalPort> Port { get; init; } = TerminalPort.Real;

    /// <summary>The real one. Honours NO_COLOR (no-color.org), TERM=dumb and COLUMNS.</summary>
    internal static Screen Real()
    {
        // Box of UTF-8 whatever the locale says: names and messages may hold any letter, and a '?' would hide it.
        var utf8 = new UTF8Encoding(false);
        var terminal = !Console.IsOutputRedirected && Environment.GetEnvironmentVariable("TERM") is not ("dumb" or null or "");
        return new Screen
        {
            Out = new StreamWriter(Console.OpenStandardOutput(), utf8) { AutoFlush = true },
            Error = new StreamWriter(Console.OpenStandardError(), utf8) { AutoFlush = true },
            In = Console.In,
            Live = terminal,
            Color = terminal && string.IsNullOrEmpty(Environment.GetEnvironmentVariable("NO_COLOR")),
            CanAsk = !Console.IsInputRedirected && !Console.IsErrorRedirected,
            Width = WidthOf(terminal),
        };
    }

    internal void Line(params ReadOnlySpan<Piece> pieces) => Out.WriteLine(Text(pieces));

    /// <summary>Messages beside the result go to standard error, so that a pipe gets only the result.</summary>
    internal void Note(params ReadOnlySpan<Piece> pieces) => Error.WriteLine(Text(pieces));

    internal string Text(ReadOnlySpan<Piece> pieces)
    {
        var text = new StringBuilder();
        foreach (var piece in pieces)
        {
            var clean = Plain.Clean(piece.Text);
            if (Color && piece.Tone != Tone.Plain && clean.Length > 0) text.Append(Code(piece.Tone)).Append(clean).Append("\e[0m");
            else text.Append(clean);
        }
        // Padding before nothing is nothing.
        return Color ? text.ToString() : text.ToString().TrimEnd(' ');
    }

    private static string Code(Tone tone) => tone switch
    {
        Tone.Quiet => "\e[2m",
        Tone.Strong => "\e[1m",
        Tone.Good => "\e[32m",
        Tone.Warn => "\e[33m",
        Tone.Bad => "\e[1;31m",
        _ => throw new ArgumentOutOfRangeException(nameof(tone)),
    };

    private static int WidthOf(bool terminal)
    {
        if (int.TryParse(Environment.GetEnvironmentVariable("COLUMNS"), out var columns) && columns >= 40) return columns;
        if (!terminal) return Unbounded;
        try
        {
            return Console.WindowWidth >= 40 ? Console.WindowWidth : 80;
        }
        catch (IOException)
        {
            return 80;
        }
    }
}
