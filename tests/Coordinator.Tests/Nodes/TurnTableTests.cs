using AgentMetal.Coordinator.Fleet;
using AgentMetal.Coordinator.Nodes;
using AgentMetal.Proto.V1;
using AgentMetal.Runtime.Store;
using Microsoft.Extensions.Logging.Abstractions;
using Microsoft.Extensions.Time.Testing;
using Xunit;

namespace AgentMetal.Coordinator.Tests.Nodes;

public sealed class TurnTableTests
{
    private const string Key = "redis/r1/disruption";

    private readonly FakeTimeProvider _clock = new(new DateTimeOffset(2026, 11, 23, 8, 0, 0, TimeSpan.Zero));

    [Fact]
    public async Task Turn_WhenItsDaemonEndedWithoutGivingItBack_IsFreeAfterAPauseForTheNext()
    {
        using var turns = await TableAsync();
        await turns.AttachedAsync("a", "boot-1", Stop);
        Assert.True((await AskAsync(turns, "a")).Granted);

        await turns.AttachedAsync("a", "boot-2", Stop);
        Assert.False((await AskAsync(turns, "b")).Granted); // The new daemon may go on with the step.
        _clock.Advance(TurnTable.Resumption);
        Assert.True((await AskAsync(turns, "b")).Granted);
    }

    [Fact]
    public async Task Turn_AskedForAgainByTheNextDaemon_IsHeldForItsWholeTime()
    {
        using var turns = await TableAsync();
        await turns.AttachedAsync("a", "boot-1", Stop);
        await AskAsync(turns, "a");
        await turns.AttachedAsync("a", "boot-2", Stop);
        Assert.True((await AskAsync(turns, "a")).Granted);
        _clock.Advance(TimeSpan.FromMinutes(9));
        Assert.False((await AskAsync(turns, "b")).Granted);
    }

    [Fact]
    public async Task Turn_WhenOnlyTheStreamWasLost_IsHeldForItsWholeTime()
    {
        using var turns = await TableAsync();
        await turns.AttachedAsync("a", "boot-1", Stop);
        await AskAsync(turns, "a");
        await turns.AttachedAsync("a", "boot-1", Stop);
        await turns.AttachedAsync("b", "boot-7", Stop);
        await turns.AttachedAsync("b", "boot-8", Stop); // Another host's business.
        _clock.Advance(TimeSpan.FromMinutes(9));
        Assert.False((await AskAsync(turns, "b")).Granted);
        _clock.Advance(TimeSpan.FromMinutes(1));
        Assert.True((await AskAsync(turns, "b")).Granted);
    }

    private static CancellationToken Stop => TestContext.Current.CancellationToken;

    // Without a lease to lose: time passes here faster than anybody renews one.
    private async Task<TurnTable> TableAsync()
    {
        var store = new MemoryStore("s", TimeProvider.System);
        var leadership = new Leadership(store, "control", TimeProvider.System, NullLogger<Leadership>.Instance);
        Assert.Null(await leadership.AcquireAsync(Stop));
        return new TurnTable(store, leadership, _clock);
    }

    private static Task<TurnGrant> AskAsync(TurnTable turns, string node) =>
        turns.AskAsync(node, new TurnRequest { Id = node, Key = Key, HoldMs = (long)TimeSpan.FromMinutes(10).TotalMilliseconds }, uid => uid, Stop);
}
