using System.Text;
using AgentMetal.NodeAgent.Host.Files;
using AgentMetal.NodeAgent.Host.Packages;
using AgentMetal.NodeAgent.Host.Systemd;
using AgentMetal.Runtime.Planning;
using static AgentMetal.NodeAgent.Host.Must;

namespace AgentMetal.NodeAgent.Agents.Redis;

/// <summary>Carries out what the tools decide: files, unit and package of one member. What speaks to the server is in the other part.</summary>
/// <param name="scope">Of the member.</param>
/// <param name="readers">What it sees.</param>
/// <param name="writers">What it changes.</param>
/// <param name="clock">Of its deadlines.</param>
/// <param name="look">Looks at this member and its peers anew, for a step that takes a while before it destroys anything; null = such a step is refused.</param>
internal sealed partial class RedisActuator(RedisScope scope, RedisReaders readers, RedisWriters writers, TimeProvider clock, Func<CancellationToken, ValueTask<RedisState>>? look = null)
{
    private const int MaxEntries = 10_000;
    private static readonly TimeSpan Brief = TimeSpan.FromSeconds(20);
    private static readonly TimeSpan StopDeadline = TimeSpan.FromSeconds(90);
    private static readonly TimeSpan StartDeadline = TimeSpan.FromSeconds(30);

    private readonly RedisLayout _layout = scope.Layout;

    public async ValueTask InstallAsync(string package, CancellationToken ct)
    {
        var outcome = await writers.Packages.InstallAsync(new PackageRequest { Name = package, QuietUnits = [RedisLayout.StockUnit], Deadline = TimeSpan.FromMinutes(9) }, ct).ConfigureAwait(false);
        if (!outcome.IsDone) throw new WorldException($"{package}: {outcome.Result}: {outcome.Detail}");
    }

    public ValueTask CreateDataDir()
    {
        Done(writers.Files.EnsureDirectory(Parent(_layout.DataParent), Root(0x1ED))); // 0755
        Done(writers.Files.EnsureDirectory(_layout.DataParent, Root(0x1ED)));
        Done(writers.Files.EnsureDirectory(_layout.DataDir, OfUser(0x1E8))); // 0750
        return default;
    }

    public ValueTask RemoveEmptyDataDir()
    {
        Done(writers.Files.DeleteTree(_layout.DataDir, 0));
        return default;
    }

    public ValueTask FixDataDir()
    {
        var owner = OfUser(0x1E8);
        Done(writers.Files.ChownTree(_layout.DataDir, owner.Uid, owner.Gid, MaxEntries));
        Done(writers.Files.SetOwnership(_layout.DataDir, owner));
        return default;
    }

    public async ValueTask WriteUnitAsync(string? text, CancellationToken ct)
    {
        Write(_layout.UnitPath, text, Root(0x1A4)); // 0644
        Done(await writers.Units.ReloadDaemonAsync(Brief, ct).ConfigureAwait(false));
    }

    public async ValueTask WriteDropInAsync(string path, string? text, CancellationToken ct)
    {
        if (!_layout.IsDropIn(path) && !_layout.IsPrefixDropIn(path)) throw new WorldException($"{path} is not an override of {_layout.Unit} that can be removed");
        if (text is not null) Done(writers.Files.EnsureDirectory(Parent(path), Root(0x1ED)));
        Write(path, text, Root(0x1A4));
        Done(await writers.Units.ReloadDaemonAsync(Brief, ct).ConfigureAwait(false));
    }

    public async ValueTask EnableAsync(bool on, CancellationToken ct)
    {
        Done(on ? await writers.Units.EnableAsync([_layout.Unit], Brief, ct).ConfigureAwait(false) : await writers.Units.DisableAsync([_layout.Unit], Brief, ct).ConfigureAwait(false));
        Done(await writers.Units.ReloadDaemonAsync(Brief, ct).ConfigureAwait(false));
    }

    public ValueTask WriteConfig(string? text)
    {
        EnsureConfDir();
        Write(_layout.Config, text, OfGroup(0x1A0)); // 0640
        return default;
    }

    public ValueTask WriteRole(string role)
    {
        EnsureConfDir();
        Write(_layout.Role, RedisRender.Role(role), OfGroup(0x1A0));
        return default;
    }

    public async ValueTask StopAsync(CancellationToken ct)
    {
        // A hung server ignores the polite signal; systemd ends it after TimeoutStopSec, within our deadline.
        var outcome = await writers.Units.StopAsync(_layout.Unit, StopDeadline, ct).ConfigureAwait(false);
        if (outcome is { Result: UnitResult.Refused, ErrorName: "org.freedesktop.systemd1.NoSuchUnit" }) return;
        Done(outcome);
    }

    /// <summary>For a person at the host: it is down, and stays so when the host starts anew. What is adopted starts with its host as its owner has set it.</summary>
    public async ValueTask StopForGoodAsync(CancellationToken ct)
    {
        if (scope.Adopt.Length == 0 && readers.Files.Look(_layout.EnabledLink) is { IsSeen: true, Value.Exists: true }) await EnableAsync(false, ct).ConfigureAwait(false);
        await StopAsync(ct).ConfigureAwait(false);
    }

    public ValueTask RemoveData()
    {
        Done(writers.Files.DeleteTree(_layout.DataDir, MaxEntries));
        return default;
    }

    public async ValueTask RemoveFilesAsync(CancellationToken ct)
    {
        foreach (var path in (string[])[_layout.UnitPath, _layout.Config, _layout.Auth, _layout.AuthPrevious, _layout.Role, _layout.Notes, _layout.GatePass, _layout.GateRecord, _layout.End, _layout.Stop]) Done(writers.Files.Delete(path));
        Done(writers.Files.DeleteTree(_layout.DropInDir, MaxEntries));
        Done(writers.Files.DeleteTree(_layout.ConfDir, MaxEntries));
        Done(await writers.Units.ReloadDaemonAsync(Brief, ct).ConfigureAwait(false));
        await writers.Units.ResetFailedAsync(_layout.Unit, Brief, ct).ConfigureAwait(false); // Refused where systemd has forgotten it, as it should.
    }

    private void EnsureConfDir()
    {
        Done(writers.Files.EnsureDirectory(Parent(_layout.ConfParent), Root(0x1ED)));
        Done(writers.Files.EnsureDirectory(_layout.ConfParent, Root(0x1ED)));
        Done(writers.Files.EnsureDirectory(_layout.ConfDir, OfGroup(0x1E8)));
    }

    private void Write(string path, string? text, FileOwnership ownership) =>
        Done(text is null ? writers.Files.Delete(path) : writers.Files.Write(path, Encoding.UTF8.GetBytes(text), ownership));

    private FileOwnership OfUser(uint mode) => User() is var user ? new() { Uid = user.Uid, Gid = user.Gid, Mode = mode } : throw new InvalidOperationException();

    private FileOwnership OfGroup(uint mode) => new() { Uid = 0, Gid = User().Gid, Mode = mode };

    private static FileOwnership Root(uint mode) => new() { Uid = 0, Gid = 0, Mode = mode };

    private UserState User()
    {
        var user = readers.Files.User(RedisLayout.User);
        if (!user.IsSeen) throw new WorldException(user.WhyUnseen ?? "the user cannot be read");
        return user.Value.Exists ? user.Value : throw new WorldException($"user {RedisLayout.User} does not exist: package {RedisLayout.Package} brings it");
    }

    private static string Parent(string path) => Path.GetDirectoryName(path)!;
}
