using System.Collections.Immutable;

namespace AgentMetal.Runtime.Resources;

/// <summary>What a field holds.</summary>
public enum FieldType
{
    /// <summary>Text.</summary>
    Text,

    /// <summary>A whole number.</summary>
    Integer,

    /// <summary>true or false.</summary>
    Boolean,

    /// <summary>One of a few words.</summary>
    Choice,

    /// <summary>An amount of bytes: 256Mi.</summary>
    Bytes,

    /// <summary>Named fields.</summary>
    Group,

    /// <summary>Items of one shape.</summary>
    List,

    /// <summary>Text by text (labels).</summary>
    TextMap,
}

/// <summary>One field of a kind: its rules and its documentation are the same object, so they cannot disagree.</summary>
public sealed record Field(string Name, FieldType Type, string Doc)
{
    /// <summary>Value when it is left out: a canonical JSON value; null = none.</summary>
    public object? Default { get; init; }

    /// <summary>Must be given.</summary>
    public bool Required { get; init; }

    /// <summary>Smallest number, bytes or count of items.</summary>
    public long Min { get; init; }

    /// <summary>Largest number, bytes or count of items.</summary>
    public long Max { get; init; } = CanonicalJson.MaxInteger;

    /// <summary>Longest text, in characters.</summary>
    public int MaxLength { get; init; } = 256;

    /// <summary>A text may hold line ends and tabs.</summary>
    public bool Multiline { get; init; }

    /// <summary>The words of a Choice.</summary>
    public ImmutableArray<string> Choices { get; init; } = [];

    /// <summary>Says what is wrong with a text, or null.</summary>
    public Func<string, string?>? Check { get; init; }

    /// <summary>Fields of a Group, or of each item of a List.</summary>
    public ImmutableArray<Field> Fields { get; init; } = [];

    /// <summary>"live": changed while it runs; "restart": needs one; "role change"; empty: neither.</summary>
    public string Effect { get; init; } = "";

    /// <summary>Cannot be changed once set.</summary>
    public bool Immutable { get; init; }
}
