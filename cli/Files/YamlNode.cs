namespace AgentMetal.Cli.Files;

/// <summary>A node of a document with the place where it is written. Immutable: an alias shares the node of its anchor.</summary>
/// <param name="At">Where it is written.</param>
internal abstract record YamlNode(SourceSpan At)
{
    /// <summary>How many nodes it stands for, aliases counted as often as they are used.</summary>
    internal abstract int Size { get; }

    /// <summary>Levels below and including it.</summary>
    internal abstract int Height { get; }
}

/// <param name="At">Where it is written.</param>
/// <param name="Text">Unquoted and unescaped.</param>
/// <param name="Plain">Written without quotes and without a tag, so that null, booleans and numbers are recognised.</param>
internal sealed record YamlScalar(SourceSpan At, string Text, bool Plain) : YamlNode(At)
{
    internal override int Size => 1;

    internal override int Height => 1;
}

/// <param name="At">Where it begins.</param>
/// <param name="Entries">In the order of the file; names are unique.</param>
internal sealed record YamlMap(SourceSpan At, IReadOnlyList<(YamlScalar Name, YamlNode Value)> Entries) : YamlNode(At)
{
    internal override int Size { get; } = 1 + Entries.Sum(e => 1 + e.Value.Size);

    internal override int Height { get; } = 1 + (Entries.Count == 0 ? 0 : Entries.Max(e => e.Value.Height));

    internal YamlNode? Find(string name) => Entries.FirstOrDefault(e => e.Name.Text == name).Value;
}

/// <param name="At">Where it begins.</param>
/// <param name="Items">In order.</param>
internal sealed record YamlList(SourceSpan At, IReadOnlyList<YamlNode> Items) : YamlNode(At)
{
    internal override int Size { get; } = 1 + Items.Sum(i => i.Size);

    internal override int Height { get; } = 1 + (Items.Count == 0 ? 0 : Items.Max(i => i.Height));
}
