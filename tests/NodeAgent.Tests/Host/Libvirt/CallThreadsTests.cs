using AgentMetal.NodeAgent.Host.Libvirt;
using Microsoft.Extensions.Time.Testing;

namespace AgentMetal.NodeAgent.Tests.Host.Libvirt;

public sealed class CallThreadsTests : IAsyncLifetime
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(20);
    private readonly FakeTimeProvider _time = new();
    private readonly ManualResetEventSlim _door = new();
    private readonly CallThreads _threads;

    public CallThreadsTests() => _threads = new CallThreads(3, _time);

    private static CancellationToken Ct => TestContext.Current.CancellationToken;

    public ValueTask InitializeAsync() => ValueTask.CompletedTask;

    public async ValueTask DisposeAsync()
    {
        _door.Set();
        // The clock stands, so the limit never passes: the threads have to end by themselves.
        await _threads.StopAsync(Patience).WaitAsync(Patience, CancellationToken.None);
        _door.Dispose();
    }

    [Fact]
    public async Task Calls_MoreThanThreads_RunSoManyAtOnceAndTheRestAfterThem()
    {
        var running = 0;
        var most = 0;
        var calls = Enumerable.Range(0, 20).Select(i => _threads.RunAsync("waiting", () =>
        {
            InterlockedMax(ref most, Interlocked.Increment(ref running));
            _door.Wait(Patience);
            Interlocked.Decrement(ref running);
            return i;
        }, Patience, Ct)).ToList();
        await BusyAsync(3);
        // A thread counts as busy before what it runs has begun.
        for (var until = DateTime.UtcNow + Patience; Volatile.Read(ref running) < 3 && DateTime.UtcNow < until;) await Task.Delay(5, Ct);
        _door.Set();
        Assert.Equal(Enumerable.Range(0, 20), await Task.WhenAll(calls));
        Assert.Equal(3, most);
    }

    [Fact]
    public async Task Call_PastItsDeadline_EndsForItsCallerAndIsCountedUntilItReturns()
    {
        var late = new Late();
        var call = _threads.RunAsync("sleeping", () => Wait(late), TimeSpan.FromSeconds(2), Ct);
        await BusyAsync(1);
        _time.Advance(TimeSpan.FromSeconds(2));
        var error = await Assert.ThrowsAsync<LibvirtException>(() => call.WaitAsync(Patience, Ct));
        Assert.Equal((DomainResult.DeadlinePassed, "sleeping was not answered within 2 s and may still happen"), (error.Result, error.Message));
        Assert.Equal(1, _threads.Busy);
        _door.Set();
        await BusyAsync(0);
        // Nobody is there to take it.
        Assert.True(late.IsDisposed);
    }

    [Fact]
    public async Task Call_NotBegunByItsDeadline_NeverBeginsAndSaysSo()
    {
        var held = Hold(3);
        await BusyAsync(3);
        var began = false;
        var call = _threads.RunAsync("waiting", () => began = true, TimeSpan.FromSeconds(1), Ct);
        _time.Advance(TimeSpan.FromSeconds(1));
        var error = await Assert.ThrowsAsync<LibvirtException>(() => call.WaitAsync(Patience, Ct));
        Assert.Equal(DomainResult.DeadlinePassed, error.Result);
        Assert.Contains("was not begun", error.Message, StringComparison.Ordinal);
        _door.Set();
        await Task.WhenAll(held);
        await BusyAsync(0);
        Assert.False(began);
    }

    [Fact]
    public async Task Call_CancelledBeforeItBegins_NeverBegins()
    {
        var held = Hold(3);
        await BusyAsync(3);
        using var cancel = new CancellationTokenSource();
        var began = false;
        var call = _threads.RunAsync("waiting", () => began = true, Patience, cancel.Token);
        await cancel.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => call);
        _door.Set();
        await Task.WhenAll(held);
        await BusyAsync(0);
        Assert.False(began);
    }

    [Fact]
    public async Task Calls_TooManyWait_AreRefusedAndNothingGrows()
    {
        var held = Hold(3);
        await BusyAsync(3);
        var waiting = Enumerable.Range(0, CallThreads.MaxWaiting).Select(i => _threads.RunAsync("waiting", () => i, Patience, Ct)).ToList();
        var error = await Assert.ThrowsAsync<LibvirtException>(() => _threads.RunAsync("one more", () => 0, Patience, Ct));
        Assert.Equal(DomainResult.Unreachable, error.Result);
        // What closes a connection must not be lost for that.
        var closing = _threads.RunAsync("closing", () => 1, Patience, Ct, always: true);
        _door.Set();
        await Task.WhenAll([.. held, .. waiting, closing]);
    }

    [Fact]
    public async Task Call_ThatThrows_ThrowsToItsCallerAndTheThreadLivesOn()
    {
        await Assert.ThrowsAsync<InvalidDataException>(() => _threads.RunAsync<int>("failing", () => throw new InvalidDataException(), Patience, Ct));
        Assert.Equal(1, await _threads.RunAsync("working", () => 1, Patience, Ct));
    }

    [Fact]
    public async Task Stop_WhileCallsWait_FailsThemAndBeginsNothingMore()
    {
        var held = Hold(3);
        await BusyAsync(3);
        var waiting = _threads.RunAsync("waiting", () => 1, Patience, Ct);
        var closing = _threads.RunAsync("closing", () => 1, Patience, Ct, always: true);
        var stopping = _threads.StopAsync(Patience);
        Assert.Equal(DomainResult.Unreachable, (await Assert.ThrowsAsync<LibvirtException>(() => waiting)).Result);
        Assert.Equal(DomainResult.Unreachable, (await Assert.ThrowsAsync<LibvirtException>(() => _threads.RunAsync("late", () => 1, Patience, Ct))).Result);
        Assert.False(stopping.IsCompleted);
        _door.Set();
        await stopping.WaitAsync(Patience, Ct);
        await Task.WhenAll(held);
        // What it asked for before the end is done, or a connection would stay open for ever.
        Assert.Equal(1, await closing.WaitAsync(Patience, Ct));
    }

    private List<Task<Late>> Hold(int count) => [.. Enumerable.Range(0, count).Select(_ => _threads.RunAsync("holding", () => Wait(new Late()), Patience * 10, Ct))];

    private Late Wait(Late value)
    {
        _door.Wait(Patience);
        return value;
    }

    private async Task BusyAsync(int count)
    {
        var started = TimeProvider.System.GetTimestamp();
        while (_threads.Busy != count)
        {
            Assert.True(TimeProvider.System.GetElapsedTime(started) < Patience, $"{_threads.Busy} calls run, not {count}");
            await Task.Delay(5, Ct);
        }
    }

    private static void InterlockedMax(ref int most, int value)
    {
        int seen;
        while (value > (seen = Volatile.Read(ref most)) && Interlocked.CompareExchange(ref most, value, seen) != seen)
        {
            // Another one was faster: look again.
        }
    }

    private sealed class Late : IDisposable
    {
        internal bool IsDisposed { get; private set; }

        public void Dispose() => IsDisposed = true;
    }
}
