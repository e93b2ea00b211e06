using System.Globalization;
using System.Text;
using AgentMetal.NodeAgent.Agents.Instance.Tools;
using AgentMetal.NodeAgent.Agents.Instance.Volumes.Tools;
using AgentMetal.NodeAgent.Host.Files;
using AgentMetal.NodeAgent.Host.Processes;
using AgentMetal.Runtime.Planning;
using static AgentMetal.NodeAgent.Host.Must;

namespace AgentMetal.NodeAgent.Agents.Instance.Volumes;

/// <summary>Carries out what the tools decide: the file of a volume and its mark.</summary>
internal sealed class VolumeActuator(VolumeScope scope, InstanceWriters writers)
{
    private static readonly TimeSpan Brief = TimeSpan.FromSeconds(20);
    private static readonly TimeSpan CopyDeadline = TimeSpan.FromMinutes(55);

    public ValueTask FetchAsync(FetchArgs args)
    {
        Ensure(scope.ImageDir);
        writers.Images.Begin(args, scope.ImageDir + "/" + args.Sha256 + "." + args.Format);
        return default;
    }

    public async ValueTask CreateAsync(VolumeArgs args, CancellationToken stop)
    {
        Ensure(scope.Layout.Dir);
        var partial = args.Path + ".partial";
        Done(writers.Files.Delete(partial));
        var size = args.Size.ToString(CultureInfo.InvariantCulture);
        if (args.Image.Length == 0) await QemuImgAsync(["create", "-q", "-f", args.Format, partial, size], stop);
        else
        {
            // A copy of its own, whatever the format: a volume outlives what it began with, and can be carried elsewhere.
            await QemuImgAsync(["convert", "-q", "-f", args.ImageFormat, "-O", args.Format, args.Image, partial], stop);
            await QemuImgAsync(["resize", "-q", "-f", args.Format, partial, size], stop);
        }
        Done(await writers.Files.PlaceAsync(partial, args.Path));
        MarkIt();
    }

    /// <summary>After the data: a mark without data says that data was lost.</summary>
    public void MarkIt()
    {
        Ensure(scope.Layout.MarkDir);
        Done(writers.Files.Write(scope.Layout.Mark, Encoding.UTF8.GetBytes(scope.Uid + "\n"), Root(0x180))); // 0600
    }

    public async ValueTask GrowAsync(GrowVolumeArgs args, CancellationToken stop)
    {
        if (args.Domain.Length == 0)
        {
            await QemuImgAsync(["resize", "-q", "-f", args.Format, args.Path, args.Size.ToString(CultureInfo.InvariantCulture)], stop);
            return;
        }
        var outcome = await writers.Domains.BlockResizeAsync(args.Domain, args.Path, args.Size, Brief, stop);
        Done(outcome);
    }

    /// <summary>The mark goes last: until then the volume is one that was there.</summary>
    public void Remove(string path)
    {
        Done(writers.Files.Delete(path));
        foreach (var (file, _) in scope.Files) Done(writers.Files.Delete(file + ".partial"));
        Done(writers.Files.Delete(scope.Layout.Mark));
    }

    /// <summary>0711: QEMU runs as a user of its own, and passes through.</summary>
    private void Ensure(string directory) => Done(writers.Files.EnsureDirectory(directory, Root(0x1C9)));

    private async Task QemuImgAsync(string[] arguments, CancellationToken stop)
    {
        var outcome = await writers.Processes.RunAsync(new ProcessRequest { Program = scope.Roots.QemuImg, Arguments = arguments, Deadline = CopyDeadline }, stop);
        if (!outcome.IsSuccess) throw new WorldException($"{scope.Roots.QemuImg}: {outcome.Detail} {outcome.Stderr.Trim()}");
    }

    private static FileOwnership Root(uint mode) => new() { Uid = 0, Gid = 0, Mode = mode };
}
