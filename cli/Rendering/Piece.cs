namespace AgentMetal.Cli.Rendering;

/// <summary>How a text is meant. Colour only repeats what the words already say.</summary>
internal enum Tone
{
    Plain,
    Quiet,
    Strong,
    Good,
    Warn,
    Bad,
}

/// <summary>A text with its tone. Texts come from hosts and coordinators, so they are cleaned when they are written, never trusted.</summary>
internal readonly record struct Piece(string Text, Tone Tone = Tone.Plain)
{
    public static implicit operator Piece(string text) => new(text);

    internal static Piece Quiet(string text) => new(text, Tone.Quiet);

    internal static Piece Strong(string text) => new(text, Tone.Strong);

    internal static Piece Bad(string text) => new(text, Tone.Bad);

    internal static Piece Warn(string text) => new(text, Tone.Warn);

    internal static Piece Good(string text) => new(text, Tone.Good);
}
