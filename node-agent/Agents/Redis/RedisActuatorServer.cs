using System.Collections.Immutable;
using System.Globalization;
using System.Text;
using AgentMetal.NodeAgent.Agents.Redis.Data;
using AgentMetal.NodeAgent.Agents.Redis.Tools;
using AgentMetal.NodeAgent.Host.Processes;
using AgentMetal.NodeAgent.Host.Systemd;
using AgentMetal.Runtime.Planning;
using static AgentMetal.NodeAgent.Host.Must;

namespace AgentMetal.NodeAgent.Agents.Redis;

/// <summary>Starts, stops and commands the server of one member.</summary>
internal sealed partial class RedisActuator
{
    private const int Sigkill = 9, Sigterm = 15;
    private static readonly TimeSpan Proof = TimeSpan.FromSeconds(5);
    private static readonly TimeSpan Online = TimeSpan.FromSeconds(5);
    private static readonly TimeSpan Politely = TimeSpan.FromSeconds(10);
    private static readonly TimeSpan Call = TimeSpan.FromSeconds(2);
    private static readonly TimeSpan Poll = TimeSpan.FromMilliseconds(100);

    /// <param name="role">The role that its peers' word and its data give it.</param>
    /// <param name="signed">A person has signed that it starts although the gate would hold it.</param>
    /// <param name="keep">Where its files are copied first; null = they are not.</param>
    /// <param name="ct">Ends it.</param>
    public async ValueTask StartAsync(string role, bool signed, string? keep, CancellationToken ct)
    {
        if (keep is not null) await ArchiveAsync(keep, ct).ConfigureAwait(false);
        // The role is on disk before the server is up, so that a restart by systemd from here on gives the same one.
        await WriteRole(role).ConfigureAwait(false);
        await writers.Units.ResetFailedAsync(_layout.Unit, Brief, ct).ConfigureAwait(false); // Refused for a unit that is not loaded.
        if (signed) Pass(role);
        Started(await writers.Units.StartAsync(_layout.Unit, StartDeadline, ct).ConfigureAwait(false));
    }

    /// <summary>A rename within the data directory: nothing is copied, and nothing is lost by a power cut.</summary>
    public async ValueTask SetAsideAsync(string from, string to, CancellationToken ct)
    {
        if (readers.Files.Look(_layout.DataDir + "/" + from) is { IsSeen: true, Value.Exists: false }) return; // It was done before.
        await RunAsync("/bin/mv", ["--no-target-directory", "--", _layout.DataDir + "/" + from, _layout.DataDir + "/" + to], ct).ConfigureAwait(false);
    }

    /// <summary>The copy first; then redis-check-aof cuts the last part at its damage; then a start that a person has signed.</summary>
    public async ValueTask RepairAsync(string role, string? keep, CancellationToken ct)
    {
        if (keep is not null) await ArchiveAsync(keep, ct).ConfigureAwait(false);
        var dir = _layout.DataDir + "/appendonlydir";
        var manifest = readers.Files.List(dir, MaxEntries) is { IsSeen: true, Value: var names } ? names.FirstOrDefault(n => n.EndsWith(".manifest", StringComparison.Ordinal)) : null;
        if (manifest is null) throw new WorldException("the manifest of the append-only file is gone");
        var outcome = await writers.Processes.RunAsync(new ProcessRequest
        {
            Program = "/usr/bin/redis-check-aof",
            Arguments = ["--fix", dir + "/" + manifest],
            Stdin = "y\n"u8.ToArray(),
            Deadline = TimeSpan.FromMinutes(30),
        }, ct).ConfigureAwait(false);
        if (!outcome.IsSuccess) throw new WorldException($"redis-check-aof: {outcome.Detail} {outcome.Stderr}");
        await StartAsync(role, signed: true, keep: null, ct).ConfigureAwait(false);
    }

    /// <summary>A server that reads a large data set is ready later than any deadline of ours; what is observed decides.</summary>
    private void Started(UnitOutcome outcome)
    {
        if (outcome.Result == UnitResult.Skipped)
            throw new WorldException("its start gate held it back: " + (RedisNotebook.GateSaid(readers.Files, scope) is { Verdict: "hold" } said ? said.Why : "see journalctl -u " + _layout.Unit));
        if (outcome.Result != UnitResult.DeadlinePassed) Done(outcome);
    }

    /// <summary>One start of this boot with this role, within a minute.</summary>
    private void Pass(string role)
    {
        var pass = new GatePass(role, clock.GetUtcNow().ToUnixTimeSeconds() + 60, RedisGateProgram.Boot(readers.Files));
        Done(writers.Files.Write(_layout.GatePass, System.Text.Json.JsonSerializer.SerializeToUtf8Bytes(pass, RedisNotesJson.Default.GatePass), Root(0x180)));
    }

    /// <summary>Starts the unit of a server that was taken over, and changes nothing of it.</summary>
    public async ValueTask StartAdoptedAsync(CancellationToken ct) => Done(await writers.Units.StartAsync(scope.Adopt, StartDeadline, ct).ConfigureAwait(false));

    /// <summary>
    /// Ends a server that answers nobody and starts it again. It is asked once more for some seconds: one that answers is not ended. The polite signal comes first,
    /// so that a server that only refuses us writes what it has; SIGKILL is for one that is proved to hear nothing.
    /// </summary>
    /// <param name="role">The role to come up with.</param>
    /// <param name="lost">What would be lost if it were killed in a state; null = nothing. A loss that nobody signed is asked about once more right before SIGKILL.</param>
    /// <param name="signed">A person has signed what is lost.</param>
    /// <param name="keep">Where its files are copied first; null = they are not.</param>
    /// <param name="ct">Ends it.</param>
    public async ValueTask EndAndStartAsync(string role, Func<RedisState, string?> lost, bool signed, string? keep, CancellationToken ct)
    {
        for (var until = clock.GetUtcNow() + Proof; clock.GetUtcNow() < until;)
        {
            var own = await RedisProbe.OwnAsync(scope.Endpoint, [.. Passwords().Values], ct).ConfigureAwait(false);
            if (own.Answers || own.Serving == Serving.Loading) throw new WorldException("it answers again, and is not ended");
            if (own.Serving != Serving.Hung) break;
            await Task.Delay(Poll, clock, ct).ConfigureAwait(false);
        }
        await writers.Units.KillAsync(_layout.Unit, KillTarget.Main, Sigterm, Brief, ct).ConfigureAwait(false); // Refused when it is dead already.
        for (var until = clock.GetUtcNow() + Politely; clock.GetUtcNow() < until;)
        {
            var unit = await readers.Units.GetUnitAsync(_layout.Unit, ct).ConfigureAwait(false);
            // One whose server has ended still notes that: SIGKILL would end the note with it.
            if (unit.IsSeen && ((unit.Value.MainPid == 0 && unit.Value.ActiveState != "deactivating") || unit.Value.ActiveState is "inactive" or "failed")) break;
            await Task.Delay(Poll, clock, ct).ConfigureAwait(false);
        }
        if (!signed) await EnsureHeldElsewhereAsync(lost, ct).ConfigureAwait(false);
        await writers.Units.KillAsync(_layout.Unit, KillTarget.All, Sigkill, Brief, ct).ConfigureAwait(false);
        if (keep is not null) await ArchiveAsync(keep, ct).ConfigureAwait(false);
        await WriteRole(role).ConfigureAwait(false);
        if (signed) Pass(role);
        Started(await writers.Units.RestartAsync(_layout.Unit, StartDeadline, ct).ConfigureAwait(false));
    }

    /// <summary>
    /// The proof and the polite signal take many seconds. The peer that had all of it when the step began may have died since, or come up with older files.
    /// </summary>
    private async ValueTask EnsureHeldElsewhereAsync(Func<RedisState, string?> lost, CancellationToken ct)
    {
        if (look is null) throw new InvalidOperationException("This actuator cannot look, and ends nothing.");
        var state = await look(ct).ConfigureAwait(false);
        if (!state.IsDown && lost(state) is { } loss)
            throw new WorldException($"it is not ended: what its peers had of it when this step began is not seen with them now, and {loss} would go");
    }

    /// <summary>What only memory holds is on disk before anything is stopped, or nothing is stopped.</summary>
    public async ValueTask ReconfigureAsync(ReconfigureArgs args, CancellationToken ct)
    {
        if (args.To is { } heir) await HandOverAsync(heir, Handover.TimeoutMs, ct).ConfigureAwait(false);
        else if (args.Keep is not null) await BackUpAsync(args.Keep, ct).ConfigureAwait(false);
        else if (args.Loss is null) await SaveAsync(ct).ConfigureAwait(false);
        await WriteConfig(args.Text).ConfigureAwait(false);
        await WriteRole(args.Role).ConfigureAwait(false);
        if (args.Loss is not null) Pass(args.Role);
        Started(await writers.Units.RestartAsync(_layout.Unit, StopDeadline + StartDeadline, ct).ConfigureAwait(false));
    }

    /// <summary>A server with snapshots only writes one before it is stopped: one that cannot save would not stop, and would be killed with all it has.</summary>
    private async ValueTask SaveAsync(CancellationToken ct)
    {
        using var client = await ConnectAsync(ct).ConfigureAwait(false);
        var info = await InfoAsync(client, ct).ConfigureAwait(false);
        if (info["aof_enabled"] == "1" || info["rdb_changes_since_last_save"] == "0") return;
        var save = await AskAsync(client, RespCommand.Of("CONFIG", "GET", "save"), ct).ConfigureAwait(false);
        if (save.Items is not [_, var rules] || rules.Text.Length == 0) return;
        await DumpAsync(client, ct).ConfigureAwait(false);
    }

    public async ValueTask ConfigSetAsync(string key, string value, CancellationToken ct)
    {
        using var client = await ConnectAsync(ct).ConfigureAwait(false);
        await OkAsync(client, RespCommand.Of("CONFIG", "SET", key, value), ct).ConfigureAwait(false);
    }

    /// <summary>The file first, with the password before kept beside it: whatever happens in between, the server's one is in a file of ours.</summary>
    public async ValueTask WriteAuthAsync(string digest, CancellationToken ct)
    {
        if (digest == FactValue.Absent)
        {
            Done(writers.Files.Delete(_layout.Auth));
            return;
        }
        if (!Passwords().TryGetValue(digest, out var wanted)) throw new WorldException("the password with this digest is no longer known here: plan again");
        using var client = await TryConnectAsync(ct).ConfigureAwait(false);
        EnsureConfDir();
        var current = readers.Files.Read(_layout.Auth, RedisObserver.MaxFileBytes);
        if (current is { IsSeen: true, Value: { State.Exists: true } file } && RedisAuth.Parse(Encoding.UTF8.GetString(file.Bytes.Span)).Ours
            && scope.Auth.DigestOf(RedisAuth.Parse(Encoding.UTF8.GetString(file.Bytes.Span)).Password) != digest)
            Done(writers.Files.Write(_layout.AuthPrevious, file.Bytes.Span, OfGroup(0x1A0)));
        Write(_layout.Auth, RedisAuth.Render(wanted), OfGroup(0x1A0));
        if (client is null) return;
        if (wanted is not null) await OkAsync(client, RespCommand.Secret("ACL", "SETUSER", RedisAuth.User, "reset", "on", "~*", "&*", "+@all", RedisAuth.Hash(wanted)), ct).ConfigureAwait(false);
        await OkAsync(client, RespCommand.Secret("CONFIG", "SET", "masterauth", wanted ?? ""), ct).ConfigureAwait(false);
        await OkAsync(client, RespCommand.Secret("CONFIG", "SET", "requirepass", wanted ?? ""), ct).ConfigureAwait(false);
    }

    public async ValueTask PromoteAsync(CancellationToken ct)
    {
        await WriteRole(RedisRole.Primary).ConfigureAwait(false);
        using var client = await ConnectAsync(ct).ConfigureAwait(false);
        await OkAsync(client, RespCommand.Of("REPLICAOF", "NO", "ONE"), ct).ConfigureAwait(false);
    }

    /// <summary>
    /// role.conf first, then FAILOVER, then look until the server has decided. Where it gave up it is still primary and role.conf is turned
    /// back; where we cannot see what it decided, the observer will.
    /// </summary>
    public async ValueTask HandOverAsync(string to, int timeoutMs, CancellationToken ct)
    {
        var role = RedisRole.Follows(to);
        var (host, port) = RedisRole.Target(role) ?? throw new WorldException(to + " is no address");
        using var client = await ConnectAsync(ct).ConfigureAwait(false);
        var info = await InfoAsync(client, ct).ConfigureAwait(false);
        if (info.Role == role) return;
        if (info["master_failover_state"] is "" or "no-failover")
        {
            await WriteRole(role).ConfigureAwait(false);
            var failover = RespCommand.Of("FAILOVER", "TO", host, port.ToString(CultureInfo.InvariantCulture), "TIMEOUT", timeoutMs.ToString(CultureInfo.InvariantCulture));
            var reply = await AskAsync(client, failover, ct).ConfigureAwait(false);
            // A replica that has just had its copy says so with its next word, within a second.
            for (var soon = clock.GetUtcNow() + Online; reply.IsError && reply.Text.Contains("not online", StringComparison.Ordinal) && clock.GetUtcNow() < soon;)
            {
                await Task.Delay(Poll, clock, ct).ConfigureAwait(false);
                reply = await AskAsync(client, failover, ct).ConfigureAwait(false);
            }
            if (reply.IsError)
            {
                await WriteRole(RedisRole.Primary).ConfigureAwait(false);
                throw new WorldException("FAILOVER: " + reply.Text);
            }
        }
        var until = clock.GetUtcNow() + TimeSpan.FromMilliseconds(timeoutMs) + TimeSpan.FromSeconds(10);
        while (clock.GetUtcNow() < until)
        {
            info = await InfoAsync(client, ct).ConfigureAwait(false);
            if (info["master_failover_state"] is "" or "no-failover")
            {
                if (info.Role == role) return;
                await WriteRole(RedisRole.Primary).ConfigureAwait(false);
                throw new WorldException($"the replica at {to} did not catch up within {timeoutMs} ms; this member is still primary");
            }
            await Task.Delay(Poll, clock, ct).ConfigureAwait(false);
        }
        await AskAsync(client, RespCommand.Of("FAILOVER", "ABORT"), ct).ConfigureAwait(false);
        throw new WorldException("the failover did not end in time and was aborted");
    }

    /// <summary>A fresh dump, copied to its place under a temporary name and renamed, so that a backup that is there is whole.</summary>
    public async ValueTask BackUpAsync(string path, CancellationToken ct)
    {
        using var client = await ConnectAsync(ct).ConfigureAwait(false);
        await DumpAsync(client, ct).ConfigureAwait(false);
        await KeepAsync(path, "/bin/cp", ["--reflink=auto", "--", _layout.DataDir + "/dump.rdb", path + ".partial"], ct).ConfigureAwait(false);
    }

    /// <summary>A server whose last save failed saves again.</summary>
    public async ValueTask SaveAgainAsync(CancellationToken ct)
    {
        using var client = await ConnectAsync(ct).ConfigureAwait(false);
        await DumpAsync(client, ct).ConfigureAwait(false);
    }

    /// <summary>A fresh dump in the data directory.</summary>
    private async ValueTask DumpAsync(RespClient client, CancellationToken ct)
    {
        var before = (await InfoAsync(client, ct).ConfigureAwait(false))["rdb_last_save_time"];
        await Task.Delay(TimeSpan.FromMilliseconds(1100), clock, ct).ConfigureAwait(false); // The time of a save counts whole seconds.
        await OkAsync(client, RespCommand.Of("BGSAVE", "SCHEDULE"), ct).ConfigureAwait(false);
        var until = clock.GetUtcNow() + TimeSpan.FromMinutes(60);
        while (true)
        {
            var info = await InfoAsync(client, ct).ConfigureAwait(false);
            // While the append-only file is made anew the save waits for that, and the status is that of the one before.
            if (info["rdb_bgsave_in_progress"] == "0" && info["aof_rewrite_in_progress"] == "0" && info["rdb_last_bgsave_status"] == "err") throw new WorldException("BGSAVE failed: see the server's log");
            if (info["rdb_bgsave_in_progress"] == "0" && info["rdb_last_save_time"] != before) break;
            if (clock.GetUtcNow() > until) throw new WorldException("BGSAVE did not end within an hour");
            await Task.Delay(Poll, clock, ct).ConfigureAwait(false);
        }
    }

    /// <summary>The data directory of a server that is down, as it lies there.</summary>
    public async ValueTask ArchiveAsync(string path, CancellationToken ct) =>
        await KeepAsync(path, "/bin/tar", ["--create", "--numeric-owner", "--file=" + path + ".partial", "--directory=" + _layout.DataDir, "."], ct).ConfigureAwait(false);

    /// <summary>Lets a program write the copy beside its place, makes it durable, and puts it there.</summary>
    private async ValueTask KeepAsync(string path, string program, string[] arguments, CancellationToken ct)
    {
        Done(writers.Files.EnsureDirectory(Parent(_layout.BackupDir), Root(0x1ED)));
        Done(writers.Files.EnsureDirectory(_layout.BackupDir, Root(0x1C0))); // 0700
        await RunAsync(program, arguments, ct).ConfigureAwait(false);
        // The data goes next: its last copy and the copy's name must be on the disk before.
        Done(await writers.Files.PlaceAsync(path + ".partial", path).ConfigureAwait(false));
    }

    private async ValueTask RunAsync(string program, string[] arguments, CancellationToken ct)
    {
        var outcome = await writers.Processes.RunAsync(new ProcessRequest { Program = program, Arguments = arguments, Deadline = TimeSpan.FromMinutes(30) }, ct).ConfigureAwait(false);
        if (!outcome.IsSuccess) throw new WorldException($"{program}: {outcome.Detail} {outcome.Stderr}");
    }

    /// <summary>Every password that the server may have now, by digest: the wanted one, the file's, and the one before it.</summary>
    private Dictionary<string, string?> Passwords()
    {
        var known = new Dictionary<string, string?>(StringComparer.Ordinal) { [scope.Auth.Digest] = scope.Auth.Password };
        foreach (var password in RedisObserver.PasswordsInFiles(readers.Files, _layout.ConfDir)) known.TryAdd(scope.Auth.DigestOf(password), password);
        return known;
    }

    private async ValueTask<RespClient> ConnectAsync(CancellationToken ct) =>
        await TryConnectAsync(ct).ConfigureAwait(false) ?? throw new WorldException("the server is down");

    private async ValueTask<RespClient?> TryConnectAsync(CancellationToken ct)
    {
        try
        {
            var session = await RedisSession.OpenAsync(scope.Endpoint, [.. Passwords().Values], Call, ct).ConfigureAwait(false);
            return session.Client ?? throw new WorldException("the server takes no password that is known here");
        }
        catch (RespException e) when (e.Failure == RespFailure.Refused)
        {
            return null;
        }
        catch (RespException e)
        {
            throw new WorldException("the server does not answer: " + e.Message, e);
        }
    }

    private static async ValueTask OkAsync(RespClient client, RespCommand command, CancellationToken ct)
    {
        var reply = await AskAsync(client, command, ct).ConfigureAwait(false);
        if (reply.IsError) throw new WorldException($"{command}: {reply.Text}");
    }

    private static async ValueTask<RespReply> AskAsync(RespClient client, RespCommand command, CancellationToken ct)
    {
        try
        {
            return await client.CallAsync(command, Call, ct).ConfigureAwait(false);
        }
        catch (RespException e)
        {
            throw new WorldException($"{command}: {e.Message}", e);
        }
    }

    private static async ValueTask<RedisInfo> InfoAsync(RespClient client, CancellationToken ct)
    {
        try
        {
            return RedisInfo.Of(await client.CallAsync(RedisInfo.Commands, Call, ct).ConfigureAwait(false));
        }
        catch (RespException e)
        {
            throw new WorldException("INFO: " + e.Message, e);
        }
    }
}
