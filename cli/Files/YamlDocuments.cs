using YamlDotNet.Core;
using YamlDotNet.Core.Events;

namespace AgentMetal.Cli.Files;

/// <summary>
/// Reads the documents of a YAML file (JSON is a subset) into nodes with positions, from the parser's events: nothing is created by reflection and no tag is honoured.
/// Bounds: 32 levels and 50,000 nodes with aliases followed, so that a small file cannot become a large one.
/// </summary>
internal sealed class YamlDocuments
{
    internal const int MaxNodes = 50_000;

    internal const int MaxDepth = 32;

    private const string CoreTag = "tag:yaml.org,2002:";

    private readonly SourceFile source;
    private readonly List<Diagnostic> errors;
    private readonly Parser parser;
    private readonly Dictionary<string, YamlNode?> anchors = new(StringComparer.Ordinal);
    private int nodes;

    private YamlDocuments(SourceFile source, List<Diagnostic> errors)
    {
        this.source = source;
        this.errors = errors;
        parser = new Parser(new Scanner(new StringReader(source.Text), skipComments: true));
    }

    /// <summary>The documents that could be read; what could not is added to the errors. Empty documents are left out.</summary>
    internal static IReadOnlyList<YamlNode> Read(SourceFile source, List<Diagnostic> errors)
    {
        var documents = new List<YamlNode>();
        var reader = new YamlDocuments(source, errors);
        try
        {
            while (reader.Next() is { } e and not StreamEnd)
            {
                if (e is not DocumentStart) continue;
                reader.anchors.Clear();
                var first = reader.Next();
                if (first is DocumentEnd or null) continue;
                var root = reader.Node(first, depth: 0);
                if (root is not YamlScalar { Plain: true, Text: "" }) documents.Add(root);
            }
        }
        catch (RefusedException e)
        {
            // What follows a broken place would be guesswork: one error per file, and the documents before it.
            errors.Add(e.Diagnostic);
        }
        return documents;
    }

    private ParsingEvent? Next()
    {
        try
        {
            return parser.MoveNext() ? parser.Current : null;
        }
        catch (YamlException e)
        {
            throw new RefusedException(SyntaxError(e.Start, e.Message));
        }
        catch (Exception e) when (e is InvalidOperationException or ArgumentException or FormatException or OverflowException or IndexOutOfRangeException)
        {
            // The parser lets a few of its own exceptions through on odd escapes and marks; for the writer of the file they are all "this is not YAML".
            throw new RefusedException(SyntaxError(parser.Current?.End ?? Mark.Empty, "this cannot be read as YAML"));
        }
    }

    private YamlNode Node(ParsingEvent e, int depth)
    {
        if (depth >= MaxDepth) throw Refused(e, $"nested deeper than {MaxDepth} levels");
        if (e is AnchorAlias alias) return Alias(alias, depth);
        // The parser lets "{a: {b: }" and the like through as an end where a value should be.
        if (e is not NodeEvent start) throw Refused(e, "a value is missing here");
        Count(e, 1);
        var anchor = start.Anchor.IsEmpty ? null : start.Anchor.Value;
        // Null while it is being read: an alias to it from inside is a circle.
        if (anchor is not null) anchors[anchor] = null;
        CheckTag(start);
        YamlNode node = start switch
        {
            Scalar s => ScalarOf(s),
            MappingStart m => Map(m, depth),
            SequenceStart l => List(l, depth),
            _ => throw new InvalidOperationException($"unexpected event {e.GetType().Name}"),
        };
        if (anchor is not null) anchors[anchor] = node;
        return node;
    }

    private YamlNode Alias(AnchorAlias alias, int depth)
    {
        var name = alias.Value.Value;
        if (!anchors.TryGetValue(name, out var node)) throw Refused(alias, $"*{name} refers to nothing: there is no &{name} before it in this document");
        if (node is null) throw Refused(alias, $"*{name} refers to itself", "write the fields out; a resource cannot contain itself");
        if (depth + node.Height > MaxDepth) throw Refused(alias, $"nested deeper than {MaxDepth} levels");
        Count(alias, node.Size);
        return node;
    }

    private YamlMap Map(MappingStart start, int depth)
    {
        var entries = new List<(YamlScalar Name, YamlNode Value)>();
        var seen = new Dictionary<string, int>(StringComparer.Ordinal);
        for (var e = Next(); e is not (MappingEnd or null); e = Next())
        {
            var key = Node(e, depth + 1) as YamlScalar ?? throw Refused(e, "a field's name has to be text");
            var value = Node(Next() ?? throw Refused(e, "the file ends here"), depth + 1);
            if (key is { Plain: true, Text: "<<" })
                errors.Add(Diagnostic.Of(key.At, "merge keys (<<) are not part of YAML 1.2", "write the fields out, or use an alias as the value of one field"));
            else if (seen.TryGetValue(key.Text, out var line))
                errors.Add(Diagnostic.Of(key.At, $"\"{Clip(key.Text)}\" appears twice in one map", $"first on line {line}"));
            else
            {
                seen.Add(key.Text, key.At.Line);
                entries.Add((key, value));
            }
        }
        return new YamlMap(Span(start), entries);
    }

    private YamlList List(SequenceStart start, int depth)
    {
        var items = new List<YamlNode>();
        for (var e = Next(); e is not (SequenceEnd or null); e = Next())
            items.Add(Node(e, depth + 1));
        return new YamlList(Span(start), items);
    }

    private YamlScalar ScalarOf(Scalar s)
    {
        for (var i = 0; i < s.Value.Length; i++)
        {
            if (!char.IsSurrogate(s.Value[i])) continue;
            if (i + 1 >= s.Value.Length || !char.IsSurrogatePair(s.Value[i], s.Value[i + 1])) throw Refused(s, "the text holds half a surrogate pair");
            i++;
        }
        return new YamlScalar(Span(s), s.Value, s.Style == ScalarStyle.Plain && s.Tag.IsEmpty);
    }

    private void CheckTag(NodeEvent node)
    {
        if (node.Tag.IsEmpty || node.Tag.IsNonSpecific) return;
        var kind = node switch { Scalar => "str", MappingStart => "map", _ => "seq" };
        if (node.Tag.Value != CoreTag + kind)
            throw Refused(node, $"the tag {Clip(node.Tag.Value)} is not accepted", "leave the tag out; quotes make text");
    }

    private void Count(ParsingEvent e, int more)
    {
        nodes += more;
        if (nodes > MaxNodes) throw Refused(e, $"more than {MaxNodes} values, with aliases followed", "split the file; a resource is small");
    }

    private SourceSpan Span(ParsingEvent e) => Span(e.Start, e.End, e is Scalar or AnchorAlias);

    private SourceSpan Span(in Mark start, in Mark end, bool whole)
    {
        var line = (int)Math.Max(1, start.Line);
        var column = (int)Math.Max(1, start.Column);
        var rest = Math.Max(1, source.Line(line).Length - column + 1);
        var length = !whole ? 1 : end.Line == start.Line ? (int)(end.Column - start.Column) : rest;
        return new SourceSpan(source, line, column, Math.Clamp(length, 1, rest));
    }

    private Diagnostic SyntaxError(in Mark mark, string message)
    {
        var at = Span(mark, mark, whole: false);
        // The parser names the line of the map around a tab, not the tab's.
        var last = message.Contains("tab", StringComparison.Ordinal) ? source.LineCount : at.Line + 1;
        for (var number = at.Line; number <= last; number++)
        {
            var line = source.Line(number);
            var tab = line.AsSpan(0, line.Length - line.AsSpan().TrimStart().Length).IndexOf('\t');
            if (tab >= 0) return Diagnostic.Of(new SourceSpan(source, number, tab + 1, 1), "a tab indents this line; YAML takes only spaces", "replace it with two spaces");
        }
        return Diagnostic.Of(at, "not valid YAML: " + Lower(message));
    }

    private RefusedException Refused(ParsingEvent e, string message, params ReadOnlySpan<string> notes) => new(Diagnostic.Of(Span(e), message, notes));

    private static string Clip(string text) => text.Length <= 60 ? text : text[..60] + "…";

    private static string Lower(string message)
    {
        var text = Clip160(message.TrimEnd('.', ' '));
        return text.Length == 0 ? "it cannot be read" : char.ToLowerInvariant(text[0]) + text[1..];
    }

    private static string Clip160(string text) => text.Length <= 160 ? text : text[..160] + "…";

    /// <summary>Leaves the recursion at the first place that cannot be read; never leaves this class.</summary>
    private sealed class RefusedException(Diagnostic diagnostic) : Exception(diagnostic.Message)
    {
        internal Diagnostic Diagnostic { get; } = diagnostic;
    }
}
