using System.Diagnostics;
using System.Globalization;
using System.Net.Sockets;
using System.Runtime.InteropServices;
using System.Text;

namespace AgentMetal.Testing;

/// <summary>
/// A virtual machine on a lab's bridge, with a disk and a kernel of its own: <see cref="CutPower"/> loses what was written and not flushed, which the
/// page cache of a <see cref="LabHost"/> would keep. Its file system commits by itself once an hour and helps no program that forgets to fsync.
/// </summary>
public sealed class LabGuest : IAsyncDisposable
{
    private const int ShellPort = 7000; // guest-shell.sh
    private const int TimedOutExitCode = 124; // timeout(1)
    private const int MaxOutputBytes = 4 * 1024 * 1024;
    private static readonly TimeSpan DefaultTimeout = TimeSpan.FromSeconds(60);
    // While it boots, an attempt is soon made anew rather than left to the growing pauses of TCP.
    private static readonly TimeSpan BootConnectTimeout = TimeSpan.FromSeconds(1.5);
    private static readonly TimeSpan ConnectTimeout = TimeSpan.FromSeconds(20);
    private static readonly TimeSpan RetryPause = TimeSpan.FromMilliseconds(200);

    private readonly LabScript script;
    private readonly List<FileStream> consoles = [];
    private Process? machine;

    internal LabGuest(LabScript script, string name, string address) => (this.script, Name, Address) = (script, name, address);

    public string Name { get; }

    /// <summary>Its IPv4 address on the bridge; stays the same.</summary>
    public string Address { get; }

    /// <summary>What every boot has written to the console, the newest last.</summary>
    public string ConsolePath => Path.Combine(script.StateDirectory, "hosts", Name, "console.log");

    /// <summary>Null when a guest can run here; otherwise what is missing, in words for a person. Builds the disk when it is missing (half a minute).</summary>
    public static async Task<string?> MissingAsync(CancellationToken cancellationToken = default)
    {
        if (await LabCapability.MissingAsync(cancellationToken) is { } missing)
            return missing;
        if (RuntimeInformation.OSArchitecture != Architecture.X64)
            return "a machine of x86-64, which the virtual machine's kernel is for";
        if (!File.Exists("/dev/net/tun"))
            return "the device /dev/net/tun, which joins a virtual machine to the lab's network";
        try
        {
            await LabScript.GuestImageAsync(cancellationToken);
            return null;
        }
        catch (LabException exception)
        {
            return "a virtual machine (QEMU and a kernel for it): " + exception.Message;
        }
    }

    /// <summary>Boots from the disk as it is and waits until systemd has started what is enabled: 6 s to 40 s, by how busy this machine is.</summary>
    /// <param name="timeout">For all of it.</param>
    /// <exception cref="LabException">It did not come up; the end of its console is in the message.</exception>
    public async Task StartAsync(TimeSpan timeout, CancellationToken cancellationToken = default)
    {
        if (machine is not null)
            throw new LabException($"guest {Name} runs already");
        var console = new FileStream(ConsolePath, FileMode.Append, FileAccess.Write, FileShare.ReadWrite, bufferSize: 0);
        consoles.Add(console);
        machine = script.StartGuest(Name);
        _ = machine.StandardOutput.BaseStream.CopyToAsync(console, CancellationToken.None);
        _ = machine.StandardError.BaseStream.CopyToAsync(console, CancellationToken.None);
        var until = Stopwatch.StartNew();
        while (true)
        {
            cancellationToken.ThrowIfCancellationRequested();
            if (machine.HasExited || until.Elapsed > timeout)
                throw new LabException($"guest {Name} {(machine.HasExited ? "ended while it booted" : $"did not boot within {timeout.TotalSeconds:0} s")}: {ConsoleEnd()}");
            try
            {
                // Until every job of the start is done; one that failed is the caller's to look at.
                if ((await RunAsync("systemctl is-system-running --wait || true", timeout - until.Elapsed, BootConnectTimeout, cancellationToken)).Succeeded)
                    return;
            }
            catch (LabException)
            {
                // Nobody listens yet.
            }

            await Task.Delay(RetryPause, cancellationToken);
        }
    }

    /// <summary>kill -9 of the machine: what the guest had not flushed is gone, and so is its port on the network. Does nothing when it is off.</summary>
    public void CutPower()
    {
        if (machine is null)
            return;
        machine.Kill();
        machine.WaitForExit();
        machine.Dispose();
        machine = null;
    }

    /// <summary>A bash script on the guest, as root, ended at its first failing command. A non-zero exit code is a result.</summary>
    /// <param name="timeout">Whole seconds, rounded up; then it is killed on the guest. Default 60 s.</param>
    /// <exception cref="LabException">The guest is off, was cut while it answered, or the time is up.</exception>
    public Task<CommandResult> RunAsync(string text, TimeSpan? timeout = null, CancellationToken cancellationToken = default) =>
        RunAsync(text, timeout ?? DefaultTimeout, ConnectTimeout, cancellationToken);

    private async Task<CommandResult> RunAsync(string text, TimeSpan timeout, TimeSpan connectTimeout, CancellationToken cancellationToken)
    {
        if (machine is null)
            throw new LabException($"guest {Name} is off");
        var seconds = Math.Max(1, (int)Math.Ceiling(timeout.TotalSeconds));
        using var deadline = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        byte[] answer;
        try
        {
            using var client = new TcpClient();
            deadline.CancelAfter(connectTimeout);
            await client.ConnectAsync(Address, ShellPort, deadline.Token);
            deadline.CancelAfter(TimeSpan.FromSeconds(seconds + 10));
            var stream = client.GetStream();
            var body = Encoding.UTF8.GetBytes(text);
            await stream.WriteAsync(Encoding.ASCII.GetBytes(string.Create(CultureInfo.InvariantCulture, $"{body.Length} {seconds}\n")), deadline.Token);
            await stream.WriteAsync(body, deadline.Token);
            answer = await ReadAsync(stream, deadline.Token);
        }
        catch (Exception exception) when (exception is SocketException or IOException || (exception is OperationCanceledException && !cancellationToken.IsCancellationRequested))
        {
            throw new LabException($"guest {Name} did not answer: {exception.Message}", exception);
        }

        var result = Parse(answer, text);
        return result.ExitCode == TimedOutExitCode
            ? throw new LabException($"on {Name}, `{text}` did not end within {seconds} s and was killed: {CommandResult.Tail(result.Stderr.Trim())}")
            : result;
    }

    /// <summary>As <see cref="RunAsync"/>; its standard output, without the white space around it.</summary>
    /// <exception cref="LabException">It failed; the message has its standard error.</exception>
    public async Task<string> ShellAsync(string text, CancellationToken cancellationToken = default) =>
        (await RunAsync(text, cancellationToken: cancellationToken)).OrThrow().Stdout.Trim();

    /// <summary>The last 3,000 characters of the console.</summary>
    public string ConsoleEnd()
    {
        using var stream = new FileStream(ConsolePath, FileMode.Open, FileAccess.Read, FileShare.ReadWrite);
        stream.Seek(-Math.Min(3000, stream.Length), SeekOrigin.End);
        using var reader = new StreamReader(stream);
        return reader.ReadToEnd();
    }

    public ValueTask DisposeAsync()
    {
        CutPower();
        foreach (var console in consoles)
            console.Dispose();
        return ValueTask.CompletedTask;
    }

    private static async Task<byte[]> ReadAsync(NetworkStream stream, CancellationToken cancellationToken)
    {
        using var all = new MemoryStream();
        var buffer = new byte[64 * 1024];
        while (await stream.ReadAsync(buffer, cancellationToken) is var count and > 0)
        {
            if (all.Length + count > MaxOutputBytes)
                throw new IOException($"the answer is longer than {MaxOutputBytes} bytes");
            all.Write(buffer, 0, count);
        }

        return all.ToArray();
    }

    private CommandResult Parse(byte[] answer, string text)
    {
        var end = answer.AsSpan().IndexOf((byte)'\n');
        var head = end < 0 ? [] : Encoding.ASCII.GetString(answer, 0, end).Split(' ');
        if (head.Length != 3 || !int.TryParse(head[0], out var code) || !int.TryParse(head[1], out var stdout) || !int.TryParse(head[2], out var stderr)
            || answer.Length != end + 1 + stdout + stderr)
            throw new LabException($"guest {Name} broke off its answer to `{CommandResult.Tail(text)}`");
        return new CommandResult
        {
            Command = [$"{Name}:", text],
            ExitCode = code,
            Stdout = Encoding.UTF8.GetString(answer, end + 1, stdout),
            Stderr = Encoding.UTF8.GetString(answer, end + 1 + stdout, stderr),
        };
    }
}
