using System.Diagnostics;
using System.Security.Cryptography;
using System.Text;
using AgentMetal.NodeAgent.Agents.Instance;
using AgentMetal.NodeAgent.Host.Files;
using AgentMetal.NodeAgent.Host.Libvirt;
using AgentMetal.NodeAgent.Host.Processes;
using AgentMetal.NodeAgent.Host.Transfer;
using AgentMetal.NodeAgent.Pipeline;
using AgentMetal.Runtime.Planning;
using AgentMetal.Runtime.Resources.Kinds;

namespace AgentMetal.NodeAgent.Tests.Agents.Instance;

/// <summary>One virtual machine on the libvirt of this host, converged step by step; every step's prediction is compared with what is observed after it.</summary>
internal sealed class InstanceWorld : IAsyncDisposable
{
    private readonly LibvirtLink _link = new(new(), TimeProvider.System);
    private readonly HypervisorProbe _probe;
    private readonly NodeAgent.Agents.Instance.Exports.ExportJobs _exports = new(TimeProvider.System);
    private readonly ImageStore _images = new(TimeProvider.System);
    private readonly ProcessRunner _processes = new(TimeProvider.System);
    private readonly string _name = "t" + Guid.NewGuid().ToString("N")[..8];

    public InstanceWorld()
    {
        Directory.CreateDirectory("/var/lib/agentmetal"); // As systemd makes it for the daemon.
        _probe = new(_processes, new(), TimeProvider.System);
        (Reader, Writer) = (new LibvirtReader(_link), new LibvirtWriter(_link));
        Driver = new(() => Member, input => new(new(new string('a', 32), Uid, 1), "goal") { Teardown = input.Teardown }) { Deadline = TimeSpan.FromSeconds(60), IsOthers = static k => k == InstanceFacts.Peer, IsCompared = static step => step.Tool != "receive" };
    }

    /// <summary>Directory with vmlinuz, initrd and their digests.</summary>
    public static string Images => Environment.GetEnvironmentVariable("AGENTMETAL_VM_IMAGES") ?? "/srv/images";

    public LibvirtReader Reader { get; }
    public LibvirtWriter Writer { get; }
    public string Uid { get; } = Guid.NewGuid().ToString();
    public string Spec { get; set; } = "{}";
    /// <summary>How it is handed over; nothing is, unless a test says so.</summary>
    public HandOvers? Moves { get; set; }
    public PeerAddress? MoveFrom { get; set; }
    public PeerAddress? MoveTo { get; set; }
    public List<string> Ran => Driver.Ran;
    public List<string> Mismatches => Driver.Mismatches;
    public InstanceReaders Readers => new(Reader, new FileReader(), new Accelerators(_probe)) { HandOvers = Moves is null ? NoHandOvers.It : Moves };
    public InstanceWriters Writers => new(Writer, new FileWriter(), _processes, _images) { Exports = _exports, HandOvers = Moves is null ? NoHandOvers.It : Moves };
    public InstanceMember Member => new(Readers, Writers, TimeProvider.System, new());

    /// <summary>What the spec refers to beside kernel and initrd.</summary>
    public Dictionary<string, ReadOnlyMemory<byte>> More { get; } = [];

    public string Name => _name;
    public InstanceLayout Layout => InstanceLayout.Of("default", _name, Uid, 0, new());

    /// <summary>A spec that boots the small machine from its kernel.</summary>
    /// <param name="more">More fields, with a comma before each.</param>
    public static string Small(string more = "") => """{"memory":"96Mi","boot":{"kernel":"kernel","initrd":"initrd","cmdline":"console=ttyS0 quiet no_timer_check"},"shutdown":{"seconds":30}""" + more + "}";

    public MemberInput Input(bool absent = false) => new()
    {
        Key = $"n0/Instance/{Uid}/0",
        ResourceKey = "Instance default/" + _name,
        Project = "default",
        Name = _name,
        ResourceUid = Uid,
        Ordinal = 0,
        Generation = 1,
        Spec = InstanceSamples.Valid(InstanceKind.Schema, Spec),
        Absent = absent,
        Teardown = absent,
        MoveFrom = absent ? null : MoveFrom,
        MoveTo = absent ? null : MoveTo,
        NodeUid = "n0",
        References = new Dictionary<string, ReadOnlyMemory<byte>>(More) { ["Image/kernel"] = Image("vmlinuz", "kernel"), ["Image/initrd"] = Image("initrd", "initrd") },
        DigestVerifier = new AllOrNothing(true),
    };

    private MemberDriver<InstanceGoal, InstanceState> Driver { get; }

    public Task<InstanceState> ObserveAsync() => Driver.ObserveAsync(Input());

    public Task<Plan<InstanceGoal, InstanceState>> PlanAsync(MemberInput input) => Driver.PlanAsync(input);

    /// <summary>Plans and runs until nothing differs; Dangerous steps run too, as if they had been signed.</summary>
    public Task ConvergeAsync(bool absent = false) => Driver.ConvergeAsync(Input(absent));

    public Task RunAsync(Plan<InstanceGoal, InstanceState> plan) => Driver.RunAsync(Input(), plan);

    /// <summary>What the guest has said so far.</summary>
    public string Console => File.Exists(Layout.ConsoleLog) ? Encoding.UTF8.GetString(File.ReadAllBytes(Layout.ConsoleLog)) : "";

    /// <summary>Waits until the guest has said it, as often as that.</summary>
    public async Task SaysAsync(string text, int times = 1)
    {
        var since = Stopwatch.StartNew();
        while (Console.Split(text).Length <= times)
        {
            Assert.True(since.Elapsed < TimeSpan.FromSeconds(120), $"the guest did not say \"{text}\" within 120 s; it said: {Console[Math.Max(0, Console.Length - 600)..]}");
            await Task.Delay(100, TestContext.Current.CancellationToken);
        }
    }

    public async ValueTask DisposeAsync()
    {
        await Writer.DestroyAsync(Layout.Uuid, graceful: false, TimeSpan.FromSeconds(20), CancellationToken.None);
        await Writer.UndefineAsync(Layout.Uuid, TimeSpan.FromSeconds(20), CancellationToken.None);
        foreach (var dir in (string[])[Layout.Dir, Layout.ImageDir])
            if (Directory.Exists(dir)) Directory.Delete(dir, recursive: true);
        _images.Dispose();
        _probe.Dispose();
        await _link.DisposeAsync();
    }

    public static ReadOnlyMemory<byte> Image(string file, string format)
    {
        var path = Images + "/" + file;
        return InstanceSamples.Valid(ImageKind.Schema, $$"""{"url":"file://{{path}}","sha256":"{{Convert.ToHexStringLower(SHA256.HashData(File.ReadAllBytes(path)))}}","format":"{{format}}"}""");
    }
}
