using System.Text;
using System.Text.Json;
using System.Text.Json.Serialization.Metadata;
using AgentMetal.NodeAgent.Agents.Instance.Tools;
using AgentMetal.NodeAgent.Host.Libvirt;
using AgentMetal.Runtime.Planning;
using static AgentMetal.NodeAgent.Host.Must;

namespace AgentMetal.NodeAgent.Agents.Instance;

/// <summary>How far a change is that is on trial.</summary>
/// <param name="Digest">Of the change.</param>
/// <param name="Stage">stopping, starting or probing.</param>
/// <param name="Offset">Bytes that the console log had before the start.</param>
/// <param name="Until">When its time is over, Unix milliseconds; 0 = not started yet.</param>
/// <param name="Over">Why it will not pass any more; empty while it may.</param>
internal sealed record TrialFile(string Digest, string Stage, long Offset, long Until, string Over)
{
    public const string Stopping = "stopping", Starting = "starting", Probing = "probing";
}

/// <summary>The change that was taken back last.</summary>
/// <param name="Digest">Of the change.</param>
/// <param name="At">Unix time.</param>
/// <param name="Why">For people.</param>
internal sealed record RevertedFile(string Digest, long At, string Why);

internal sealed partial class InstanceActuator
{
    private const int MaxMarker = 16 * 1024;
    private const int MaxReverts = 3;
    private static readonly TimeSpan SnapshotDeadline = TimeSpan.FromMinutes(20);
    private static readonly TimeSpan RevertDeadline = TimeSpan.FromMinutes(5);
    private static readonly TimeSpan BetweenProbes = TimeSpan.FromSeconds(1);

    public async ValueTask CreateSnapshotAsync(SnapshotArgs args, CancellationToken stop)
    {
        var outcome = await writers.Domains.CreateSnapshotAsync(scope.Uuid, SnapshotXml.Render(args.Name, args.Owner, args.Sizes), SnapshotFlags.None, SnapshotDeadline, stop);
        if (outcome.IsDone) return;
        // One that was being made when the daemon died is there by now; whether it is the right one is observed.
        var there = await readers.Domains.SnapshotsAsync(scope.Uuid, stop);
        if (!there.IsSeen || !there.Value.Any(s => s.Name == args.Name)) Done(outcome);
    }

    public async ValueTask DeleteSnapshotAsync(string name, CancellationToken stop) => DoneOrGone(await writers.Domains.DeleteSnapshotAsync(scope.Uuid, name, SnapshotDeadline, stop));

    /// <summary>The markers are last, and what ends the trial is the last of them: while it is open the machine is put back again, which changes nothing.</summary>
    public async ValueTask RevertSnapshotAsync(RevertArgs args, CancellationToken stop)
    {
        // It is what ends a disturbance, and an undo is made once: what is in the way for a moment (a job of libvirt's) must not be the end of it.
        for (var tries = 1; await writers.Domains.RevertSnapshotAsync(scope.Uuid, args.Name, start: false, RevertDeadline, stop) is { IsDone: false } refused; tries++)
        {
            if (tries == MaxReverts) Done(refused);
            await Task.Delay(BetweenProbes, clock, stop);
        }
        if (args.TakesBack.Length > 0)
        {
            // Without a trial it was taken back already, by a daemon that was killed before it could note so: why is known.
            var trial = Read(_layout.Trial, InstanceJson.Default.TrialFile);
            if (trial is not null || Read(_layout.Reverted, InstanceJson.Default.RevertedFile)?.Digest != args.TakesBack)
                Write(_layout.Reverted, new RevertedFile(args.TakesBack, clock.GetUtcNow().ToUnixTimeSeconds(), trial is { Over.Length: > 0 } ? trial.Over : "its restart failed"), InstanceJson.Default.RevertedFile);
        }
        if (args.Request.Length > 0) NoteRequest(args.Request);
        Done(writers.Files.Delete(_layout.Hung));
        Done(writers.Files.Delete(_layout.Trial));
    }

    /// <summary>Begins the trial or goes on with it, and returns when the machine has proved itself.</summary>
    /// <exception cref="WorldException">It did not in its time, or could not be restarted.</exception>
    public async ValueTask TryRestartAsync(TryArgs args, CancellationToken stop)
    {
        var trial = Read(_layout.Trial, InstanceJson.Default.TrialFile) is { } open && open.Digest == args.Digest && open.Over.Length == 0 ? open : new TrialFile(args.Digest, TrialFile.Stopping, 0, 0, "");
        if (trial.Stage == TrialFile.Stopping)
        {
            Write(trial);
            try { await ShutDownAsync(new StopArgs(args.StopSeconds, args.Force), stop); }
            catch (WorldException)
            {
                // A guest that does not shut down runs as it did: there is nothing to take back.
                Done(writers.Files.Delete(_layout.Trial));
                throw;
            }
            trial = trial with { Stage = TrialFile.Starting, Offset = ConsoleLength() };
            Write(trial);
        }
        if (trial.Stage == TrialFile.Starting)
        {
            try
            {
                if (args.Xml is { Length: > 0 } && (await DomainAsync(stop)).Domain.ActiveXml.Length == 0) await DefineAsync(args.Xml, stop);
                await StartAsync(stop);
            }
            catch (WorldException e) { throw Over(trial, "it could not be started: " + e.Message); }
            trial = trial with { Stage = TrialFile.Probing, Until = clock.GetUtcNow().AddSeconds(args.Seconds).ToUnixTimeMilliseconds() };
            Write(trial);
        }
        await ProveAsync(args, trial, stop);
        Done(writers.Files.Delete(_layout.Trial));
    }

    private async Task ProveAsync(TryArgs args, TrialFile trial, CancellationToken stop)
    {
        var began = clock.GetTimestamp();
        while (true)
        {
            var (_, domain) = await DomainAsync(stop);
            if (domain.Power is DomainPower.ShutOff or DomainPower.Crashed) throw Over(trial, $"the machine went off ({domain.Reason})");
            if (await MissingAsync(args, trial.Offset, stop) is not { } missing) return;
            // A spec that was corrected does not wait for the end of one that was not.
            if (IsSuperseded()) throw Over(trial, $"the spec was changed while it was on trial ({missing} so far)");
            // By either clock: one that was set meanwhile must not make a trial endless.
            if (clock.GetUtcNow().ToUnixTimeMilliseconds() >= trial.Until || clock.GetElapsedTime(began).TotalSeconds >= args.Seconds) throw Over(trial, $"its probe failed ({missing} in {args.Seconds} s)");
            await Task.Delay(BetweenProbes, clock, stop);
        }
    }

    /// <summary>What the machine has not shown yet; null = it has shown all.</summary>
    private async Task<string?> MissingAsync(TryArgs args, long offset, CancellationToken stop)
    {
        if (args.ConsoleText.Length > 0 && !Said(args.ConsoleText, offset)) return $"\"{args.ConsoleText}\" was not said on its console";
        if (args.GuestAgent && !(await readers.Domains.AddressesAsync(scope.Uuid, AddressSource.Agent, stop)).IsSeen) return "no answer of its guest agent";
        if (args.TcpPort > 0 && !await GuestPort.AnswersAsync(readers.Domains, scope.Uuid, args.TcpPort, stop)) return $"no tcp answer on port {args.TcpPort}";
        return null;
    }

    private bool Said(string text, long offset)
    {
        var log = readers.Files.Read(_layout.ConsoleLog, MaxConsole);
        if (!log.IsSeen || !log.Value.State.Exists) return false;
        var bytes = log.Value.Bytes.Span;
        // A log that became shorter was begun anew by virtlogd: all that is in it is from after the start.
        return bytes[(int)(offset <= bytes.Length ? offset : 0)..].IndexOf(Encoding.UTF8.GetBytes(text)) >= 0;
    }

    /// <summary>virtlogd begins a new log at 2 MiB.</summary>
    private const int MaxConsole = 8 * 1024 * 1024;

    private long ConsoleLength() => readers.Files.Look(_layout.ConsoleLog) is { IsSeen: true } log ? log.Value.Size : 0;

    private WorldException Over(TrialFile trial, string why)
    {
        Write(trial with { Over = why });
        return new WorldException(why);
    }

    private T? Read<T>(string path, JsonTypeInfo<T> json)
        where T : class
    {
        var file = readers.Files.Read(path, MaxMarker);
        if (!file.IsSeen) throw new WorldException(file.WhyUnseen!);
        try { return file.Value.State.Exists ? JsonSerializer.Deserialize(file.Value.Bytes.Span, json) : null; }
        catch (JsonException e) { throw new WorldException(path + " cannot be understood: " + e.Message); }
    }

    private void Write(TrialFile trial) => Write(_layout.Trial, trial, InstanceJson.Default.TrialFile);

    private void Write<T>(string path, T value, JsonTypeInfo<T> json) => Done(writers.Files.Write(path, JsonSerializer.SerializeToUtf8Bytes(value, json), Root(0x180))); // 0600
}
