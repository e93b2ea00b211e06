using System.Text;
using AgentMetal.Runtime.Resources;
using CsCheck;
using Xunit;

namespace AgentMetal.Runtime.Tests.Resources;

/// <summary>Values of the JSON subset, random and from text.</summary>
internal static class Json
{
    private static readonly string[] s_pieces =
        ["a", "b", "replicas", "spec", "é", "名", "😀", "\"", "\\", "\n", "\u0001", "\u007f", "\u2028", " ", "1", ".", "save", "memory", "max", "labels", "unit"];

    internal static Gen<string> Text { get; } = Gen.Int[0, s_pieces.Length - 1].Array[0, 4].Select(i => string.Concat(i.Select(x => s_pieces[x])));

    internal static Gen<object?> Value { get; } = Gen.Int[0, 3].SelectMany(Nested);

    internal static byte[] Utf8(string text) => Encoding.UTF8.GetBytes(text);

    internal static string Reformat(string text)
    {
        var (value, error) = CanonicalJson.Parse(Utf8(text));
        Assert.Null(error);
        return Encoding.UTF8.GetString(CanonicalJson.Write(value));
    }

    internal static string Canonical(object? value) => Encoding.UTF8.GetString(CanonicalJson.Write(value));

    private static Gen<object?> Nested(int depth)
    {
        var scalar = Gen.OneOf(
            Gen.Const((object?)null),
            Gen.Bool.Select(b => (object?)b),
            Gen.Long[-CanonicalJson.MaxInteger, CanonicalJson.MaxInteger].Select(n => (object?)n),
            Gen.Int[-3, 9].Select(n => (object?)(long)n),
            Text.Select(t => (object?)t));
        if (depth == 0) return scalar;
        var inner = Nested(depth - 1);
        return Gen.OneOf(
            scalar,
            inner.Array[0, 4].Select(a => (object?)a.ToList()),
            Gen.Select(Text, inner).Array[0, 5].Select(a => (object?)Map(a)));
    }

    private static SortedDictionary<string, object?> Map(IEnumerable<(string Name, object? Value)> fields)
    {
        var map = new SortedDictionary<string, object?>(StringComparer.Ordinal);
        foreach (var (name, value) in fields) map[name] = value;
        return map;
    }
}
