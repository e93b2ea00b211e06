using System.Globalization;

namespace AgentMetal.Runtime.Resources;

/// <summary>Amounts of bytes as people write them: 1048576, 512Ki, 256Mi, 2Gi, 1Ti. Powers of two only: a memory limit is never ambiguous.</summary>
public static class Quantity
{
    private static readonly (string Suffix, long Factor)[] Units = [("Ti", 1L << 40), ("Gi", 1L << 30), ("Mi", 1L << 20), ("Ki", 1L << 10)];

    /// <summary>Bytes, or null when the text is not a quantity or is too large (2^53-1).</summary>
    public static long? Parse(string text)
    {
        var (digits, factor) = (text, 1L);
        foreach (var (suffix, f) in Units)
            if (text.EndsWith(suffix, StringComparison.Ordinal)) { (digits, factor) = (text[..^2], f); break; }
        if (digits.Length is 0 or > 16 || !digits.All(char.IsAsciiDigit)) return null;
        var n = long.Parse(digits, CultureInfo.InvariantCulture);
        return n > CanonicalJson.MaxInteger / factor ? null : n * factor;
    }

    /// <summary>The shortest exact text: 268435456 is 256Mi.</summary>
    public static string Format(long bytes)
    {
        foreach (var (suffix, factor) in Units)
            if (bytes > 0 && bytes % factor == 0) return (bytes / factor).ToString(CultureInfo.InvariantCulture) + suffix;
        return bytes.ToString(CultureInfo.InvariantCulture);
    }
}
