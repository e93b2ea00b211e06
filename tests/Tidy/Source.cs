namespace AgentMetal.Tidy;

/// <summary>A name in code, dotted or not, with what stands before and after it.</summary>
internal readonly record struct Word(string Name, string Before, char After)
{
    /// <summary>Name: or Name = is an argument or a member of that name, never a type (but in case Type:).</summary>
    public bool NamesAMember => After is ':' or '=' && Before != "case" && !Name.Contains('.', StringComparison.Ordinal);

    /// <summary>string Name: in this file the name is a value, whatever type has that name elsewhere.</summary>
    public bool DeclaresAMember => Before is "string" or "int" or "long" or "bool" or "byte" or "double" or "object" or "uint" or "ulong";
}

/// <summary>
/// The names in a C# text. Comments and the text of strings are left out; what an interpolated string computes is code.
/// A text that does not end where it should throws: else a string that is read wrongly would hide the rest of its file.
/// </summary>
internal sealed class Source
{
    private readonly string text;
    private readonly List<Word> words = [];
    private int at;

    private Source(string text) => this.text = text;

    public static List<Word> Words(string text)
    {
        var source = new Source(text);
        source.Code(inHole: false);
        return source.words;
    }

    private char Now => Peek(0);

    private char Peek(int ahead) => at + ahead < text.Length ? text[at + ahead] : '\0';

    /// <summary>Reads code up to its end, or up to the brace that closes the hole of an interpolated string.</summary>
    private void Code(bool inHole)
    {
        var depth = 0;
        while (at < text.Length)
        {
            if (Now == '/' && Peek(1) == '/') SkipTo("\n");
            else if (Now == '/' && Peek(1) == '*') SkipTo("*/");
            else if (Now == '\'') Character();
            else if (Now is '"' or '$' || (Now == '@' && Peek(1) is '"' or '$')) Literal();
            else if (char.IsLetter(Now) || Now == '_') Name();
            else if (char.IsDigit(Now)) while (char.IsLetterOrDigit(Now) || Now == '_') at++;
            else
            {
                if (Now == '}' && depth == 0 && inHole) return;
                depth += Now switch { '{' => 1, '}' => -1, _ => 0 };
                at++;
            }
        }
        if (inHole || depth != 0) throw new InvalidDataException("the braces do not match, as this check reads the text");
    }

    private void Name()
    {
        var start = at;
        while (char.IsLetterOrDigit(Now) || Now == '_' || (Now == '.' && (char.IsLetter(Peek(1)) || Peek(1) == '_'))) at++;
        var before = start;
        while (before > 0 && char.IsWhiteSpace(text[before - 1])) before--;
        // The member of a value: a.b(c).Name, a?.Name, a[0].Name, also on the next line.
        if (before > 0 && text[before - 1] == '.' && !(before > 1 && text[before - 2] == '.')) return;
        var after = at;
        while (after < text.Length && char.IsWhiteSpace(text[after])) after++;
        var next = after < text.Length ? text[after] : '\0';
        // == and => and :: are none of the signs that follow a member's name.
        if (next is ':' or '=' && after + 1 < text.Length && text[after + 1] is '=' or '>' or ':') next = '\0';
        var name = text[start..at];
        if (name == "global" && text.AsSpan(at).StartsWith("::")) return;
        words.Add(new(name, words.Count > 0 ? words[^1].Name : "", next));
    }

    private void Character()
    {
        at++;
        while (at < text.Length && Now != '\'') at += Now == '\\' ? 2 : 1;
        at++;
    }

    private void Literal()
    {
        var dollars = 0;
        var verbatim = false;
        for (; Now is '$' or '@'; at++)
            if (Now == '$') dollars++;
            else verbatim = true;
        var quotes = 0;
        // @"" may begin with a quote of its own, so only its first one opens it.
        while (Now == '"' && !(verbatim && quotes == 1)) { quotes++; at++; }
        if (quotes is 0 or 2) return;
        var raw = quotes >= 3;
        while (at < text.Length)
        {
            if (raw ? Run('"') >= quotes : Now == '"' && !(verbatim && Peek(1) == '"')) break;
            if (!raw && Now == '"') at += 2;
            else if (!raw && !verbatim && Now == '\\') at += 2;
            else if (dollars > 0 && Now == '{') Brace(dollars, raw);
            else at++;
        }
        if (at >= text.Length) throw new InvalidDataException("a string does not end, as this check reads the text");
        at += raw ? quotes : 1;
    }

    private void Brace(int dollars, bool raw)
    {
        var braces = Run('{');
        at += braces;
        // {{ is a brace in the text; in a raw string it takes as many braces as there are dollars to open a hole.
        if (raw ? braces < dollars : braces % 2 == 0) return;
        Code(inHole: true);
        at += raw ? dollars : 1;
    }

    private int Run(char c)
    {
        var n = 0;
        while (Peek(n) == c) n++;
        return n;
    }

    private void SkipTo(string end)
    {
        var found = text.IndexOf(end, at + 2, StringComparison.Ordinal);
        at = found < 0 ? text.Length : found + end.Length;
    }
}
