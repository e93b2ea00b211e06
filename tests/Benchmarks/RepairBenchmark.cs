using System.Collections.Concurrent;
using System.Diagnostics;
using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Runtime.InteropServices;
using System.Text;
using AgentMetal.Testing;

namespace AgentMetal.Benchmarks;

/// <summary>A Redis server that somebody watches over.</summary>
internal sealed record RepairTarget
{
    public required string Unit { get; init; }

    public required string UnitFile { get; init; }

    public required string ConfigFile { get; init; }

    public required int Port { get; init; }

    /// <summary>Null when none is asked for.</summary>
    public string? Password { get; init; }
}

/// <summary>
/// From a harm to the first answer of the server with everything in place again. Members are harmed in lanes, each lane its own members in turn, at
/// moments that have nothing to do with anybody's polling. Harm is done and looked at from this machine, through the host's /proc, so that measuring
/// costs the hosts nothing but a PING every 20 ms.
/// </summary>
internal static partial class RepairBenchmark
{
    private const int Kill = 9, Stop = 19;
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(150);
    private static readonly TimeSpan Look = TimeSpan.FromMilliseconds(20);

    private enum Harm
    {
        Hang,
        Config,
        Unit,
    }

    public static async Task RunAsync(string subject, LabHost host, IReadOnlyList<RepairTarget> targets, BenchmarkOptions options, BenchmarkReport report, CancellationToken stop)
    {
        foreach (var harm in Enum.GetValues<Harm>())
        {
            var took = new ConcurrentBag<double>();
            var failures = new ConcurrentQueue<string>();
            var next = 0;
            var lanes = Math.Min(options.Lanes, targets.Count);
            await Task.WhenAll(Enumerable.Range(0, lanes).Select(lane => Task.Run(async () =>
            {
                var mine = targets.Where((_, i) => i % lanes == lane).ToArray();
                for (var turn = 0; Interlocked.Increment(ref next) <= options.Repairs; turn++)
                {
                    await Task.Delay(TimeSpan.FromSeconds(0.5 + (Random.Shared.NextDouble() * 10)), stop);
                    var target = mine[turn % mine.Length];
                    if (await OnceAsync(host, target, harm, stop) is { } ms) took.Add(ms);
                    else failures.Enqueue(target.Unit);
                }
            }, stop)));
            report.Add("repairs", subject, What(harm), "ms", took);
            if (!failures.IsEmpty) report.Note($"{subject}: {What(harm)}: {failures.Count} of {options.Repairs} were not serving within {Patience.TotalSeconds:0} s: {string.Join(", ", failures.Take(5))}");
        }
    }

    private static string What(Harm harm) => harm switch
    {
        Harm.Hang => "hang (SIGSTOP) to serving",
        Harm.Config => "configuration deleted, killed, to serving",
        Harm.Unit => "unit deleted, killed, to serving",
        _ => throw new ArgumentOutOfRangeException(nameof(harm)),
    };

    /// <summary>Milliseconds; null = it did not come back in time.</summary>
    private static async Task<double?> OnceAsync(LabHost host, RepairTarget target, Harm harm, CancellationToken stop)
    {
        var endpoint = new IPEndPoint(IPAddress.Parse(host.Address), target.Port);
        var (config, unit) = (host.RootPath + target.ConfigFile, host.RootPath + target.UnitFile);
        var (configWas, unitWas) = (await File.ReadAllBytesAsync(config, stop), await File.ReadAllBytesAsync(unit, stop));
        if (!await AnswersAsync(endpoint, target.Password, stop)) throw new LabException($"{target.Unit} does not serve before anybody harmed it");
        var pid = OuterPid(host, await host.MainPidAsync(target.Unit, stop));

        var watch = Stopwatch.StartNew();
        if (harm == Harm.Config) File.Delete(config);
        if (harm == Harm.Unit) File.Delete(unit);
        if (SendSignal(pid, harm == Harm.Hang ? Stop : Kill) != 0) throw new LabException($"kill({pid}) of {target.Unit} failed with errno {Marshal.GetLastPInvokeError()}");
        while (watch.Elapsed < Patience)
        {
            await Task.Delay(Look, stop);
            if (IsBack(config, configWas) && IsBack(unit, unitWas) && await AnswersAsync(endpoint, target.Password, stop)) return watch.Elapsed.TotalMilliseconds;
        }
        return null;
    }

    private static bool IsBack(string path, byte[] was)
    {
        try { return File.ReadAllBytes(path).AsSpan().SequenceEqual(was); }
        catch (IOException) { return false; }
    }

    private static async Task<bool> AnswersAsync(IPEndPoint endpoint, string? password, CancellationToken stop)
    {
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(stop);
        limit.CancelAfter(TimeSpan.FromMilliseconds(250));
        try
        {
            using var socket = new Socket(SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
            await socket.ConnectAsync(endpoint, limit.Token);
            await socket.SendAsync(Encoding.ASCII.GetBytes((password is null ? "" : $"AUTH {password}\r\n") + "PING\r\n"), limit.Token);
            var said = new StringBuilder();
            var buffer = new byte[256];
            while (await socket.ReceiveAsync(buffer, limit.Token) is var count and > 0)
            {
                said.Append(Encoding.ASCII.GetString(buffer, 0, count));
                if (said.ToString().Contains("+PONG", StringComparison.Ordinal)) return true;
                if (said.ToString().Contains('-', StringComparison.Ordinal)) return false;
            }
            return false;
        }
        catch (SocketException) { return false; }
        catch (OperationCanceledException) when (!stop.IsCancellationRequested) { return false; }
    }

    /// <summary>A process of the host as this machine numbers it (pid_namespaces(7)).</summary>
    private static int OuterPid(LabHost host, int inner)
    {
        var space = new FileInfo($"/proc/{host.LeaderPid}/ns/pid").LinkTarget;
        foreach (var directory in Directory.EnumerateDirectories("/proc"))
        {
            if (!int.TryParse(Path.GetFileName(directory), NumberStyles.None, CultureInfo.InvariantCulture, out var pid)) continue;
            try
            {
                if (new FileInfo(directory + "/ns/pid").LinkTarget != space) continue;
                var numbers = File.ReadLines(directory + "/status").First(l => l.StartsWith("NSpid:", StringComparison.Ordinal)).Split('\t');
                if (numbers[^1] == inner.ToString(CultureInfo.InvariantCulture)) return pid;
            }
            catch (Exception e) when (e is IOException or InvalidOperationException)
            {
                // It ended while it was looked at.
            }
        }
        throw new LabException($"no process of {host.Name} has the number {inner}");
    }

    /// <summary>kill(2).</summary>
    [DllImport("libc", EntryPoint = "kill", SetLastError = true)]
    private static extern int SendSignal(int pid, int signal);
}
