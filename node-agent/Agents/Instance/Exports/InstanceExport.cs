using System.Text;
using AgentMetal.NodeAgent.Host.Files;
using AgentMetal.NodeAgent.Host.Processes;
using AgentMetal.Runtime.Planning;
using static AgentMetal.NodeAgent.Host.Must;

namespace AgentMetal.NodeAgent.Agents.Instance.Exports;

/// <summary>Writes a directory from which an instance can be declared again: its disks without what is below them, their digests, and a manifest. It has its name only when it is whole.</summary>
internal sealed class InstanceExport(InstanceScope scope, InstanceReaders readers, InstanceWriters writers)
{
    private const int MaxEntries = 100;

    /// <summary>Bytes that a host keeps free whatever is exported.</summary>
    private const long KeepFree = 256L << 20;

    private static readonly TimeSpan CopyDeadline = TimeSpan.FromHours(11);

    public async Task RunAsync(string directory, Action done, ExportProgress progress)
    {
        if (scope.Goal is not { } goal) throw new WorldException("the instance is to go");
        var there = readers.Files.Look(directory);
        if (!there.IsSeen) throw new WorldException(there.WhyUnseen!);
        // One that is whole was made before the daemon died.
        if (!there.Value.Exists) await WriteAsync(goal, directory, progress);
        done();
    }

    private async Task WriteAsync(InstanceGoal goal, string directory, ExportProgress progress)
    {
        var (parent, partial) = (Path.GetDirectoryName(directory)!, directory + ".partial");
        Done(writers.Files.EnsureDirectory(parent, Root(0x1C0))); // 0700: what guests have written.
        Done(writers.Files.DeleteTree(partial, MaxEntries));
        Room(goal, parent);
        Done(writers.Files.EnsureDirectory(partial, Root(0x1C0)));
        try
        {
            var disks = new List<ExportedDisk>();
            foreach (var disk in goal.Disks)
            {
                var (name, place) = (disk.Name + ".qcow2", $"disk {disk.Name}, {disks.Count + 1} of {goal.Disks.Length}");
                progress.On("exports " + place, $"{partial}/{name}");
                await RunAsync(scope.Programs.QemuImg, ["convert", "-q", "-c", "-f", disk.Format, "-O", "qcow2", disk.Path, $"{partial}/{name}"]);
                progress.On("reads back " + place, "");
                var digest = await ExportManifest.DigestAsync($"{partial}/{name}", CancellationToken.None);
                var head = readers.Files.Head($"{partial}/{name}", DiskHeader.OwnLength);
                var size = head.IsSeen && DiskHeader.Read(head.Value.Bytes.Span) is { } header ? header.Size : throw new WorldException($"{name} is no qcow2 file");
                disks.Add(new(disk.Name, name, digest, size));
            }
            progress.On("writes it to the disk", "");
            var boots = goal.Images.Where(i => i.Spec.Format is "kernel" or "initrd").ToList();
            Write($"{partial}/SHA256SUMS", string.Concat(disks.Select(d => $"{d.Sha256}  {d.File}\n")));
            Write($"{partial}/manifest.yaml", ExportManifest.Of(goal.Project, goal.Name, goal.Declared, directory, disks, boots));
            await RunAsync("/bin/sync", ["--", .. disks.Select(d => $"{partial}/{d.File}"), partial]);
            await RunAsync("/bin/mv", ["-T", "--", partial, directory]);
            await RunAsync("/bin/sync", ["--", parent]);
        }
        catch (WorldException)
        {
            writers.Files.DeleteTree(partial, MaxEntries); // Half an export would keep a full disk full.
            throw;
        }
    }

    /// <summary>An export is never larger than the files that it is made of.</summary>
    private void Room(InstanceGoal goal, string parent)
    {
        var space = readers.Files.Space(parent);
        if (!space.IsSeen) throw new WorldException(space.WhyUnseen!);
        var needed = goal.Disks.Select(d => d.Path).Concat(goal.Disks.Where(d => d.Image is not null).Select(d => scope.Layout.Image(d.Image!.Spec.Sha256, d.Image.Spec.Format))).Sum(p => readers.Files.Look(p) is { IsSeen: true, Value: var file } ? file.Size : 0);
        if (space.Value.AvailableBytes < needed + KeepFree) throw new WorldException($"the export may need {needed >> 20} MiB, and {space.Value.AvailableBytes >> 20} MiB are free in {parent} ({KeepFree >> 20} MiB stay free): remove exports that are not needed any more (rm -r)");
    }

    private void Write(string path, string text) => Done(writers.Files.Write(path, Encoding.UTF8.GetBytes(text), Root(0x180))); // 0600

    private async Task RunAsync(string program, string[] arguments)
    {
        var outcome = await writers.Processes.RunAsync(new ProcessRequest { Program = program, Arguments = arguments, Deadline = CopyDeadline }, CancellationToken.None);
        if (!outcome.IsSuccess) throw new WorldException($"{program}: {outcome.Detail} {outcome.Stderr.Trim()}");
    }

    private static FileOwnership Root(uint mode) => new() { Uid = 0, Gid = 0, Mode = mode };
}
