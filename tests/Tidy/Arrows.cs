using System.Text.RegularExpressions;

namespace AgentMetal.Tidy;

/// <summary>A name of another room, as a source file or a project file uses it.</summary>
internal sealed record Use(string Room, string Name);

/// <summary>
/// Which rooms a source text uses. Seen are using directives (plain, static, alias), names written in full, names relative to the
/// namespace around the file, and types that this namespace gives without a using. Not seen is a type that is never named, as with var.
/// </summary>
internal sealed partial class Arrows(IReadOnlyList<Row> table, Names names)
{
    /// <summary>
    /// The room of a file: its folder, as far down as the table has rows. A folder beside those rows is a room of its own, so a new one
    /// is found even though no row names it.
    /// </summary>
    public static string RoomOf(IReadOnlyList<Row> table, string path)
    {
        var folders = path.Split('/')[..^1];
        var room = folders.Length == 0 ? "" : folders[0];
        foreach (var folder in folders.Skip(1))
        {
            if (!table.Any(r => r.Room.StartsWith(room + "/", StringComparison.Ordinal))) break;
            room += "/" + folder;
        }
        return room;
    }

    /// <summary>The row of a room: the one that names it, else the one that stands for each folder beside it.</summary>
    public static Row? RowOf(IReadOnlyList<Row> table, string room) =>
        table.FirstOrDefault(r => r.Room == room) ?? table.FirstOrDefault(r => r.Room == Parent(room) + "/*");

    /// <summary>What this source uses and its row does not allow.</summary>
    public IEnumerable<Use> Breaches(string path, string text) => Forbidden(path, Uses(text));

    /// <summary>
    /// The same for a project file: the projects it refers to, and the sources that it takes from another folder. A project may be
    /// referred to where any room in it may be used; which of them, its sources show.
    /// </summary>
    public IEnumerable<Use> BreachesOfProject(string path, string text)
    {
        var included = ProjectInclude().Matches(text)
            .Select(m => Path.GetRelativePath("/", Path.GetFullPath(Path.Combine("/", Path.GetDirectoryName(path)!, m.Groups[1].Value))))
            .Select(target => new Use(RoomOf(table, target), target));
        var row = RowOf(table, RoomOf(table, path));
        return Forbidden(path, included).Where(u => row?.Uses.Any(a => a.StartsWith(u.Room + "/", StringComparison.Ordinal)) != true);
    }

    public HashSet<Use> Uses(string text)
    {
        var words = Source.Words(text);
        var around = Around(words.FirstOrDefault(w => w.Before == "namespace").Name ?? "");
        var uses = new HashSet<Use>();
        var opened = new List<string>();
        var aliases = new Dictionary<string, string>(StringComparer.Ordinal);
        var seen = new HashSet<string>(StringComparer.Ordinal);
        for (var i = 0; i < words.Count; i++)
        {
            var (name, before, after) = words[i];
            if (before == "namespace") continue;
            if (before == "using" && after == '=' && i + 1 < words.Count) Open(words[i + 1].Name, name);
            else if (before == "using" && after == ';') Open(name, null);
            else if (!words[i].NamesAMember) seen.Add(name);
        }
        seen.ExceptWith(words.Where(w => w.DeclaresAMember).Select(w => w.Name));
        foreach (var name in seen) Name(name);
        return uses;

        void Open(string name, string? alias)
        {
            var (ns, type) = Resolve(name, around, mustBeType: false);
            if (ns is null) return;
            Add(uses, ns, type);
            if (alias is not null) aliases[alias] = type is null ? ns : ns + "." + type;
            else if (type is null) opened.Add(ns);
        }

        void Name(string name)
        {
            var first = name.Split('.')[0];
            // The namespaces around the file come first, the innermost first of all; only then what a using opens.
            if (around.FirstOrDefault(n => names.RoomsOfType(n, first).Count > 0) is { } nearest) Add(uses, nearest, first);
            else if (aliases.TryGetValue(first, out var full)) Full(full + name[first.Length..], mustBeType: false);
            else if (opened.FindAll(n => names.RoomsOfType(n, first).Count > 0) is { Count: > 0 } found)
                found.ForEach(n => Add(uses, n, first));
            else if (first != name) Full(name, mustBeType: first != "AgentMetal");
        }

        void Full(string name, bool mustBeType)
        {
            var (ns, type) = Resolve(name, around, mustBeType);
            if (ns is not null) Add(uses, ns, type);
        }
    }

    private IEnumerable<Use> Forbidden(string path, IEnumerable<Use> uses)
    {
        var room = RoomOf(table, path);
        var row = RowOf(table, room);
        return uses.Where(u => u.Room != room && row?.Allows(u.Room) != true);
    }

    private void Add(HashSet<Use> uses, string ns, string? type)
    {
        if (type is not null && names.RoomsOfType(ns, type) is { Count: > 0 } declared)
            foreach (var room in declared) uses.Add(new(room, ns + "." + type));
        else if (names.RoomOfNamespace(ns) is { } only) uses.Add(new(only, ns));
    }

    /// <summary>The longest namespace that this name begins with, and the type after it, if that is one.</summary>
    private (string? Ns, string? Type) Resolve(string name, IEnumerable<string> around, bool mustBeType)
    {
        foreach (var prefix in around.Select(n => n + ".").Append(""))
        {
            var parts = (prefix + name).Split('.');
            var length = parts.Length;
            while (length > 0 && !names.IsNamespace(string.Join('.', parts[..length]))) length--;
            if (length <= prefix.Count(c => c == '.')) continue;
            var ns = string.Join('.', parts[..length]);
            var type = length < parts.Length && names.RoomsOfType(ns, parts[length]).Count > 0 ? parts[length] : null;
            // Host.Name can as well be a property of that name: only a type that exists tells them apart.
            if (type is not null || !mustBeType) return (ns, type);
        }
        return (null, null);
    }

    private static List<string> Around(string ns)
    {
        var around = new List<string>();
        for (; ns.Contains('.', StringComparison.Ordinal); ns = ns[..ns.LastIndexOf('.')]) around.Add(ns);
        return around;
    }

    private static string Parent(string room) => room.Contains('/', StringComparison.Ordinal) ? room[..room.LastIndexOf('/')] : "";

    [GeneratedRegex(@"<(?:ProjectReference|Compile) Include=""([^""]+)""")]
    private static partial Regex ProjectInclude();
}
