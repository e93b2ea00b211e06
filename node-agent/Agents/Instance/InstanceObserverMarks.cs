using System.Collections.Immutable;
using System.Globalization;
using System.Text;
using AgentMetal.NodeAgent.Host.Libvirt;
using AgentMetal.Runtime.Planning;

namespace AgentMetal.NodeAgent.Agents.Instance;

/// <summary>The part that reads what was written down beside the disks.</summary>
internal sealed partial class InstanceObserver
{
    private const int MaxLine = 1024;

    /// <summary>Of this start of the machine: libvirt counts them from the boot of the host on.</summary>
    public static string RunOf(InstanceReaders readers, DomainState domain)
    {
        var boot = readers.Files.Read("/proc/sys/kernel/random/boot_id", MaxLine);
        return string.Create(CultureInfo.InvariantCulture, $"{domain.Id} {(boot.IsSeen ? Encoding.ASCII.GetString(boot.Value.Bytes.Span).Trim() : "")}").TrimEnd();
    }

    /// <summary>Whose directory it is, as far as files say.</summary>
    private string DirOf()
    {
        if (There(_layout.Dir) is var there && (there != Present.It || scope.Adopt.Length > 0)) return there;
        var mark = Line(_layout.OwnerMark, "the mark of its directory");
        return mark == FactValue.Absent ? DirIs.Unclaimed : FactValue.IsUnseen(mark) ? mark : mark == scope.Uuid ? Present.It : DirIs.Others;
    }

    /// <summary>
    /// A directory of before says nothing. It is ours where the domain is, or where it came from another host or was offered to one; it is another's where
    /// a domain that is not ours uses it. One without disks is as good as a new one.
    /// </summary>
    private async Task<InstanceState> WithOwnerAsync(InstanceState state, bool isOurs, CancellationToken stop)
    {
        if (state.Dir == DirIs.Unclaimed && (isOurs || state.Offer != FactValue.Absent || state.Receipt != FactValue.Absent)) state = state with { Dir = DirIs.Unmarked };
        if (state.Dir != DirIs.Unclaimed && (scope.Goal is not null || state.Dir is FactValue.Absent or DirIs.Others)) return state;
        var users = await InstanceActuator.UsersAsync(readers, _layout, stop);
        if (state.Dir == DirIs.Unclaimed && users.Count > 0) return state with { Dir = DirIs.Others, Data = Stored.None };
        if (state.Dir == DirIs.Unclaimed && state.Data == Stored.None) state = state with { Dir = DirIs.Unmarked };
        return state with { Users = users.Count == 0 || scope.Goal is not null ? Stored.None : string.Join(", ", users) };
    }

    /// <summary>The one line of a file that we wrote whole; absent where there is none.</summary>
    private string Line(string path, string what)
    {
        var file = readers.Files.Read(path, MaxLine);
        if (!file.IsSeen) return FactValue.Unseen(what + " cannot be read");
        return file.Value.State.Exists && Encoding.UTF8.GetString(file.Value.Bytes.Span).Trim() is { Length: > 0 } text ? text : FactValue.Absent;
    }

    /// <summary>Addresses of cards as they were last defined. A person may have changed the file: what makes no sense of it says nothing.</summary>
    private ImmutableSortedDictionary<string, string> Cards()
    {
        var (all, file) = (Aspect.None.ToBuilder(), readers.Files.Read(_layout.Cards, 16 * MaxLine));
        if (!file.IsSeen || !file.Value.State.Exists) return Aspect.None;
        foreach (var line in Encoding.UTF8.GetString(file.Value.Bytes.Span).Split('\n'))
            if (line.IndexOf(' ', StringComparison.Ordinal) is 17 and var at) all[Aspect.Nic + line[..at]] = line[(at + 1)..];
        return all.ToImmutable();
    }

    /// <summary>Disks in its directory that the goal does not name: taken out of the list, or replaced.</summary>
    private ImmutableSortedDictionary<string, DiskState> OtherDisks(IReadOnlyList<string> names)
    {
        var all = ImmutableSortedDictionary.CreateBuilder<string, DiskState>(StringComparer.Ordinal);
        foreach (var name in names.Where(InstanceActuator.IsDisk))
            if (_layout.Dir + "/" + name is var path && scope.Goal?.Disks.Any(d => d.Path == path) != true && Disk(path, name[(name.LastIndexOf('.') + 1)..]).State is { } disk) all[path] = disk;
        return all.ToImmutable();
    }
}
