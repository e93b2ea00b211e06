using System.Globalization;
using System.Text;

namespace AgentMetal.Testing;

/// <summary>One host of a <see cref="Lab"/>. Commands run as root on it, in its namespaces and control groups.</summary>
public sealed class LabHost
{
    private static readonly TimeSpan DefaultTimeout = TimeSpan.FromSeconds(30);
    private static readonly TimeSpan BootTimeout = TimeSpan.FromSeconds(90);
    private static readonly TimeSpan ShutdownTimeout = TimeSpan.FromSeconds(120);
    private const int TimedOutExitCode = 124; // timeout(1)

    private readonly LabScript script;
    private int? leader;

    internal LabHost(LabScript script, string name, string address)
    {
        this.script = script;
        Name = name;
        Address = address;
    }

    public string Name { get; }

    /// <summary>Its IPv4 address on the bridge; a reboot keeps it.</summary>
    public string Address { get; }

    /// <summary>The host's PID 1 as this machine numbers it. A reboot changes it.</summary>
    /// <exception cref="LabException">The host is off.</exception>
    public int LeaderPid => leader ?? throw new LabException($"host {Name} is off");

    /// <summary>The host's root directory as this machine sees it. Absolute symbolic links in it resolve here, not there.</summary>
    public string RootPath => $"/proc/{LeaderPid}/root";

    /// <summary>The host's system bus, for a D-Bus client of this machine.</summary>
    public string BusAddress => $"unix:path={RootPath}/run/dbus/system_bus_socket";

    /// <summary>Runs a command on the host. A non-zero exit code is a result, see <see cref="CommandResult.OrThrow"/>.</summary>
    /// <param name="command">Program and arguments; no shell is between.</param>
    /// <param name="timeout">Whole seconds, rounded up; then the command is killed on the host. Default 30 s.</param>
    /// <exception cref="LabException">The host is off or the time is up.</exception>
    public async Task<CommandResult> RunAsync(
        IReadOnlyList<string> command,
        ReadOnlyMemory<byte> stdin = default,
        TimeSpan? timeout = null,
        CancellationToken cancellationToken = default)
    {
        _ = LeaderPid;
        var limit = timeout ?? DefaultTimeout;
        var seconds = Math.Max(1, (int)Math.Ceiling(limit.TotalSeconds)).ToString(CultureInfo.InvariantCulture);
        // The limit is kept on the host, where the command's children are; the one here is for a host that is gone.
        var result = await script.RunAsync(
            limit + TimeSpan.FromSeconds(10), stdin, cancellationToken, ["exec", Name, "--timeout", seconds, "--", .. command]);
        // The script's own failures are not the command's: a dead host must not pass for a `test` that said no.
        if (result.Stderr.StartsWith("lab: error:", StringComparison.Ordinal) || result.Stderr.StartsWith("nsenter: ", StringComparison.Ordinal))
            throw new LabException($"on {Name}, `{string.Join(' ', command)}` was not run: {CommandResult.Tail(result.Stderr.Trim())}");
        var shown = result with { Command = [$"{Name}:", .. command] };
        return result.ExitCode == TimedOutExitCode
            ? throw new LabException($"`{string.Join(' ', shown.Command)}` did not end within {seconds} s and was killed: {CommandResult.Tail(result.Stderr.Trim())}")
            : shown;
    }

    /// <summary>A shell script on the host, with <c>sh -e</c>; its arguments are $1, $2, ….</summary>
    /// <returns>Its standard output, without the white space around it.</returns>
    /// <exception cref="LabException">It failed; the message has its standard error.</exception>
    public async Task<string> ShellAsync(string text, CancellationToken cancellationToken = default, params string[] arguments) =>
        (await RunAsync(["sh", "-ec", text, "sh", .. arguments], cancellationToken: cancellationToken)).OrThrow().Stdout.Trim();

    /// <summary>Writes in place, so that an existing file keeps its owner and mode; missing directories are made.</summary>
    /// <param name="mode">As of chmod(1), for example "0600"; null leaves it.</param>
    public async Task WriteFileAsync(string path, string content, string? mode = null, CancellationToken cancellationToken = default)
    {
        const string Text = """mkdir -p "$(dirname "$1")"; cat >"$1"; [ -z "$2" ] || chmod "$2" "$1" """;
        (await RunAsync(["sh", "-ec", Text, "sh", path, mode ?? ""], Encoding.UTF8.GetBytes(content), cancellationToken: cancellationToken)).OrThrow();
    }

    /// <summary>The text of a file of at most 4 MiB.</summary>
    public async Task<string> ReadFileAsync(string path, CancellationToken cancellationToken = default) =>
        (await RunAsync(["cat", "--", path], cancellationToken: cancellationToken)).OrThrow().Stdout;

    /// <summary>Copies a file or a directory of this machine to a path on the host, modes included.</summary>
    public async Task CopyInAsync(string source, string destination, CancellationToken cancellationToken = default)
    {
        // The host resolves its own symbolic links: seen from here, absolute ones would point into this machine.
        var resolved = await ShellAsync("""mkdir -p "$(dirname "$1")"; realpath -m "$1" """, cancellationToken, destination);
        (await CommandRunner.RunAsync(
            ["cp", "-a", "--no-preserve=ownership", "-T", source, RootPath + resolved], TimeSpan.FromMinutes(1), cancellationToken: cancellationToken)).OrThrow();
    }

    public Task StartServiceAsync(string unit, CancellationToken cancellationToken = default) =>
        ShellAsync("""systemctl start -- "$1" """, cancellationToken, unit);

    /// <summary>The unit's main process as the host numbers it; 0 when it has none.</summary>
    public async Task<int> MainPidAsync(string unit, CancellationToken cancellationToken = default) =>
        int.Parse(await ShellAsync("""systemctl show -P MainPID -- "$1" """, cancellationToken, unit), CultureInfo.InvariantCulture);

    /// <summary>Sends a signal to the unit's main process.</summary>
    /// <param name="signal">A name as of kill(1), for example "KILL".</param>
    public Task KillAsync(string unit, string signal = "KILL", CancellationToken cancellationToken = default) =>
        ShellAsync("""systemctl kill --kill-whom=main --signal="$2" -- "$1" """, cancellationToken, unit, signal);

    /// <summary>The unit's main process stops running but keeps its sockets: a hung server.</summary>
    public Task FreezeAsync(string unit, CancellationToken cancellationToken = default) => KillAsync(unit, "STOP", cancellationToken);

    public Task ThawAsync(string unit, CancellationToken cancellationToken = default) => KillAsync(unit, "CONT", cancellationToken);

    /// <summary>Boots the host from its disk as it is; does nothing when it runs.</summary>
    public async Task StartAsync(CancellationToken cancellationToken = default)
    {
        await script.RequireAsync(BootTimeout, cancellationToken, "start", Name);
        leader = int.Parse(await script.RequireAsync(DefaultTimeout, cancellationToken, "leader", Name), CultureInfo.InvariantCulture);
    }

    /// <summary>systemd stops every service, then the host starts again with a new PID 1 and the same disk.</summary>
    public async Task RebootAsync(CancellationToken cancellationToken = default)
    {
        leader = null;
        await script.RequireAsync(ShutdownTimeout + BootTimeout, cancellationToken, "reboot", Name);
        await StartAsync(cancellationToken);
    }

    /// <summary>systemd stops every service and the host is off.</summary>
    public async Task ShutDownAsync(CancellationToken cancellationToken = default)
    {
        leader = null;
        await script.RequireAsync(ShutdownTimeout, cancellationToken, "shutdown", Name);
    }

    /// <summary>
    /// Everything on the host is killed at once and it stays off. Written data survives without fsync, for the page cache
    /// is this machine's: a test of fsync needs a virtual machine.
    /// </summary>
    public async Task PowerOffAsync(CancellationToken cancellationToken = default)
    {
        leader = null;
        await script.RequireAsync(DefaultTimeout, cancellationToken, "poweroff", Name);
    }

    /// <summary>Covers a directory with a tmpfs of this size and of the directory's owner and mode, until a reboot.</summary>
    public Task SizeLimitedMountAsync(string path, long bytes, CancellationToken cancellationToken = default) =>
        script.RequireAsync(DefaultTimeout, cancellationToken, "limit", Name, path, bytes.ToString(CultureInfo.InvariantCulture));

    /// <summary>Fills the filesystem at a path to its last byte with one file. Only on a size-limited mount.</summary>
    /// <exception cref="LabException">There is no size-limited mount: filling would fill this machine's disk.</exception>
    public Task FillAsync(string path, CancellationToken cancellationToken = default) => ShellAsync(
        """
        findmnt -n -o SOURCE --mountpoint "$1" | grep -qx lab-limit || { echo "$1 is no size-limited mount" >&2; exit 1; }
        dd if=/dev/zero of="$1/.lab-fill" bs=4k 2>/dev/null || true
        """,
        cancellationToken, path);

    /// <summary>Removes what <see cref="FillAsync"/> wrote.</summary>
    public Task FreeAsync(string path, CancellationToken cancellationToken = default) =>
        ShellAsync("""rm -f "$1/.lab-fill" """, cancellationToken, path);

    /// <summary>Takes a size-limited mount away, also from under those who use it.</summary>
    public Task UnmountAsync(string path, CancellationToken cancellationToken = default) =>
        ShellAsync("""umount -l "$1" """, cancellationToken, path);

    /// <summary>Polls on the host, every 50 ms, until the shell condition holds.</summary>
    /// <exception cref="LabException">It did not hold within the time.</exception>
    public async Task WaitForAsync(string condition, TimeSpan timeout, CancellationToken cancellationToken = default)
    {
        try
        {
            (await RunAsync(
                ["sh", "-c", $"until {{ {condition}\n}} >/dev/null 2>&1; do sleep 0.05; done"], timeout: timeout, cancellationToken: cancellationToken)).OrThrow();
        }
        catch (LabException exception)
        {
            throw new LabException($"on {Name}, `{condition}` did not hold within {timeout.TotalSeconds:0.###} s", exception);
        }
    }
}
