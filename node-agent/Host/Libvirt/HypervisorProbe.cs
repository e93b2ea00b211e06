using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using AgentMetal.NodeAgent.Host.Processes;

namespace AgentMetal.NodeAgent.Host.Libvirt;

/// <summary>What runs a guest's instructions.</summary>
internal enum Accelerator
{
    /// <summary>Nothing does: QEMU is missing or runs no guest.</summary>
    None,

    /// <summary>The processor itself, through /dev/kvm.</summary>
    Kvm,

    /// <summary>QEMU's translator (tiny code generator): everywhere, and many times slower.</summary>
    Tcg,
}

/// <summary>What was found out.</summary>
/// <param name="Accelerator">The best one that ran a guest.</param>
/// <param name="Why">One sentence for a person, with the next command where nothing runs.</param>
internal sealed record Hypervisor(Accelerator Accelerator, string Why);

/// <summary>Where the probe finds what it needs.</summary>
internal sealed record HypervisorOptions
{
    /// <summary>Absolute path of QEMU's system emulator.</summary>
    public string Program { get; init; } = "/usr/bin/qemu-system-x86_64";

    /// <summary>The kernel's device for KVM.</summary>
    public string Device { get; init; } = "/dev/kvm";

    /// <summary>A directory that does not outlive the boot; it is made when it is missing.</summary>
    public string Directory { get; init; } = "/run/agentmetal";

    /// <summary>How long one guest may take: it needs 0.2 s where it runs at all, and a KVM that cannot run it may hang.</summary>
    public TimeSpan Deadline { get; init; } = TimeSpan.FromSeconds(3);

    /// <summary>How long an answer counts that may be owed to a busy host: a guest that did not end in time, or none at all.</summary>
    public TimeSpan Doubt { get; init; } = TimeSpan.FromMinutes(10);
}

/// <summary>
/// Finds out by running a guest of 512 bytes which accelerator works. That /dev/kvm exists or opens proves nothing: a nested or restricted
/// host may open it and run no guest. It runs the first time somebody asks; the answer is kept for the boot, also over a restart of the
/// daemon, until QEMU is replaced.
/// </summary>
internal sealed class HypervisorProbe(IProcessRunner processes, HypervisorOptions options, TimeProvider time) : IDisposable
{
    /// <summary>isa-debug-exit ends QEMU with (value &lt;&lt; 1) | 1, and the guest writes 0x10.</summary>
    private const int ExitOfGuest = 33;

    private const int MaxReason = 200;
    private const int SectorSize = 512;

    // mov al,'O'; out 0xe9,al; mov al,'K'; out 0xe9,al; mov al,0x10; out 0xf4,al; hlt; jmp back
    private static readonly byte[] Code = [0xb0, 0x4f, 0xe6, 0xe9, 0xb0, 0x4b, 0xe6, 0xe9, 0xb0, 0x10, 0xe6, 0xf4, 0xf4, 0xeb, 0xfd];

    private readonly SemaphoreSlim _turn = new(1);
    private Hypervisor? _known;
    private string _knownKey = "";
    private long _doubtedAt;
    private bool _doubted;

    /// <summary>The best accelerator. The first answer takes 0.2 s, or as long as a hanging KVM is given.</summary>
    /// <exception cref="OperationCanceledException">The caller gave up.</exception>
    internal async Task<Hypervisor> ProbeAsync(CancellationToken stop)
    {
        await _turn.WaitAsync(stop).ConfigureAwait(false);
        try
        {
            if (!File.Exists(options.Program))
                return new Hypervisor(Accelerator.None, $"{options.Program} is not installed; install it with: apt-get install qemu-system-x86");

            var key = Key();
            if (_known is not null && _knownKey == key && !(_doubted && time.GetElapsedTime(_doubtedAt) > options.Doubt))
                return _known;

            _knownKey = key;
            _doubted = false;
            _known = Remembered(key) ?? await FindAsync(key, stop).ConfigureAwait(false);
            return _known;
        }
        finally
        {
            _turn.Release();
        }
    }

    public void Dispose() => _turn.Dispose();

    private async Task<Hypervisor> FindAsync(string key, CancellationToken stop)
    {
        var why = $"there is no {options.Device}";
        if (File.Exists(options.Device))
        {
            var (ran, sure, reason) = await RunAsync("kvm", stop).ConfigureAwait(false);
            if (ran)
                return Remember(key, new Hypervisor(Accelerator.Kvm, "a guest ran with KVM"));
            why = reason;
            Doubt(!sure);
        }

        var (emulated, _, failure) = await RunAsync("tcg", stop).ConfigureAwait(false);
        if (emulated)
        {
            var found = new Hypervisor(Accelerator.Tcg, $"KVM runs no guest here ({why}); emulation does");
            return _doubted ? found : Remember(key, found);
        }

        // A QEMU that runs nothing is broken, or the host is too busy to tell: either may pass.
        Doubt(true);
        return new Hypervisor(Accelerator.None, $"no guest runs: with KVM: {why}; emulated: {failure}");
    }

    /// <summary>Runs the guest once.</summary>
    /// <returns>Whether it did what it should; whether a failure is certain; why not.</returns>
    private async Task<(bool Ran, bool Sure, string Why)> RunAsync(string accelerator, CancellationToken stop)
    {
        var image = Path.Combine(options.Directory, $"probe-{accelerator}.img");
        try
        {
            await WriteGuestAsync(image, stop).ConfigureAwait(false);
            var outcome = await processes.RunAsync(
                new ProcessRequest
                {
                    Program = options.Program,
                    Arguments =
                    [
                        "-accel", accelerator, "-cpu", "max", "-machine", "pc", "-m", "32", "-display", "none", "-nodefaults", "-no-user-config",
                        "-device", "isa-debug-exit,iobase=0xf4,iosize=1", "-debugcon", "stdio",
                        "-drive", $"file={image.Replace(",", ",,", StringComparison.Ordinal)},format=raw,if=floppy,readonly=on", "-boot", "a",
                    ],
                    Deadline = options.Deadline,
                    MaxOutputBytes = 4096,
                },
                stop).ConfigureAwait(false);
            var ran = outcome is { Result: ProcessResult.Exited, ExitCode: ExitOfGuest } && outcome.Stdout == "OK";
            return (ran, outcome.Result != ProcessResult.DeadlinePassed, ran ? "" : Reason(outcome));
        }
        catch (IOException error)
        {
            return (false, false, error.Message);
        }
        finally
        {
            File.Delete(image);
        }
    }

    private async Task WriteGuestAsync(string image, CancellationToken stop)
    {
        Directory.CreateDirectory(options.Directory);
        var sector = new byte[SectorSize];
        Code.CopyTo(sector, 0);
        sector[^2] = 0x55;
        sector[^1] = 0xaa;
        await File.WriteAllBytesAsync(image, sector, stop).ConfigureAwait(false);
    }

    private static string Reason(ProcessOutcome outcome)
    {
        var said = outcome.Stderr.Split('\n', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries).LastOrDefault() ?? "";
        var ended = outcome.Result switch
        {
            ProcessResult.DeadlinePassed => "the guest did not end in time",
            ProcessResult.NotStarted => outcome.Detail,
            ProcessResult.Signalled => $"QEMU was ended by signal {outcome.Signal}",
            ProcessResult.Exited => $"QEMU exited with status {outcome.ExitCode}",
            _ => throw new ArgumentOutOfRangeException(nameof(outcome), outcome.Result, "There is no such result."),
        };
        return said.Length == 0 ? ended : $"{ended}: {said[..Math.Min(said.Length, MaxReason)]}";
    }

    private void Doubt(bool doubted)
    {
        _doubted = doubted;
        _doubtedAt = time.GetTimestamp();
    }

    /// <summary>What the answer depends on: the boot, the emulator's file, and whether there is a device at all.</summary>
    private string Key()
    {
        var boot = File.ReadAllText("/proc/sys/kernel/random/boot_id").Trim();
        var program = new FileInfo(options.Program);
        var all = string.Create(
            CultureInfo.InvariantCulture, $"{boot}|{options.Program}|{program.LastWriteTimeUtc.Ticks}|{program.Length}|{File.Exists(options.Device)}");
        return Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(all)))[..16];
    }

    private string FileOf(string key) => Path.Combine(options.Directory, $"hypervisor-{key}");

    private Hypervisor? Remembered(string key)
    {
        try
        {
            return File.ReadAllText(FileOf(key)).Split('\n', 2) is [var name, var why] && Enum.TryParse<Accelerator>(name, out var accelerator)
                ? new Hypervisor(accelerator, why)
                : null;
        }
        catch (IOException)
        {
            // Not asked yet in this boot, or not readable: then it is found out again.
            return null;
        }
    }

    private Hypervisor Remember(string key, Hypervisor found)
    {
        try
        {
            var partial = FileOf(key) + ".new";
            File.WriteAllText(partial, $"{found.Accelerator}\n{found.Why}");
            File.Move(partial, FileOf(key), overwrite: true);
        }
        catch (IOException)
        {
            // A full file system costs the next daemon a probe, and this one nothing.
        }

        return found;
    }
}
