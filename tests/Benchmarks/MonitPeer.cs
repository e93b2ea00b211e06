using System.Globalization;
using System.Text;
using AgentMetal.Testing;

namespace AgentMetal.Benchmarks;

/// <summary>
/// monit on a host of its own, over as many Redis servers, told everything that it can be told: PING every 10 s as ours, restart by systemd, and for
/// deleted files a script that copies a saved one back, for monit itself restores no files.
/// </summary>
internal sealed class MonitPeer(LabHost host, int count)
{
    private const int FirstPort = 8000;

    /// <summary>The servers as things to harm.</summary>
    public IReadOnlyList<RepairTarget> Targets { get; } = [.. Enumerable.Range(0, count).Select(i => new RepairTarget
    {
        Unit = Name(i) + ".service",
        UnitFile = $"/etc/systemd/system/{Name(i)}.service",
        ConfigFile = $"/etc/bench-redis/{Name(i)}.conf",
        Port = FirstPort + i,
    })];

    /// <summary>False, and a note, when it cannot be had.</summary>
    public async Task<bool> StartAsync(BenchmarkReport report, CancellationToken stop)
    {
        var version = await host.RunAsync(["monit", "--version"], cancellationToken: stop);
        if (!version.Succeeded)
        {
            report.Note("monit cannot be had on the hosts of this lab");
            return false;
        }
        report.Note($"{version.Stdout.Split('\n')[0].Trim()}: restores no deleted files by itself; here it runs a script that copies saved ones back and reloads systemd");
        await host.ShellAsync("mkdir -p /etc/bench-redis /var/lib/bench-redis /var/lib/bench-redis/saved && chown redis: /var/lib/bench-redis", stop);
        for (var i = 0; i < count; i++)
        {
            await File.WriteAllTextAsync($"{host.RootPath}{Targets[i].ConfigFile}", Config(i), stop);
            await File.WriteAllTextAsync($"{host.RootPath}{Targets[i].UnitFile}", Unit(i), stop);
        }
        await host.WriteFileAsync("/usr/local/bin/bench-restore", Restore, "0755", stop);
        await host.ShellAsync("cp /etc/bench-redis/*.conf /etc/systemd/system/bench-redis-*.service /var/lib/bench-redis/saved/ && systemctl daemon-reload", stop);
        for (var i = 0; i < count; i++) await host.ShellAsync("systemctl start \"$1\"", stop, Targets[i].Unit);
        await host.WriteFileAsync("/etc/bench-monitrc", Monitrc(), "0600", stop);
        await host.ShellAsync("mkdir -p /var/lib/monit && monit -t -c /etc/bench-monitrc", stop);
        await WatchAsync(stop);
        return true;
    }

    /// <summary>Starts monit, and gives it three of its rounds to see every server.</summary>
    public async Task WatchAsync(CancellationToken stop)
    {
        await host.ShellAsync("systemctl is-active -q bench-monit || systemd-run -q --unit=bench-monit /usr/bin/monit -I -c /etc/bench-monitrc", stop);
        await Task.Delay(TimeSpan.FromSeconds(30), stop);
    }

    private static string Name(int i) => "bench-redis-" + i.ToString(CultureInfo.InvariantCulture);

    private const string Restore = """
        #!/bin/sh
        # What monit is told to run: puts saved files of one server back and lets systemd know.
        cp "/var/lib/bench-redis/saved/$1.conf" /etc/bench-redis/
        cp "/var/lib/bench-redis/saved/$1.service" /etc/systemd/system/
        systemctl daemon-reload
        systemctl reset-failed "$1"
        systemctl start "$1"
        """;

    private static string Config(int i) => $"""
        supervised systemd
        daemonize no
        logfile ""
        port {FirstPort + i}
        bind * -::*
        protected-mode no
        pidfile /run/{Name(i)}/redis.pid
        dir /var/lib/bench-redis
        dbfilename {Name(i)}.rdb
        appendonly yes
        appenddirname {Name(i)}.aof

        """;

    // As our own members' units where it matters for the time: the way it starts, stops and is started again.
    private static string Unit(int i) => $"""
        [Unit]
        Description=Redis {i} of the benchmark
        StartLimitIntervalSec=60
        StartLimitBurst=5

        [Service]
        Type=notify
        ExecStart=/usr/bin/redis-server /etc/bench-redis/{Name(i)}.conf
        User=redis
        Group=redis
        Restart=on-failure
        RestartSec=200ms
        TimeoutStopSec=60
        RuntimeDirectory={Name(i)}
        LimitNOFILE=65535

        """;

    private string Monitrc()
    {
        var text = new StringBuilder("""
            set daemon 10
            set log /var/log/bench-monit.log
            set idfile /var/lib/monit/bench.id
            set statefile /var/lib/monit/bench.state

            """);
        for (var i = 0; i < count; i++)
        {
            text.Append(CultureInfo.InvariantCulture, $"""
                check file {Name(i)}-unit with path {Targets[i].UnitFile}
                  if does not exist then exec "/usr/local/bin/bench-restore {Name(i)}" repeat every 1 cycles
                check file {Name(i)}-conf with path {Targets[i].ConfigFile}
                  if does not exist then exec "/usr/local/bin/bench-restore {Name(i)}" repeat every 1 cycles
                check process {Name(i)} with pidfile /run/{Name(i)}/redis.pid
                  start program = "/bin/sh -c 'systemctl reset-failed {Name(i)}; systemctl start {Name(i)}'" with timeout 20 seconds
                  stop program = "/usr/bin/systemctl stop {Name(i)}" with timeout 20 seconds
                  restart program = "/bin/sh -c 'systemctl reset-failed {Name(i)}; systemctl restart {Name(i)}'" with timeout 20 seconds
                  if failed host 127.0.0.1 port {FirstPort + i} protocol redis with timeout 2 seconds then restart

                """);
        }
        return text.ToString();
    }
}
