using System.Collections.Immutable;
using System.Text;
using AgentMetal.NodeAgent.Agents.Redis.Data;
using AgentMetal.NodeAgent.Host;
using AgentMetal.NodeAgent.Host.Files;
using AgentMetal.NodeAgent.Host.Packages;
using AgentMetal.NodeAgent.Host.Systemd;
using AgentMetal.NodeAgent.Pipeline;
using AgentMetal.Runtime.Execution;
using AgentMetal.Runtime.Planning;

namespace AgentMetal.NodeAgent.Agents.Redis;

/// <summary>Reads one member: its files, its unit, its server through the server's own socket, and its peers over the network.</summary>
/// <param name="scope">The member.</param>
/// <param name="readers">The host, to look.</param>
/// <param name="book">What is known of it from before.</param>
/// <param name="peers">The other members.</param>
/// <param name="struck">Members of hosts that were struck off, also when they are made anew elsewhere by now.</param>
internal sealed class RedisObserver(RedisScope scope, RedisReaders readers, RedisNotebook book, ImmutableArray<RedisPeer> peers, ImmutableArray<StruckPeer> struck = default) : IStateObserver<RedisState>
{
    /// <summary>Longest unit, override or configuration file that is looked at.</summary>
    internal const int MaxFileBytes = 64 * 1024;

    private const int MaxDropIns = 32;

    private readonly RedisLayout _layout = scope.Layout;

    public async ValueTask<RedisState> ObserveAsync(CancellationToken stop)
    {
        var passwords = Passwords();
        // Before the server is asked: files are then never newer than what it says of itself.
        var disk = RedisDisk.Look(readers.Files, _layout.DataDir);
        // The peers are asked while this host is read: together they take as long as the slowest.
        var others = peers.Select(p => p.Struck ? Task.FromResult(RedisProbe.Struck(p)) : RedisProbe.PeerAsync(p, passwords, stop).AsTask()).ToArray();
        var probe = RedisProbe.OwnAsync(scope.Endpoint, passwords, stop).AsTask();
        var package = await readers.Packages.GetAsync(RedisLayout.Package, stop).ConfigureAwait(false);
        var unit = await readers.Units.GetUnitAsync(scope.Unit, stop).ConfigureAwait(false);
        var own = await probe.ConfigureAwait(false);
        var seen = await Task.WhenAll(others).ConfigureAwait(false);
        var state = WithServer(OfHost(package, unit, own), own);
        state = WithPeers(state with { Port = state.IsDown && scope.Goal is { } goal && RedisProbe.Listens(goal.Self.Port) ? Port.Taken : Port.Free }, own, seen);
        if (scope.Adopt.Length > 0) return state;
        // A server that ended by itself may have met what its files do not show at their ends; its gate may have held a start since.
        if (state.IsDown && unit is { IsSeen: true, Value.Result: "exit-code" or "exec-condition" or "start-limit-hit" }) disk = book.Scanned(scope, disk);
        return await WithNotesAsync(state, disk, own, seen, stop).ConfigureAwait(false);
    }

    private async ValueTask<RedisState> WithNotesAsync(RedisState state, RedisDisk disk, OwnServer own, IReadOnlyList<PeerServer> seen, CancellationToken stop)
    {
        var notes = book.See(scope, own, disk, seen, RedisNotebook.Read(readers.Files, scope), struck: struck);
        // A server that runs is what it says, whatever was put back beneath it.
        var putBack = state.IsDown && notes is not null && RedisStarts.ArePutBack(readers.Files, _layout.Notes, notes);
        if (putBack) notes = RedisStarts.MembersOf(notes!);
        else if (state.IsDown) notes = await book.SeeOwnWritesAsync(scope, notes, disk, seen, [.. Passwords(), null], stop).ConfigureAwait(false);
        return state with
        {
            Address = scope.Goal?.Self.Address ?? "",
            Own = own.Info is { } info ? book.DataOf(info, disk) : null,
            Disk = disk,
            Notes = notes,
            GateSaid = RedisNotebook.GateSaid(readers.Files, scope),
            End = putBack ? ServerEnd.Unseen : state.IsDown ? RedisEnd.Of(readers.Files, _layout.Notes, disk, state.FileSettings.GetValueOrDefault("appendonly") == "yes") : ServerEnd.Whole,
            HasRoom = HasRoomForACopy(state, disk),
        };
    }

    /// <summary>Whether a copy of the data fits where copies are kept: twice over, so that the copy is not what fills the disk.</summary>
    private bool HasRoomForACopy(RedisState state, RedisDisk disk)
    {
        var needed = Math.Max((disk.Dump?.Size ?? 0) + (disk.Aof is { } aof ? aof.BaseSize + aof.PartSize : 0), 1024 * 1024);
        return (state.Writes != Writes.Refused || state.HasRoomToSave) && readers.Files.Space(_layout.BackupDir) is { IsSeen: true, Value: var space } && space.AvailableBytes >= 2 * needed;
    }

    /// <summary>Passwords in the files of a member, the current one first.</summary>
    internal static IEnumerable<string?> PasswordsInFiles(IFileReader files, string confDir)
    {
        foreach (var path in (string[])[confDir + "/auth.conf", confDir + "/auth.conf.previous"])
            if (files.Read(path, MaxFileBytes) is { IsSeen: true, Value: { State.Exists: true } file } && RedisAuth.Parse(Encoding.UTF8.GetString(file.Bytes.Span)) is (true, _, var password))
                yield return password;
    }

    private ImmutableArray<string?> Passwords() => [scope.Auth.Password, .. PasswordsInFiles(readers.Files, _layout.ConfDir)];

    private RedisState OfHost(Observed<PackageState> package, Observed<UnitState> unit, OwnServer own)
    {
        var user = readers.Files.User(RedisLayout.User);
        var (configFile, configText) = Text(_layout.Config, user);
        var (unitFile, unitText) = Text(_layout.UnitPath, null);
        var fileAppends = RedisRender.Parse(configText).GetValueOrDefault("appendonly") != "no";
        var aofCounts = own.Answers ? own.Settings.GetValueOrDefault("appendonly") == "yes" && !own.Info!.Rewriting : fileAppends;
        return new()
        {
            Package = !package.IsSeen ? FactValue.Unseen("dpkg") : package.Value.Status switch
            {
                PackageStatus.Installed => RedisPackage.Installed,
                PackageStatus.Broken => RedisPackage.Broken,
                _ => FactValue.Absent,
            },
            UnitFile = unitFile,
            UnitText = unitText,
            UnitEnabled = readers.Files.Look(_layout.EnabledLink) is var link && !link.IsSeen ? FactValue.Unseen("cannot be read") : link.Value.Exists ? "enabled" : "disabled",
            Adopted = scope.Adopt.Length == 0 ? FactValue.Absent : !unit.IsSeen ? FactValue.Unseen("systemd") : unit.Value.IsAbsent ? "missing" : scope.Adopt,
            UnitActive = !unit.IsSeen ? FactValue.Unseen("systemd") : unit.Value.ActiveState,
            UnitStale = scope.Adopt.Length > 0 ? Yes.No : !unit.IsSeen ? FactValue.Unseen("systemd")
                : unit.Value.NeedDaemonReload || (unit.Value.IsAbsent && unitFile != FactValue.Absent) || (!unit.Value.IsAbsent && unitFile == FactValue.Absent) ? Yes.It : Yes.No,
            DropIns = DropIns(unit),
            ConfigFile = configFile,
            ConfigText = configText,
            AuthFile = AuthFile(user),
            RoleFile = RoleFile(user),
            DataDir = DataDir(user),
            Data = RedisDataFiles.Look(readers.Files, _layout.DataDir, aofCounts),
            Backup = Backup(),
            Serving = own.Serving,
            Detail = unit.IsSeen && unit.Value.Result is not ("" or "success") ? $"its unit ended with {unit.Value.Result}" : "",
        };
    }

    private string Backup()
    {
        var hot = readers.Files.Look(_layout.Backup(scope.ResourceUid, scope.Generation));
        var cold = readers.Files.Look(_layout.ColdBackup(scope.ResourceUid, scope.Generation));
        if (!hot.IsSeen || !cold.IsSeen) return FactValue.Unseen("backup");
        return hot.Value.Exists || cold.Value.Exists ? Tools.LastBackup.Present : FactValue.Absent;
    }

    private RedisState WithServer(RedisState state, OwnServer own) => own.Info is not { } info ? state with { Progress = null } : state with
    {
        Role = info.Role,
        Link = info.Link,
        Writes = own.Writes,
        MemoryFull = info.MemoryFull is { } full ? $"{Amounts.Of(full.Used)} used of maxmemory {Amounts.Of(full.Max)}" : "",
        Room = own.Writes == Writes.Refused ? Room() : "",
        HasRoomToSave = own.Writes == Writes.Refused && info["rdb_last_bgsave_status"] == "err"
            && (info.Number("used_memory_dataset") ?? info.Number("used_memory")) is { } used
            && readers.Files.Space(_layout.DataDir) is { IsSeen: true, Value: { IsReadOnly: false, AvailableInodes: > 0 } space } && space.AvailableBytes >= used,
        Online = peers.Count(p => info.Online.Contains(p.Address, StringComparer.Ordinal)),
        Silent = info.Silent,
        AuthLive = own.MasterAuth == (own.Password ?? "") ? scope.Auth.DigestOf(own.Password) : "mixed:" + scope.Auth.DigestOf(own.MasterAuth),
        Keys = info.Keys,
        Live = own.Settings,
        Progress = info.Progress,
        Rewriting = info.Rewriting,
        HoldsWrites = info.HoldsWrites,
    };

    /// <summary>Where the data is written to, and how full that is.</summary>
    private string Room() => readers.Files.Space(_layout.DataDir) is { IsSeen: true, Value: var space }
        ? $"{_layout.DataDir}: {Amounts.Of(space.TotalBytes - space.AvailableBytes)} of {Amounts.Of(space.TotalBytes)} used, {Amounts.Of(space.AvailableBytes)} free{(space.AvailableInodes == 0 ? ", and no file can be made (no inodes)" : "")}{(space.IsReadOnly ? ", mounted read-only" : "")}"
        : _layout.DataDir;

    private RedisState WithPeers(RedisState state, OwnServer own, IReadOnlyList<PeerServer> seen)
    {
        var primaryOffset = state.Leads ? own.Info!.Offset : seen.Where(p => p.State.Leads).Select(p => p.Info!.Offset).DefaultIfEmpty(0).Max();
        var map = seen.ToImmutableSortedDictionary(p => p.Ordinal, p => p.State with
        {
            Link = Lagging(p.State.Link, p.Info, primaryOffset),
            Data = p.Info is { } info ? book.DataOf(info) : null,
            IsLong = book.IsLong(scope, p.Ordinal, p.State.Answers),
        });
        var other = state.Leads ? seen.FirstOrDefault(p => p.State.Leads)?.Info : null;
        return state with
        {
            Peers = map,
            Link = Lagging(state.Link, own.Info, primaryOffset),
            Fork = other is null ? FactValue.Absent : IsClean(own.Info!, other) ? Tools.RedisFork.Clean : Tools.RedisFork.Written,
        };
    }

    private static string Lagging(string link, RedisInfo? info, long primaryOffset) =>
        link == Link.Up && info is not null && primaryOffset - info.Offset > RedisProbe.LaggingBytes ? Link.Lagging : link;

    /// <summary>It left the other's stream, and its own has not moved since: what it has, the other has.</summary>
    private static bool IsClean(RedisInfo own, RedisInfo other) => own["master_replid2"] == other["master_replid"]
        && own.Number("second_repl_offset") is { } left && own.Number("master_repl_offset") is { } now && now + 1 == left;

    private (string Fact, string? Text) Text(string path, Observed<UserState>? group)
    {
        var read = readers.Files.Read(path, MaxFileBytes);
        if (!read.IsSeen) return (FactValue.Unseen("cannot be read"), null);
        if (!read.Value.State.Exists) return (FactValue.Absent, null);
        if (read.Value.State.Kind != FileKind.File) return ("not-a-file", null);
        var bytes = read.Value.Bytes.Span;
        var text = Encoding.UTF8.GetString(bytes);
        var faithful = Encoding.UTF8.GetByteCount(text) == bytes.Length && !text.Contains('\uFFFD', StringComparison.Ordinal);
        return (RedisRender.Digest(bytes) + Mode(read.Value.State, group, group is null ? 0x1A4u : 0x1A0u), faithful ? text : null);
    }

    /// <summary>Nothing when owner and mode are as they should be, so that content alone makes the fact.</summary>
    private static string Mode(FileState file, Observed<UserState>? group, uint mode)
    {
        var gid = group is null ? 0 : group.Value.ValueOrNull is { Exists: true } user ? user.Gid : uint.MaxValue;
        return file.Uid == 0 && file.Gid == gid && file.Mode == mode ? "" : "!mode";
    }

    private string AuthFile(Observed<UserState> user)
    {
        var read = readers.Files.Read(_layout.Auth, MaxFileBytes);
        if (!read.IsSeen) return FactValue.Unseen("cannot be read");
        if (!read.Value.State.Exists) return FactValue.Absent;
        var (ours, current, password) = RedisAuth.Parse(Encoding.UTF8.GetString(read.Value.Bytes.Span));
        return (ours ? scope.Auth.DigestOf(password) + (current ? "" : "!form") : scope.Auth.DigestOfForeign(read.Value.Bytes.Span)) + Mode(read.Value.State, user, 0x1A0);
    }

    private string RoleFile(Observed<UserState> user)
    {
        var read = readers.Files.Read(_layout.Role, MaxFileBytes);
        if (!read.IsSeen) return FactValue.Unseen("cannot be read");
        if (!read.Value.State.Exists) return FactValue.Absent;
        return (RedisRender.ParseRole(Encoding.UTF8.GetString(read.Value.Bytes.Span)) ?? "other") + Mode(read.Value.State, user, 0x1A0);
    }

    private string DataDir(Observed<UserState> user)
    {
        var look = readers.Files.Look(_layout.DataDir);
        if (!look.IsSeen) return FactValue.Unseen("cannot be read");
        var dir = look.Value;
        if (!dir.Exists) return FactValue.Absent;
        if (dir.Kind != FileKind.Directory) return "not-a-directory";
        if (user.ValueOrNull is not { Exists: true } owner) return "wrong:no-user";
        if (dir.Uid != owner.Uid || dir.Gid != owner.Gid || dir.Mode != 0x1E8) return $"wrong:{dir.Uid}:{dir.Gid}:{Convert.ToString(dir.Mode, 8)}";
        return ForeignContent(owner, _layout.DataDir) ?? ForeignContent(owner, _layout.DataDir + "/appendonlydir") ?? DataDirState.Ok;
    }

    /// <summary>A file that the server cannot read or write ends it at its next start.</summary>
    private string? ForeignContent(UserState owner, string dir)
    {
        var names = readers.Files.List(dir, 1000);
        if (!names.IsSeen) return null;
        foreach (var name in names.Value)
            if (readers.Files.Look(dir + "/" + name) is { IsSeen: true, Value: { Kind: FileKind.File or FileKind.Directory } file }
                && (file.Uid != owner.Uid || (file.Mode & 0x180) != 0x180)) return "wrong:content";
        return null;
    }

    /// <summary>On disk, because systemd names one only after a reload; and where else systemd has found one for this very unit.</summary>
    private ImmutableSortedDictionary<string, string> DropIns(Observed<UnitState> unit)
    {
        var found = RedisSettings.None.ToBuilder();
        IEnumerable<string> paths = readers.Files.Look(_layout.DropInDir) is { IsSeen: true, Value.Kind: FileKind.Directory } && readers.Files.List(_layout.DropInDir, 1000) is { IsSeen: true } names
            ? names.Value.Where(n => n.EndsWith(".conf", StringComparison.Ordinal)).Select(n => _layout.DropInDir + "/" + n) : [];
        if (unit.IsSeen) paths = paths.Concat(unit.Value.DropInPaths);
        foreach (var path in paths.Where(p => _layout.IsDropIn(p) || _layout.IsPrefixDropIn(p)).Distinct(StringComparer.Ordinal).Take(MaxDropIns))
            if (readers.Files.Read(path, MaxFileBytes) is { IsSeen: true, Value: { State.Exists: true } file } && Encoding.UTF8.GetString(file.Bytes.Span) is var text && (_layout.IsDropIn(path) || IsOfPrograms(text)))
                found[path] = text;
        return found.ToImmutable();
    }

    /// <summary>One for all members may give them another priority; one that takes their programs away takes their start gate away.</summary>
    private static bool IsOfPrograms(string text) => text.Split('\n').Any(l => l.TrimStart() is var line && line.StartsWith("Exec", StringComparison.Ordinal));
}
