using System.Globalization;
using AgentMetal.Testing;

namespace AgentMetal.LabTests.Fleets;

/// <summary>
/// Counts what anybody asks systemd of a host for, by listening on the host's system bus (dbus-monitor). It listens before it is returned, and every
/// count waits until a call of its own has come through, so that nothing that was asked before is missed.
/// </summary>
public sealed class BusMonitor : IAsyncDisposable
{
    private const string Unit = "lab-bus-monitor.service";
    private const string Log = "/run/lab-bus-monitor.log";

    private readonly LabHost host;
    private int marks;

    private BusMonitor(LabHost host) => this.host = host;

    public static async Task<BusMonitor> StartAsync(LabHost host, CancellationToken stop)
    {
        await host.ShellAsync($"""
            systemctl stop {Unit} 2>/dev/null || true; rm -f {Log}
            systemd-run -q --collect --unit={Unit} -p StandardOutput=append:{Log} dbus-monitor --system "type='method_call',destination='org.freedesktop.systemd1'"
            """, stop);
        var monitor = new BusMonitor(host);
        await monitor.MarkAsync(stop);
        return monitor;
    }

    /// <summary>Calls of one method of systemd's manager that name this unit, since the start.</summary>
    public async Task<int> CountAsync(string method, string unit, CancellationToken stop)
    {
        await MarkAsync(stop);
        return int.Parse(await host.ShellAsync($$"""
            awk -v m="member=$1" -v u="string \"$2\"" '/^method call/ { hit = ($NF == m) ; next } hit && index($0, u) { n++; hit = 0 } END { print n + 0 }' {{Log}}
            """, stop, method, unit), CultureInfo.InvariantCulture);
    }

    public async ValueTask DisposeAsync() => await host.RunAsync(["systemctl", "stop", Unit], cancellationToken: CancellationToken.None);

    private async Task MarkAsync(CancellationToken stop)
    {
        var mark = string.Create(CultureInfo.InvariantCulture, $"lab-mark-{++marks}.service");
        await host.WaitForAsync($"busctl --system call org.freedesktop.systemd1 /org/freedesktop/systemd1 org.freedesktop.systemd1.Manager GetUnit s {mark}; grep -q {mark} {Log}", TimeSpan.FromSeconds(60), stop);
    }
}
