using System.Runtime.InteropServices;
using AgentMetal.Coordinator;
using AgentMetal.Coordinator.Fleet;
using AgentMetal.Coordinator.Hosting;
using AgentMetal.Coordinator.Store;
using AgentMetal.Runtime.Store;

if (args.Contains("--version"))
{
    Console.WriteLine($"agentmetal-coordinator {Build.Version}");
    return 0;
}
if (args.Contains("--help"))
{
    Console.WriteLine(CoordinatorOptions.Usage);
    return 0;
}
var (options, errors) = CoordinatorOptions.Parse(args);
if (options is null)
{
    foreach (var error in errors) Console.Error.WriteLine("error: " + error);
    return 2;
}
try
{
    Directory.CreateDirectory(options.Data, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
}
catch (Exception e) when (e is IOException or UnauthorizedAccessException)
{
    Console.Error.WriteLine($"error: --data {options.Data}: {e.Message}; give a directory that this user may write");
    return 2;
}
SqliteStore store;
switch (SqliteStore.Open(new() { Path = Path.Combine(options.Data, "store.db"), Restored = options.Restored }))
{
    case StoreOpening.Opened opened:
        store = opened.Store;
        break;
    case StoreOpening.HeldBy held:
        Console.Error.WriteLine($"error: --data {options.Data}: {held.Message}");
        return 1;
    case StoreOpening.Refused refused:
        Console.Error.WriteLine($"error: --data {options.Data}: {refused.Message}");
        return 1;
    default:
        throw new InvalidOperationException("unexpected answer of the store");
}
var code = await ServeAsync(options, store);
// An end is no crash, also on a disk that takes nothing any more: what was acknowledged is in the file already.
try { await store.DisposeAsync(); }
catch (Exception e) when (e is IOException or Microsoft.Data.Sqlite.SqliteException or StoreAwayException or TimeoutException)
{
    Console.Error.WriteLine("error: the store was not closed in order: " + e.Message);
    code = 1;
}
return code;

static async Task<int> ServeAsync(CoordinatorOptions options, SqliteStore store)
{
    using var logs = LoggerFactory.Create(b => b.SetMinimumLevel(LogLevel.Information).AddFilter("Microsoft", LogLevel.Warning).AddFilter("Grpc", LogLevel.Warning).AddSystemdConsole());
    using var stop = new CancellationTokenSource();
    using var term = PosixSignalRegistration.Create(PosixSignal.SIGTERM, Ask);
    using var interrupt = PosixSignalRegistration.Create(PosixSignal.SIGINT, Ask);
    var notifier = new ServiceNotifier();
    try
    {
        await using var host = await CoordinatorHost.StartAsync(options, store, TimeProvider.System, logs, stop.Token);
        notifier.Ready($"listening on {host.EndPoint}, metrics on {host.MetricsEndPoint}");
        Console.WriteLine($"listening on {host.EndPoint} (TLS), metrics on http://{host.MetricsEndPoint}/metrics");
        var asked = Task.Delay(Timeout.InfiniteTimeSpan, stop.Token);
        while (!asked.IsCompleted && !host.Running.IsCompleted)
        {
            notifier.Alive();
            await Task.WhenAny(asked, host.Running, Task.Delay(notifier.WatchdogEvery ?? Timeout.InfiniteTimeSpan));
        }
        notifier.Stopping();
        if (!asked.IsCompleted) await host.Running;
        return 0;
    }
    catch (OperationCanceledException)
    {
        // Nothing but the end that was asked for cancels, and a signal may be heard elsewhere first.
        return 0;
    }
    catch (StartupException e)
    {
        Console.Error.WriteLine("error: " + e.Message);
        return 1;
    }
    catch (Exception e) when (e is StoreAwayException or NotLeaderException or StoreReplacedException or IOException or Microsoft.Data.Sqlite.SqliteException or InvalidOperationException)
    {
        // systemd starts it again, and it reads anew.
        Console.Error.WriteLine("error: " + e.Message);
        return 1;
    }

    void Ask(PosixSignalContext context)
    {
        context.Cancel = true;
        stop.Cancel();
    }
}
