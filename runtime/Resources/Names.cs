namespace AgentMetal.Runtime.Resources;

/// <summary>The rules of names and labels; hostile input ends here, because names become file and unit names.</summary>
public static class Names
{
    /// <summary>RFC 1123 label: 1 to 63 of a-z, 0-9 and -, not at the ends. Null = fine.</summary>
    public static string? LabelError(string text) =>
        text.Length == 0 ? "is required"
        : text.Length > 63 ? $"is {text.Length} characters long; at most 63"
        : text[0] == '-' || text[^1] == '-' || !text.All(c => c is (>= 'a' and <= 'z') or (>= '0' and <= '9') or '-')
            ? $"\"{(text.Length <= 63 ? text : text[..63])}\" may hold only a-z, 0-9 and -, and must begin and end with a letter or digit" : null;

    /// <summary>[prefix/]name, as in Kubernetes: name up to 63, prefix a DNS name up to 253. Null = fine.</summary>
    public static string? LabelKeyError(string key)
    {
        var slash = key.IndexOf('/');
        var (prefix, name) = slash < 0 ? ("", key) : (key[..slash], key[(slash + 1)..]);
        if (slash >= 0 && (prefix.Length is 0 or > 253 || prefix.Split('.').Any(p => LabelError(p) is not null))) return "the part before / is not a DNS name";
        return Word(name, required: true);
    }

    /// <summary>Up to 63 of letters, digits, - _ . ; may be empty. Null = fine.</summary>
    public static string? LabelValueError(string value) => Word(value, required: false);

    private static string? Word(string text, bool required)
    {
        if (text.Length == 0) return required ? "is empty" : null;
        if (text.Length > 63) return $"is {text.Length} characters long; at most 63";
        return char.IsAsciiLetterOrDigit(text[0]) && char.IsAsciiLetterOrDigit(text[^1]) && text.All(c => char.IsAsciiLetterOrDigit(c) || c is '-' or '_' or '.')
            ? null : $"\"{text}\" may hold only letters, digits, - _ . and must begin and end with a letter or digit";
    }
}
