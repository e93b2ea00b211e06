using System.Text;
using AgentMetal.NodeAgent.Host.Files;
using AgentMetal.Runtime.Execution;
using AgentMetal.Runtime.Planning;

namespace AgentMetal.NodeAgent.Agents.Instance.Volumes;

/// <summary>Reads one volume: its file, its mark, and which domains of libvirt have it.</summary>
internal sealed class VolumeObserver(VolumeScope scope, InstanceReaders readers, ImageStore images) : IStateObserver<VolumeState>
{
    private const int MaxMark = 1024;
    private const int MaxNamed = 5;

    public async ValueTask<VolumeState> ObserveAsync(CancellationToken stop)
    {
        var (path, file, size) = OfFile();
        var (users, running) = await UsersAsync(path, stop);
        var state = new VolumeState
        {
            Programs = readers.Files.Look(scope.Roots.QemuImg) is { IsSeen: true, Value.Exists: false } ? $"{scope.Roots.QemuImg} is not on this host: apt-get install qemu-utils" : Hypervisor.Ok,
            File = file,
            Size = size,
            Path = path,
            Mark = OfMark(),
            Users = users,
            Running = running,
            Partial = scope.Goal is null ? scope.Files.Select(f => There(f.Path + ".partial")).FirstOrDefault(t => t != FactValue.Absent, FactValue.Absent) : FactValue.Absent,
        };
        if (scope.Goal?.Image is not { } image) return state;
        return state with
        {
            Image = There(scope.ImageFile(image)),
            ImageSize = Disk(scope.ImageFile(image), image.Spec.Format).Size,
            Download = images.Running([image.Spec.Sha256]).Values.FirstOrDefault(),
        };
    }

    private (string Path, string Fact, long Size) OfFile()
    {
        var (path, format) = scope.Files.FirstOrDefault(f => There(f.Path) != FactValue.Absent, scope.Files[0]);
        var (fact, size) = Disk(path, format);
        return (path, fact, size);
    }

    private string OfMark()
    {
        var mark = readers.Files.Read(scope.Layout.Mark, MaxMark);
        if (!mark.IsSeen) return FactValue.Unseen("cannot be read");
        return !mark.Value.State.Exists ? FactValue.Absent : Encoding.UTF8.GetString(mark.Value.Bytes.Span).Trim() == scope.Uid ? Mark.Ours : Mark.Other;
    }

    /// <summary>Whoever made them: a file that somebody else's domain names, as its disk or below it, is not deleted under it.</summary>
    private async Task<(string Users, string Running)> UsersAsync(string path, CancellationToken stop)
    {
        // What is not installed has no machines; what does not answer may have any, and is asked again soon.
        if (scope.Roots.TestType.Length == 0 && readers.Files.Look(scope.Roots.Daemon) is { IsSeen: true, Value.Exists: false }) return (User.None, FactValue.Absent);
        var domains = await readers.Domains.DomainsAsync(stop);
        if (!domains.IsSeen) throw new WorldException(domains.WhyUnseen!);
        var (users, running) = (new List<string>(), FactValue.Absent);
        foreach (var brief in domains.Value.OrderBy(d => d.Name, StringComparer.Ordinal))
        {
            var domain = await readers.Domains.DomainAsync(brief.Uuid, stop);
            if (!domain.IsSeen) throw new WorldException(domain.WhyUnseen!);
            // Letters, digits, hyphens, dots: nothing of the path is written in another way in XML.
            if (!domain.Value.InactiveXml.Contains(path, StringComparison.Ordinal) && !domain.Value.ActiveXml.Contains(path, StringComparison.Ordinal)) continue;
            users.Add(brief.Name);
            if (domain.Value.ActiveXml.Length > 0 && DomainXml.Parse(domain.Value.ActiveXml).Config?.Disks.FirstOrDefault(d => d.Path == path) is { } disk) running = $"{brief.Uuid} {disk.Target}";
        }
        return (users.Count == 0 ? User.None : string.Join(", ", users.Take(MaxNamed)) + (users.Count > MaxNamed ? $" and {users.Count - MaxNamed} more" : ""), running);
    }

    private (string Fact, long Size) Disk(string path, string format)
    {
        var file = readers.Files.Head(path, DiskHeader.OwnLength);
        if (!file.IsSeen) return (FactValue.Unseen("the disk cannot be read"), 0);
        if (!file.Value.State.Exists) return (FactValue.Absent, 0);
        if (file.Value.State.Kind != FileKind.File) return ("not a file", 0);
        if (format == "raw") return file.Value.State.Size > 0 ? Of(file.Value.State.Size) : ("an empty file", 0);
        var header = DiskHeader.Read(file.Value.Bytes.Span);
        // Nothing but what a person put there has either, and it would show a guest a file of the host.
        return header is null ? ("not a qcow2 file", 0) : header.Backing.Length > 0 || header.ExternalData ? ("a qcow2 file with its data elsewhere", 0) : Of(header.Size);

        (string, long) Of(long size) => (new DiskState(format, size, "").ToString(), size);
    }

    private string There(string path)
    {
        var look = readers.Files.Look(path);
        return !look.IsSeen ? FactValue.Unseen("cannot be read") : look.Value.Exists ? Present.It : FactValue.Absent;
    }
}
