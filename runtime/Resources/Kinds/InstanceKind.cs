using System.Collections.Immutable;
using System.Text;

namespace AgentMetal.Runtime.Resources.Kinds;

/// <summary>The kind Instance.</summary>
public static class InstanceKind
{
    /// <summary>Its name.</summary>
    public const string Name = "Instance";

    /// <summary>Purposes of an operator's signatures over what an instance executes.</summary>
    public const string CloudInitPurpose = "cloud-init", BootPurpose = "boot";

    /// <summary>The word that lets the agent go on without asking.</summary>
    public const string Allowed = "allowed";

    /// <summary>The word that leaves alone what somebody changed by hand.</summary>
    public const string Report = "report";

    /// <summary>Bytes of user-data, the limit of the large clouds too.</summary>
    public const int MaxUserData = 16 * 1024;

    private const long MinMemory = 16L << 20;
    private const long MinDisk = 1L << 20;

    /// <summary>Fields, rules and documentation.</summary>
    public static KindSchema Schema { get; } = new()
    {
        Kind = Name,
        Aliases = ["instance", "instances", "vm", "vms"],
        Doc = "A virtual machine on one host, made through libvirt. It runs on KVM where the host can run guests on it, else under QEMU's emulation; which of the two is a fact of the node.",
        Rules = Rules,
        DeclaredRules = DeclaredRules,
        Executes = Executes,
        Spec =
        [
            new("power", FieldType.Choice, "Whether it runs. stopped shuts the guest down in order.") { Default = "running", Choices = ["running", "stopped", "paused"], Effect = "live" },
            new("cpus", FieldType.Integer, "Virtual CPUs.") { Default = 1L, Min = 1, Max = 64, Effect = "live up to maxCpus, above it a restart; less is a restart" },
            new("maxCpus", FieldType.Integer, "Virtual CPUs it can be given while it runs; 0 = as many as cpus.") { Default = 0L, Min = 0, Max = 64, Effect = "restart" },
            new("memory", FieldType.Bytes, "Memory.") { Default = "256Mi", Min = MinMemory, Max = 1L << 40, Effect = "live up to maxMemory, above it a restart" },
            new("maxMemory", FieldType.Bytes, "Memory it can be given while it runs; 0 = as much as memory.") { Default = "0", Min = 0, Max = 1L << 40, Effect = "restart" },
            new("boot", FieldType.Group, "What it boots. Without a kernel it boots from its first disk.")
            {
                Fields =
                [
                    new("kernel", FieldType.Text, "Name of an Image of format kernel.") { Default = "", MaxLength = 63, Check = ImageName, Effect = "restart" },
                    new("initrd", FieldType.Text, "Name of an Image of format initrd.") { Default = "", MaxLength = 63, Check = ImageName, Effect = "restart" },
                    new("cmdline", FieldType.Text, "Kernel command line.") { Default = "", MaxLength = 1024, Effect = "restart" },
                ],
            },
            new("disks", FieldType.List, "Disks, in order: the first is /dev/vda. A disk that is left out later is detached and its data stays until the instance is deleted.")
            {
                Default = new List<object?>(), Max = 8,
                Fields =
                [
                    new("name", FieldType.Text, "Name within the instance.") { Required = true, MaxLength = 32, Check = Names.LabelError },
                    new("volume", FieldType.Text, "Name of a Volume that it is, which outlives the instance; not together with image, size and format, which are the volume's. Empty = a disk of the instance's own.") { Default = "", MaxLength = 63, Check = static t => t.Length == 0 ? null : Names.LabelError(t), Effect = "live" },
                    new("image", FieldType.Text, "Name of an Image that it begins with; empty = an empty disk. It is used when the disk is made, and not after.") { Default = "", MaxLength = 63, Check = ImageName },
                    new("size", FieldType.Bytes, "Size; 0 = as large as the image. A disk can grow while it runs, and never shrinks.") { Default = "0", Min = 0, Max = 1L << 46, Effect = "live" },
                    new("format", FieldType.Choice, "How it is kept on the host. qcow2 shares what is in the image with other disks; raw is faster. A disk of another format is another disk: it is made anew, the file that was there stays where it is, and an operator signs that it is out of use.") { Default = "qcow2", Choices = ["qcow2", "raw"] },
                ],
            },
            new("nics", FieldType.List, "Network cards, in order.")
            {
                Default = new List<object?>(), Max = 8,
                Fields =
                [
                    new("network", FieldType.Text, "A libvirt network of the host (virsh net-list); with neither this nor bridge: default.") { Default = "", MaxLength = 50, Check = NetworkName, Effect = "live" },
                    new("bridge", FieldType.Text, "A bridge of the host (ip link).") { Default = "", MaxLength = 15, Check = BridgeName, Effect = "live" },
                    new("mac", FieldType.Text, "Its address; empty = one that follows from the instance and stays the same.") { Default = "", MaxLength = 17, Check = MacError, Effect = "live" },
                    new("ip", FieldType.Text, "An IPv4 address that stays the same; empty = whichever it is lent. On a libvirt network it is kept for this card (a DHCP reservation). On a bridge the guest sets it itself, or the site's DHCP server knows the card's mac. Where spoofing is denied the guest can send with no other.") { Default = "", MaxLength = 15, Check = IpError, Effect = "restart" },
                    new("spoofing", FieldType.Choice, "denied: the guest sends only with its own addresses, and no router advertisements (libvirt's filter clean-traffic). On a libvirt network that is the address of its lease; on a bridge, where nobody may lend any, the first that it is heard with. allowed: a guest that routes, has several addresses, or takes one by hand on a libvirt network.") { Default = "denied", Choices = ["denied", Allowed], Effect = "live" },
                ],
            },
            new("cloudInit", FieldType.Group, "What cloud-init in the guest is told, on a NoCloud disk. It takes effect at the first boot.")
            {
                Fields =
                [
                    new("enabled", FieldType.Boolean, "Give it a seed.") { Default = false, Effect = "restart" },
                    new("hostname", FieldType.Text, "Host name; empty = the instance's name.") { Default = "", MaxLength = 63, Check = static t => t.Length == 0 ? null : Names.LabelError(t), Effect = "restart" },
                    new("user", FieldType.Text, "A user to make, who may use sudo.") { Default = "", MaxLength = 32, Check = UserError, Effect = "restart" },
                    new("sshKeys", FieldType.List, "Public keys that may log in as that user.")
                    {
                        Default = new List<object?>(), Max = 16, Effect = "restart",
                        Fields = [new("key", FieldType.Text, "One line of authorized_keys: ssh-ed25519 AAAA… comment.") { Required = true, MaxLength = 1024, Check = SshKeyError }],
                    },
                    new("userData", FieldType.Text, "The whole user-data, beginning with #cloud-config or #!; not together with user and sshKeys.") { Default = "", MaxLength = MaxUserData, Multiline = true, Check = UserDataError, Effect = "restart" },
                ],
            },
            new("guestAgent", FieldType.Boolean, "A channel for qemu-guest-agent: addresses as the guest sees them.") { Default = false, Effect = "restart" },
            new("autostart", FieldType.Boolean, "libvirt starts it with the host, also when agentmetald does not run.") { Default = true, Effect = "live" },
            new("shutdown", FieldType.Group, "How it is stopped.")
            {
                Fields =
                [
                    new("seconds", FieldType.Integer, "Seconds that the guest has to shut down in order.") { Default = 60L, Min = 1, Max = 3600, Effect = "live" },
                    new("force", FieldType.Choice, "Switch it off when that time is over: ask (an approval) or allowed. What the guest has not written is lost.") { Default = "ask", Choices = ["ask", Allowed], Effect = "live" },
                ],
            },
            new("drift", FieldType.Choice, "What becomes of what somebody changed by hand after the machine was as declared: its definition (virsh), autostart, live devices, power. revert: it is taken back. report: it is shown and left alone; a machine that failed is still healed, and the next change of the spec is carried out whole, which takes the rest back too.") { Default = "revert", Choices = ["revert", Report], Effect = "live" },
            new("consoleInStatus", FieldType.Boolean, "Show the last lines of its console in its status. What the guest prints may hold secrets; who may look at resources sees it. false: agentmetal shows none of it.") { Default = true, Effect = "live" },
            new("restart", FieldType.Choice, "Restart it for a change that needs it: ask (an approval) or allowed.") { Default = "ask", Choices = ["ask", Allowed], Effect = "live" },
            InstanceRequest.Field,
            InstanceSnapshots.Field,
            InstanceAutoRevert.Field,
            new("placement", FieldType.Group, "Where it may run.")
            {
                Fields =
                [
                    new("labels", FieldType.TextMap, "Labels a host must have.") { Default = new SortedDictionary<string, object?>(StringComparer.Ordinal), Max = 16 },
                    new("node", FieldType.Text, "Name of the host that it belongs on; empty = any. A machine that is on another one is shut down, handed over with its disks, and started there; snapshots of its schedule are deleted, and one that was asked for keeps it where it is.") { Default = "", MaxLength = 63, Check = ImageName, Effect = "moves it, which an operator approves" },
                ],
            },
            new("reserve", FieldType.Group, "What placement keeps for it on its host.")
            {
                Fields =
                [
                    new("memory", FieldType.Bytes, "0 = memory, or maxMemory where that is more.") { Default = "0", Min = 0, Max = 1L << 40 },
                    new("cpuMillis", FieldType.Integer, "Thousandths of a core; 0 = 100 for each virtual CPU.") { Default = 0L, Min = 0, Max = 64_000 },
                ],
            },
            InstanceSource.Field,
            new("adopt", FieldType.Group, "Take over a domain that exists, without touching it.")
            {
                Fields = [new("domain", FieldType.Text, "Its libvirt name (virsh list --all); empty = none.") { Default = "", MaxLength = 128, Check = DomainName, Immutable = true }],
            },
        ],
    };

    private static IEnumerable<(string Purpose, string Sha256)> Executes(ReadOnlyMemory<byte> canonical)
    {
        var spec = InstanceSpec.Parse(canonical);
        if (spec.BootDigest.Length > 0) yield return (BootPurpose, spec.BootDigest);
        if (spec.CloudInitDigest.Length > 0) yield return (CloudInitPurpose, spec.CloudInitDigest);
    }

    /// <summary>What is in the part that would go is a guest's. Another format is another disk.</summary>
    private static IEnumerable<FieldError> Shrinks(ReadOnlyMemory<byte> before, ReadOnlyMemory<byte> after)
    {
        var (was, now) = (InstanceSpec.Parse(before), InstanceSpec.Parse(after));
        for (var i = 0; i < now.Disks.Length; i++)
            if (now.Disks[i] is { Volume.Length: 0, Size: > 0 } disk && was.Disks.FirstOrDefault(d => d.Name == disk.Name && d.Format == disk.Format) is { Volume.Length: 0 } had && had.Size > disk.Size)
                yield return new($"spec.disks[{i}].size", $"{Quantity.Format(disk.Size)} is less than the {Quantity.Format(had.Size)} that disk {disk.Name} has: a disk never shrinks", $"leave it at {Quantity.Format(had.Size)}, or declare a smaller disk under another name and copy what is in this one");
    }

    private static IEnumerable<FieldError> Rules(ReadOnlyMemory<byte> canonical)
    {
        var s = InstanceSpec.Parse(canonical);
        foreach (var error in InstanceRequest.Rules(s)) yield return error;
        foreach (var error in InstanceSource.Rules(s).Concat(InstanceSnapshots.Rules(s)).Concat(InstanceAutoRevert.Rules(s))) yield return error;
        if (s is { AdoptDomain.Length: > 0, ReportsDrift: true }) yield return new("spec.drift", "cannot be report for a domain that was taken over: only its power is managed, and where it was as declared is remembered beside disks that are its own", "leave it out");
        if (s is { AutoRevert.Enabled: true, ReportsDrift: true }) yield return new("spec.drift", "cannot be report together with spec.autoRevert: a change that is taken back leaves a machine that is not as declared, which nobody did by hand", "leave one of the two out");
        if (s.AdoptDomain.Length > 0) yield break; // What is taken over brings its own disks and boot.
        if (s.Kernel.Length == 0 && s.Disks.IsEmpty) yield return new("spec.disks", "is empty, and there is no spec.boot.kernel: there is nothing to boot", "name a disk with an image, or a kernel");
        else if (s.Kernel.Length == 0 && s.Disks[0] is { Image.Length: 0, Volume.Length: 0 } && s.Source.Length == 0) yield return new("spec.disks[0].image", "is empty, and there is no spec.boot.kernel: an empty disk cannot boot", "name an Image, or a Volume");
        if (s.Kernel.Length == 0 && s.Initrd.Length > 0) yield return new("spec.boot.initrd", "needs spec.boot.kernel", "name the kernel, or leave both out");
        if (s.Kernel.Length == 0 && s.Cmdline.Length > 0) yield return new("spec.boot.cmdline", "needs spec.boot.kernel: a disk brings its own command line", "name the kernel, or leave it out");
        for (var i = 0; i < s.Disks.Length; i++)
        {
            var (name, image, size, _) = s.Disks[i];
            if (s.Disks.Take(i).Any(d => d.Name == name)) yield return new($"spec.disks[{i}].name", $"\"{name}\" is there twice");
            if (s.Disks[i].Volume is { Length: > 0 } volume)
            {
                foreach (var error in VolumeRules(s, i, volume)) yield return error;
                continue;
            }
            if (image.Length == 0 && size < MinDisk && (size > 0 || s.Source.Length == 0)) yield return new($"spec.disks[{i}].size", size == 0 ? "is required for a disk without an image" : $"{Quantity.Format(size)} is less than 1Mi");
            if (size % 512 != 0) yield return new($"spec.disks[{i}].size", "is not a multiple of 512 bytes");
        }
        for (var i = 0; i < s.Nics.Length; i++)
        {
            if (s.Nics[i] is { Network.Length: > 0, Bridge.Length: > 0 }) yield return new($"spec.nics[{i}].bridge", "cannot be set together with network", "leave one of the two out");
            if (s.Nics[i] is { Ip.Length: > 0, Bridge.Length: > 0, MaySpoof: true }) yield return new($"spec.nics[{i}].ip", "would do nothing: on a bridge it is what the guest may send with, and spoofing is allowed", "deny spoofing, or leave ip out");
            if (s.Nics[i].Ip.Length > 0 && s.Nics.Take(i).Any(n => n.Ip == s.Nics[i].Ip && n.Network == s.Nics[i].Network && n.Bridge == s.Nics[i].Bridge)) yield return new($"spec.nics[{i}].ip", $"{s.Nics[i].Ip} is there twice");
            if (s.Nics[i].Mac.Length > 0 && s.Nics.Take(i).Any(n => n.Mac == s.Nics[i].Mac)) yield return new($"spec.nics[{i}].mac", $"{s.Nics[i].Mac} is there twice");
        }
        foreach (var error in CloudInitRules(s.CloudInit)) yield return error;
        if (s.Memory % (1L << 20) != 0) yield return new("spec.memory", "is not a whole number of MiB");
        if (s.MaxMemory % (1L << 20) != 0) yield return new("spec.maxMemory", "is not a whole number of MiB");
        if (s.ReservedMemory < s.Memory / 4) yield return new("spec.reserve.memory", $"{Quantity.Format(s.ReservedMemory)} is less than a quarter of its memory: the host would run out", "leave it out");
    }

    /// <summary>A limit below what it limits means nothing; one that stands so for long is left until somebody touches these fields.</summary>
    private static IEnumerable<FieldError> DeclaredRules(ReadOnlyMemory<byte>? before, ReadOnlyMemory<byte> after)
    {
        if (before is { } had)
            foreach (var error in Shrinks(had, after)) yield return error;
        var (cpus, maxCpus, memory, maxMemory) = InstanceSpec.Limits(after);
        if (before is { } was && InstanceSpec.Limits(was) == (cpus, maxCpus, memory, maxMemory)) yield break;
        if (maxCpus > 0 && cpus > maxCpus) yield return new("spec.cpus", $"{cpus} is more than spec.maxCpus, {maxCpus}", "raise maxCpus, or leave it out: it is as many as cpus then");
        if (maxMemory > 0 && maxMemory < memory) yield return new("spec.maxMemory", $"{Quantity.Format(maxMemory)} is less than spec.memory, {Quantity.Format(memory)}", "raise it, or leave it out: it is as much as memory then");
    }

    private static IEnumerable<FieldError> VolumeRules(InstanceSpec s, int i, string volume)
    {
        var disk = s.Disks[i];
        if (disk.Image.Length > 0) yield return new($"spec.disks[{i}].image", "cannot be set together with volume: a volume begins with its own", "set spec.image of the Volume, or leave one of the two out");
        if (disk.Size > 0) yield return new($"spec.disks[{i}].size", "cannot be set together with volume", "set spec.size of the Volume");
        if (disk.Format != "qcow2") yield return new($"spec.disks[{i}].format", "cannot be set together with volume", "set spec.format of the Volume");
        if (s.Disks.Take(i).Any(d => d.Volume == volume)) yield return new($"spec.disks[{i}].volume", $"Volume {volume} is there twice");
    }

    private static IEnumerable<FieldError> CloudInitRules(InstanceCloudInit c)
    {
        var given = c.User.Length > 0 || c.Hostname.Length > 0 || c.UserData.Length > 0 || !c.SshKeys.IsEmpty;
        if (!c.Enabled && given) yield return new("spec.cloudInit.enabled", "is false although the other fields are set: the guest would never see them", "set it to true");
        if (c.UserData.Length > 0 && (c.User.Length > 0 || !c.SshKeys.IsEmpty)) yield return new("spec.cloudInit.userData", "cannot be set together with user and sshKeys: it is the whole user-data", "write the user into it (users:), or leave it out");
        if (!c.SshKeys.IsEmpty && c.User.Length == 0) yield return new("spec.cloudInit.user", "is required with sshKeys: nobody could log in with them");
        if (Encoding.UTF8.GetByteCount(c.UserData) > MaxUserData) yield return new("spec.cloudInit.userData", $"is {Encoding.UTF8.GetByteCount(c.UserData)} bytes long; at most {MaxUserData}", "let it fetch the rest");
    }

    private static string? ImageName(string name) => name.Length == 0 ? null : Names.LabelError(name);

    private static string? NetworkName(string name) => name.Length == 0 || name.All(c => char.IsAsciiLetterOrDigit(c) || c is '-' or '_' or '.') ? null : "is not the name of a libvirt network: letters, digits, - _ .";

    private static string? BridgeName(string name) => name.Length == 0 || name.All(c => char.IsAsciiLetterOrDigit(c) || c is '-' or '_' or '.') ? null : "is not the name of a bridge: at most 15 of letters, digits, - _ .";

    private static string? DomainName(string name) => name.All(c => char.IsAsciiLetterOrDigit(c) || c is '-' or '_' or '.' or '+') ? null : "is not the name of a libvirt domain that can be taken over: letters, digits, - _ . +";

    private static string? UserError(string name) => name.Length == 0 || (char.IsAsciiLetterLower(name[0]) && name.All(c => char.IsAsciiLetterLower(c) || char.IsAsciiDigit(c) || c is '-' or '_')) ? null : "is not a user name: a lower-case letter, then a-z 0-9 - _";

    private static string? SshKeyError(string key)
    {
        var parts = key.Split(' ');
        string[] types = ["ssh-ed25519", "ssh-rsa", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521", "sk-ssh-ed25519@openssh.com", "sk-ecdsa-sha2-nistp256@openssh.com"];
        return parts.Length >= 2 && types.Contains(parts[0]) && parts[1].Length >= 40 && parts[1].All(c => char.IsAsciiLetterOrDigit(c) || c is '+' or '/' or '=') && !key.Any(c => c is '"' or '\\')
            ? null : "is not one line of authorized_keys: a type such as ssh-ed25519, the key in base64, a comment";
    }

    private static string? UserDataError(string text) =>
        text.Length == 0 || (text.StartsWith("#cloud-config", StringComparison.Ordinal) && (text.Length == 13 || char.IsWhiteSpace(text[13]))) || text.StartsWith("#!", StringComparison.Ordinal) ? null : "begins with neither #cloud-config nor #!: cloud-init would ignore it";

    private static string? IpError(string ip)
    {
        if (ip.Length == 0) return null;
        // Exactly as it is written everywhere else: the parser would take 10.1 and 010.0.0.1 too, each for something else.
        if (!System.Net.IPAddress.TryParse(ip, out var address) || address.AddressFamily != System.Net.Sockets.AddressFamily.InterNetwork || address.ToString() != ip) return "is not an IPv4 address such as 192.168.122.50";
        return address.GetAddressBytes()[0] is 0 or 127 or >= 224 ? "is no address that a machine can have" : null;
    }

    private static string? MacError(string mac)
    {
        if (mac.Length == 0) return null;
        var parts = mac.Split(':');
        if (parts.Length != 6 || !parts.All(p => p.Length == 2 && p.All(c => c is (>= '0' and <= '9') or (>= 'a' and <= 'f')))) return "is not an address such as 52:54:00:12:34:56, in lower case";
        return (Convert.ToByte(parts[0], 16) & 1) == 1 ? "is a group's address: the first byte must be even" : null;
    }
}
