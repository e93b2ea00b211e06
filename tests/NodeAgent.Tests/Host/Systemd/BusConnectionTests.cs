using System.Threading.Channels;
using AgentMetal.NodeAgent.Host.Systemd;

namespace AgentMetal.NodeAgent.Tests.Host.Systemd;

public sealed class BusConnectionTests : IDisposable
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(10);
    private readonly PrivateBus _bus = new();

    private static CancellationToken Ct => TestContext.Current.CancellationToken;

    public void Dispose() => _bus.Dispose();

    [Fact]
    public async Task Call_KnownMethod_ReturnsReply()
    {
        _bus.Start();
        await using var connection = Connect();
        var names = await connection.CallAsync(Bus("ListNames"), static reply => reply.ReadStrings(), Patience, Ct);
        Assert.Contains("org.freedesktop.DBus", names);
    }

    [Fact]
    public async Task Call_UnknownMethod_IsRefusedByName()
    {
        _bus.Start();
        await using var connection = Connect();
        var error = await Assert.ThrowsAsync<SystemdException>(() => connection.CallAsync(Bus("Nonsense"), static _ => true, Patience, Ct));
        Assert.Equal("org.freedesktop.DBus.Error.UnknownMethod", error.ErrorName);
        Assert.Equal(BusFailure.Refused, error.Failure);
        Assert.NotEmpty(error.Reason);
    }

    [Fact]
    public async Task Call_NobodyHasTheName_IsAwayAndNotRefused()
    {
        _bus.Start();
        await using var connection = Connect();
        var call = Bus("Ping") with { Destination = "org.example.Nobody" };
        var error = await Assert.ThrowsAsync<SystemdException>(() => connection.CallAsync(call, static _ => true, Patience, Ct));
        Assert.Equal(BusFailure.Away, error.Failure);
    }

    [Fact]
    public async Task Call_ReplyOfAnotherShape_ThrowsToTheCallerAndTheBusLivesOn()
    {
        _bus.Start();
        await using var connection = Connect();
        await Assert.ThrowsAsync<SystemdException>(() => connection.CallAsync(Bus("ListNames"), static reply => reply.ReadUInt32(), Patience, Ct));
        Assert.NotEmpty(await connection.CallAsync(Bus("GetId"), static reply => reply.ReadString(), Patience, Ct));
    }

    [Fact]
    public async Task Call_BusDoesNotAnswer_EndsAtItsDeadline()
    {
        _bus.Start();
        await using var connection = Connect();
        await connection.CallAsync(Bus("GetId"), static _ => true, Patience, Ct);
        _bus.Freeze(true);
        var started = TimeProvider.System.GetTimestamp();
        var error = await Assert.ThrowsAsync<SystemdException>(() => connection.CallAsync(Bus("GetId"), static _ => true, TimeSpan.FromMilliseconds(200), Ct));
        _bus.Freeze(false);
        Assert.Equal(BusFailure.DeadlinePassed, error.Failure);
        Assert.InRange(TimeProvider.System.GetElapsedTime(started).TotalMilliseconds, 199, 3000);
        Assert.NotEmpty(await connection.CallAsync(Bus("GetId"), static reply => reply.ReadString(), Patience, Ct));
    }

    [Fact]
    public async Task Call_Cancelled_EndsAtOnce()
    {
        _bus.Start();
        await using var connection = Connect();
        await connection.CallAsync(Bus("GetId"), static _ => true, Patience, Ct);
        _bus.Freeze(true);
        using var cancel = new CancellationTokenSource();
        var call = connection.CallAsync(Bus("GetId"), static _ => true, Patience, cancel.Token);
        await cancel.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => call);
        _bus.Freeze(false);
    }

    [Fact]
    public async Task Call_BusComesWithinTheDeadline_IsAnswered()
    {
        await using var connection = Connect();
        var call = connection.CallAsync(Bus("GetId"), static reply => reply.ReadString(), Patience, Ct);
        _bus.Start();
        Assert.NotEmpty(await call);
    }

    [Fact]
    public async Task Call_BusStaysAway_IsAwayAtItsDeadline()
    {
        await using var connection = Connect();
        var error = await Assert.ThrowsAsync<SystemdException>(() => connection.CallAsync(Bus("GetId"), static _ => true, TimeSpan.FromMilliseconds(100), Ct));
        Assert.Equal(BusFailure.Away, error.Failure);
    }

    [Fact]
    public async Task Call_UnderWayWhenTheBusDies_IsAway()
    {
        _bus.Start();
        await using var connection = Connect();
        await connection.CallAsync(Bus("GetId"), static _ => true, Patience, Ct);
        _bus.Freeze(true);
        var call = connection.CallAsync(Bus("GetId"), static _ => true, TimeSpan.FromSeconds(60), Ct);
        _bus.Kill();
        var error = await Assert.ThrowsAsync<SystemdException>(() => call.WaitAsync(Patience, Ct));
        Assert.Equal(BusFailure.Away, error.Failure);
    }

    [Fact]
    public async Task Connection_BusKilledAndStartedAgain_ComesBackWithItsMatches()
    {
        _bus.Start();
        var ups = Channel.CreateUnbounded<bool>();
        var downs = Channel.CreateUnbounded<string>();
        var signals = Channel.CreateUnbounded<string>();
        await using var connection = new BusConnection(_bus.Options, TimeProvider.System)
        {
            OnUp = () => ups.Writer.TryWrite(true),
            OnDown = why => downs.Writer.TryWrite(why),
        };
        connection.Post(() => connection.AddMatch(new BusMatch(
            "type='signal',interface='org.freedesktop.DBus',member='NameOwnerChanged',arg0='org.example.Mine'",
            signal => signals.Writer.TryWrite(signal.ReadString()))));
        connection.Start();

        await Next(ups);
        await OwnName("org.example.Mine");
        Assert.Equal("org.example.Mine", await Next(signals));
        await Next(signals); // the name went with its connection

        _bus.Kill();
        Assert.Contains("lost", await Next(downs), StringComparison.Ordinal);
        _bus.Start();
        await Next(ups);
        await OwnName("org.example.Mine");
        Assert.Equal("org.example.Mine", await Next(signals));
    }

    [Fact]
    public async Task Connection_BusNeverThere_BacksOffUpToItsCap()
    {
        var attempts = new List<long>();
        var enough = new TaskCompletionSource();
        var options = _bus.Options with { MinBackOff = TimeSpan.FromMilliseconds(1), MaxBackOff = TimeSpan.FromMilliseconds(64) };
        await using var connection = new BusConnection(options, TimeProvider.System)
        {
            OnDown = _ =>
            {
                attempts.Add(TimeProvider.System.GetTimestamp());
                if (attempts.Count == 10)
                    enough.TrySetResult();
            },
        };
        connection.Start();
        await enough.Task.WaitAsync(Patience, Ct);
        // Doubling from 2 ms, each at least half: 1+2+4+8+16+32+32+32+32 ms. Without back-off it would be about nothing.
        Assert.InRange(TimeProvider.System.GetElapsedTime(attempts[0], attempts[9]).TotalMilliseconds, 150, 5000);
    }

    [Fact]
    public async Task Connection_Disposed_EndsEveryCall()
    {
        var connection = Connect();
        var call = connection.CallAsync(Bus("GetId"), static _ => true, TimeSpan.FromSeconds(60), Ct);
        await connection.DisposeAsync();
        Assert.Equal(BusFailure.Away, (await Assert.ThrowsAsync<SystemdException>(() => call.WaitAsync(Patience, Ct))).Failure);
        Assert.Equal(
            BusFailure.Away,
            (await Assert.ThrowsAsync<SystemdException>(() => connection.CallAsync(Bus("GetId"), static _ => true, TimeSpan.FromSeconds(60), Ct).WaitAsync(Patience, Ct))).Failure);
    }

    private static BusCall Bus(string member, params BusArgument[] arguments) => new()
    {
        Destination = "org.freedesktop.DBus",
        Path = "/org/freedesktop/DBus",
        Interface = "org.freedesktop.DBus",
        Member = member,
        Arguments = arguments,
    };

    private static async Task<T> Next<T>(Channel<T> channel) => await channel.Reader.ReadAsync(Ct).AsTask().WaitAsync(Patience, Ct);

    private async Task OwnName(string name)
    {
        await using var other = Connect();
        Assert.Equal(1u, await other.CallAsync(Bus("RequestName", name, 0u), static reply => reply.ReadUInt32(), Patience, Ct));
    }

    private BusConnection Connect()
    {
        var connection = new BusConnection(_bus.Options, TimeProvider.System);
        connection.Start();
        return connection;
    }
}
