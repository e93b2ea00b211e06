using System.Text.RegularExpressions;

namespace AgentMetal.Tidy;

/// <summary>What the product and its tests declare: each namespace, its types, and the room whose folder holds the declaration.</summary>
internal sealed partial class Names
{
    private readonly Dictionary<string, Dictionary<string, HashSet<string>>> types = new(StringComparer.Ordinal);
    private readonly Dictionary<string, HashSet<string>> rooms = new(StringComparer.Ordinal);

    public static Names Of(IEnumerable<(string Path, string Text)> files, Func<string, string> roomOf)
    {
        var names = new Names();
        foreach (var (path, text) in files)
            names.Add(NamespaceOf(path, text), text, roomOf(path), IsProto(path));
        return names;
    }

    /// <summary>Empty for a program of top-level statements.</summary>
    public static string NamespaceOf(string path, string text) =>
        (IsProto(path) ? ProtoNamespace() : Namespace()).Match(text).Groups[1].Value;

    public bool IsNamespace(string name) => rooms.ContainsKey(name);

    /// <summary>The rooms that declare this type directly in this namespace; none where the namespace has no such type.</summary>
    public IReadOnlySet<string> RoomsOfType(string ns, string type) =>
        types.TryGetValue(ns, out var declared) && declared.TryGetValue(type, out var found) ? found : new HashSet<string>();

    /// <summary>The only room with this namespace; none where several share it, for then only its types tell which is meant.</summary>
    public string? RoomOfNamespace(string ns) => rooms.TryGetValue(ns, out var found) && found.Count == 1 ? found.Single() : null;

    private static bool IsProto(string path) => path.EndsWith(".proto", StringComparison.Ordinal);

    private void Add(string ns, string text, string room, bool proto)
    {
        if (ns.Length == 0) return;
        // A namespace that only has namespaces in it is a name too: Agents in Agents.Redis.
        for (var outer = ns; outer.Contains('.', StringComparison.Ordinal); outer = outer[..outer.LastIndexOf('.')])
            rooms.TryAdd(outer, []);
        rooms[ns].Add(room);
        var declared = types.TryGetValue(ns, out var known) ? known : types[ns] = new(StringComparer.Ordinal);
        foreach (var name in (proto ? ProtoType() : Type()).Matches(text).Select(m => m.Groups[1].Value))
            (declared.TryGetValue(name, out var at) ? at : declared[name] = []).Add(room);
    }

    [GeneratedRegex(@"^namespace ([\w.]+)", RegexOptions.Multiline)]
    private static partial Regex Namespace();

    [GeneratedRegex(@"^option csharp_namespace = ""([\w.]+)""", RegexOptions.Multiline)]
    private static partial Regex ProtoNamespace();

    // Types at the margin only: those within another type are reached through it.
    [GeneratedRegex(@"^(?:[a-z]+ )*?(?:class|record struct|record class|record|struct|interface|enum|delegate [\w<>\[\]?.]+) (\w+)",
        RegexOptions.Multiline)]
    private static partial Regex Type();

    [GeneratedRegex(@"^(?:message|enum|service) (\w+)", RegexOptions.Multiline)]
    private static partial Regex ProtoType();
}
