namespace AgentMetal.NodeAgent.Host.Systemd;

/// <summary>Unit names as systemd.unit(5) allows them.</summary>
internal static class UnitName
{
    private const int MaxLength = 255;

    private static readonly string[] Suffixes =
        [".service", ".socket", ".target", ".timer", ".mount", ".path", ".slice", ".scope", ".swap", ".device", ".automount"];

    /// <summary>Throws unless a name is one systemd can have: a name with a quote or slash must never reach a match rule.</summary>
    /// <exception cref="ArgumentException">It is not; the message says which name and why.</exception>
    internal static void Require(string name)
    {
        ArgumentNullException.ThrowIfNull(name);
        if (name.Length is 0 or > MaxLength || !name.All(IsAllowed))
            throw new ArgumentException($"\"{name}\" is not a unit name: use 1 to {MaxLength} of letters, digits and : - _ . \\ @", nameof(name));
        if (!Suffixes.Any(suffix => name.Length > suffix.Length && name.EndsWith(suffix, StringComparison.Ordinal)))
            throw new ArgumentException($"\"{name}\" is not a unit name: it needs a type, such as .service", nameof(name));
    }

    private static bool IsAllowed(char c) => char.IsAsciiLetterOrDigit(c) || c is ':' or '-' or '_' or '.' or '\\' or '@';
}
