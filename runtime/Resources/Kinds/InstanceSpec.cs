using System.Collections.Immutable;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;

namespace AgentMetal.Runtime.Resources.Kinds;

/// <summary>One disk of a virtual machine.</summary>
/// <param name="Name">RFC 1123 label, unique within the instance.</param>
/// <param name="Image">Name of the Image it begins with; empty = it begins empty.</param>
/// <param name="Size">Bytes; 0 = as large as the image.</param>
/// <param name="Format">qcow2 or raw.</param>
public sealed record InstanceDisk(string Name, string Image, long Size, string Format)
{
    /// <summary>Name of the Volume that it is; then image, size and format are the volume's. Empty = a disk of the instance's own.</summary>
    public string Volume { get; init; } = "";
}

/// <summary>One network card.</summary>
/// <param name="Network">libvirt network; empty when Bridge is set.</param>
/// <param name="Bridge">Bridge of the host; empty when Network is set.</param>
/// <param name="Mac">xx:xx:xx:xx:xx:xx, lower case; empty = one that follows from the instance's uid.</param>
/// <param name="MaySpoof">The guest may send with addresses that are not its own.</param>
public sealed record InstanceNic(string Network, string Bridge, string Mac, bool MaySpoof)
{
    /// <summary>The IPv4 address that it has, dotted decimal; empty = whichever it is lent.</summary>
    public string Ip { get; init; } = "";
}

/// <summary>What cloud-init is told through a NoCloud seed.</summary>
public sealed record InstanceCloudInit
{
    /// <summary>Whether there is a seed at all.</summary>
    public required bool Enabled { get; init; }

    /// <summary>RFC 1123 label; empty = the instance's name.</summary>
    public required string Hostname { get; init; }

    /// <summary>A user to make, with sudo and the keys; empty = none.</summary>
    public required string User { get; init; }

    /// <summary>OpenSSH public keys.</summary>
    public required ImmutableArray<string> SshKeys { get; init; }

    /// <summary>Whole user-data, beginning with #cloud-config or #!; excludes user and keys; empty = none.</summary>
    public required string UserData { get; init; }
}

/// <summary>What a person wants of a virtual machine, typed. Made only from a spec that its schema has accepted.</summary>
public sealed record InstanceSpec
{
    /// <summary>running, stopped or paused.</summary>
    public required string Power { get; init; }

    /// <summary>Virtual CPUs it has now.</summary>
    public required int Cpus { get; init; }

    /// <summary>Virtual CPUs it can be given while it runs; at least Cpus.</summary>
    public required int MaxCpus { get; init; }

    /// <summary>Bytes it has now.</summary>
    public required long Memory { get; init; }

    /// <summary>Bytes it can be given while it runs; at least Memory.</summary>
    public required long MaxMemory { get; init; }

    /// <summary>Image of the kernel; empty = boot from the first disk.</summary>
    public required string Kernel { get; init; }

    /// <summary>Image of the initial memory disk; empty = none.</summary>
    public required string Initrd { get; init; }

    /// <summary>Kernel command line.</summary>
    public required string Cmdline { get; init; }

    public required ImmutableArray<InstanceDisk> Disks { get; init; }

    public required ImmutableArray<InstanceNic> Nics { get; init; }

    public required InstanceCloudInit CloudInit { get; init; }

    /// <summary>A channel for qemu-guest-agent.</summary>
    public required bool GuestAgent { get; init; }

    /// <summary>libvirt starts it with the host.</summary>
    public required bool Autostart { get; init; }

    /// <summary>Seconds that an orderly shutdown may take.</summary>
    public required int ShutdownSeconds { get; init; }

    /// <summary>Whether it may be switched off when that time is over, without asking.</summary>
    public required bool ForceAllowed { get; init; }

    /// <summary>Whether a change that needs it may restart it without asking.</summary>
    public required bool RestartAllowed { get; init; }

    /// <summary>What somebody changed by hand is told and left alone.</summary>
    public required bool ReportsDrift { get; init; }

    /// <summary>Whether its status shows the last lines of its console.</summary>
    public required bool ConsoleInStatus { get; init; }

    /// <summary>Labels a host must have.</summary>
    public required ImmutableSortedDictionary<string, string> PlacementLabels { get; init; }

    /// <summary>Name of the host that it belongs on; empty = any.</summary>
    public string PlacementNode { get; init; } = "";

    /// <summary>Bytes that placement keeps for it.</summary>
    public required long ReservedMemory { get; init; }

    /// <summary>Thousandths of a core that placement keeps for it.</summary>
    public required int ReservedCpuMillis { get; init; }

    /// <summary>What is asked of it once.</summary>
    public required InstanceRequest Request { get; init; }

    /// <summary>Snapshots that the host makes by itself.</summary>
    public required InstanceSnapshots Snapshots { get; init; }

    /// <summary>How changes that need a restart are tried.</summary>
    public required InstanceAutoRevert AutoRevert { get; init; }

    /// <summary>A libvirt domain to take over; empty = none.</summary>
    public required string AdoptDomain { get; init; }

    /// <summary>Digest of all that cloud-init is told: what an operator signs; empty when there is no seed.</summary>
    public required string CloudInitDigest { get; init; }

    /// <summary>Digest of kernel, initial memory disk and command line as declared: what an operator signs; empty when it boots from its disk.</summary>
    public required string BootDigest { get; init; }

    /// <summary>Names of the Images it uses, each once, with the field that names it first.</summary>
    public IEnumerable<(string Path, string Image)> Images
    {
        get
        {
            var seen = new HashSet<string>(StringComparer.Ordinal);
            if (Kernel.Length > 0 && seen.Add(Kernel)) yield return ("spec.boot.kernel", Kernel);
            if (Initrd.Length > 0 && seen.Add(Initrd)) yield return ("spec.boot.initrd", Initrd);
            for (var i = 0; i < Disks.Length; i++)
                if (Disks[i].Image.Length > 0 && seen.Add(Disks[i].Image)) yield return ($"spec.disks[{i}].image", Disks[i].Image);
        }
    }

    /// <summary>Another instance whose disks these begin as copies of; empty = none.</summary>
    public required string Source { get; init; }

    /// <summary>Names of the Volumes it uses, with the field that names each.</summary>
    public IEnumerable<(string Path, string Volume)> Volumes => Disks.Select((d, i) => ($"spec.disks[{i}].volume", d.Volume)).Where(v => v.Volume.Length > 0);

    /// <summary>Reads a spec that <see cref="InstanceKind.Schema"/> accepted.</summary>
    /// <exception cref="JsonException">It did not.</exception>
    public static InstanceSpec Parse(ReadOnlyMemory<byte> canonical)
    {
        try
        {
            using var document = JsonDocument.Parse(canonical);
            return Read(document.RootElement);
        }
        catch (Exception e) when (e is KeyNotFoundException or InvalidOperationException or FormatException)
        {
            throw new JsonException("not a spec that the schema of Instance accepted: " + e.Message, e);
        }
    }

    /// <summary>cpus, maxCpus, memory and maxMemory as they are written; 0 of a limit = it is not set.</summary>
    internal static (int Cpus, int MaxCpus, long Memory, long MaxMemory) Limits(ReadOnlyMemory<byte> canonical)
    {
        using var document = JsonDocument.Parse(canonical);
        var s = document.RootElement;
        return (s.GetProperty("cpus").GetInt32(), s.GetProperty("maxCpus").GetInt32(), Bytes(s, "memory"), Bytes(s, "maxMemory"));
    }

    private static InstanceSpec Read(JsonElement s)
    {
        var (boot, shutdown, reserve) = (s.GetProperty("boot"), s.GetProperty("shutdown"), s.GetProperty("reserve"));
        var (cpus, memory) = (s.GetProperty("cpus").GetInt32(), Bytes(s, "memory"));
        var (maxCpus, maxMemory) = (s.GetProperty("maxCpus").GetInt32(), Bytes(s, "maxMemory"));
        var (reservedMemory, reservedCpu) = (Bytes(reserve, "memory"), reserve.GetProperty("cpuMillis").GetInt32());
        var cloudInit = ReadCloudInit(s.GetProperty("cloudInit"));
        return new()
        {
            Power = Text(s, "power"),
            Cpus = cpus,
            MaxCpus = Math.Max(cpus, maxCpus),
            Memory = memory,
            MaxMemory = Math.Max(memory, maxMemory),
            Kernel = Text(boot, "kernel"),
            Initrd = Text(boot, "initrd"),
            Cmdline = Text(boot, "cmdline"),
            Disks = [.. s.GetProperty("disks").EnumerateArray().Select(d => new InstanceDisk(Text(d, "name"), Text(d, "image"), Bytes(d, "size"), Text(d, "format")) { Volume = d.TryGetProperty("volume", out var volume) ? volume.GetString()! : "" })],
            Nics = [.. s.GetProperty("nics").EnumerateArray().Select(n => new InstanceNic(Text(n, "network"), Text(n, "bridge"), Text(n, "mac"), Text(n, "spoofing") == InstanceKind.Allowed) { Ip = n.TryGetProperty("ip", out var ip) ? ip.GetString()! : "" })],
            CloudInit = cloudInit,
            GuestAgent = s.GetProperty("guestAgent").GetBoolean(),
            Autostart = s.GetProperty("autostart").GetBoolean(),
            ShutdownSeconds = shutdown.GetProperty("seconds").GetInt32(),
            ForceAllowed = Text(shutdown, "force") == InstanceKind.Allowed,
            RestartAllowed = Text(s, "restart") == InstanceKind.Allowed,
            ReportsDrift = s.TryGetProperty("drift", out var drift) && drift.GetString() == InstanceKind.Report,
            ConsoleInStatus = !s.TryGetProperty("consoleInStatus", out var shown) || shown.GetBoolean(),
            PlacementLabels = s.GetProperty("placement").GetProperty("labels").EnumerateObject().ToImmutableSortedDictionary(p => p.Name, p => p.Value.GetString()!, StringComparer.Ordinal),
            PlacementNode = s.GetProperty("placement").TryGetProperty("node", out var node) ? node.GetString()! : "",
            ReservedMemory = reservedMemory > 0 ? reservedMemory : Math.Max(memory, maxMemory),
            ReservedCpuMillis = reservedCpu > 0 ? reservedCpu : 100 * cpus,
            Request = InstanceRequest.Read(s),
            Snapshots = InstanceSnapshots.Read(s),
            AutoRevert = InstanceAutoRevert.Read(s),
            Source = InstanceSource.Read(s),
            AdoptDomain = Text(s.GetProperty("adopt"), "domain"),
            CloudInitDigest = cloudInit.Enabled ? Digest(s.GetProperty("cloudInit")) : "",
            BootDigest = Text(boot, "kernel").Length > 0 ? Digest(boot) : "",
        };
    }

    private static InstanceCloudInit ReadCloudInit(JsonElement c) => new()
    {
        Enabled = c.GetProperty("enabled").GetBoolean(),
        Hostname = Text(c, "hostname"),
        User = Text(c, "user"),
        SshKeys = [.. c.GetProperty("sshKeys").EnumerateArray().Select(k => Text(k, "key"))],
        UserData = Text(c, "userData"),
    };

    /// <summary>A part of canonical JSON is canonical itself.</summary>
    private static string Digest(JsonElement part) => Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(part.GetRawText())));

    private static string Text(JsonElement e, string name) => e.GetProperty(name).GetString()!;

    private static long Bytes(JsonElement e, string name) => Quantity.Parse(Text(e, name))!.Value;
}
