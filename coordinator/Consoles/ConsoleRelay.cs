using AgentMetal.Proto.V1;
using AgentMetal.Runtime.Consoles;
using Grpc.Core;

namespace AgentMetal.Coordinator.Consoles;

/// <summary>One session: two sides, and what may go between them.</summary>
internal sealed class ConsoleRelay(string id, string node, TimeProvider clock)
{
    /// <summary>The host ends a session that is idle, and says so; this is for one that does not.</summary>
    private static readonly TimeSpan Idle = TimeSpan.FromMinutes(31);

    private static readonly TimeSpan LookEvery = TimeSpan.FromMinutes(1);

    private readonly TaskCompletionSource<ConsoleSide> _host = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly TaskCompletionSource _over = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly TaskCompletionSource _hostLeft = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly long _began = clock.GetTimestamp();
    private ConsoleOpening? _opening;
    private long _carried = clock.GetTimestamp();
    private volatile bool _answered;

    public string Id => id;

    /// <summary>Whose call is waited for.</summary>
    public string Node => node;

    /// <summary>The host's side, once it has called.</summary>
    public Task<ConsoleSide> Host => _host.Task;

    /// <summary>When neither side is used any more.</summary>
    public Task Over => _over.Task;

    /// <summary>Told once, when the host has answered an opening: then it has judged it.</summary>
    public Action<ConsoleOpening>? Answered { get; set; }

    /// <summary>The host has called; false when it had already.</summary>
    public bool Join(ConsoleSide side) => _host.TrySetResult(side);

    public void HostLeft() => _hostLeft.TrySetResult();

    public void End() => _over.TrySetResult();

    /// <summary>Carries until one side ends. False when the host did not answer in time.</summary>
    public async Task<bool> CarryAsync(ConsoleSide person, ConsoleSide host, Func<string?> whyNot, CancellationToken cancel)
    {
        using var ending = CancellationTokenSource.CreateLinkedTokenSource(cancel);
        var (up, down, look) = (UpAsync(person, host, ending.Token), DownAsync(host, person, ending.Token), LookAsync(whyNot, ending.Token));
        var first = await Task.WhenAny(up, down, look, _hostLeft.Task);
        await ending.CancelAsync();
        // Nobody may use a stream whose call has returned.
        await ((Task)Task.WhenAll(up, down, look)).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        if (first == look && look.IsCompletedSuccessfully) return false;
        try { await first; }
        catch (Exception e) when (e is OperationCanceledException or IOException or InvalidOperationException) { /* A side is gone: that is an end like another. */ }
        return true;
    }

    private async Task UpAsync(ConsoleSide person, ConsoleSide host, CancellationToken stop)
    {
        while (await person.From.MoveNext(stop))
        {
            var message = Checked(person.From.Current, ConsoleMessage.WhatOneofCase.Opening);
            if (message.Opening is { } opening)
            {
                if (_opening is not null) throw Api.Refusals.Precondition("a session is opened once");
                _opening = opening;
            }
            await host.To.WriteAsync(message, stop);
            Volatile.Write(ref _carried, clock.GetTimestamp());
        }
    }

    private async Task DownAsync(ConsoleSide host, ConsoleSide person, CancellationToken stop)
    {
        while (await host.From.MoveNext(stop))
        {
            var message = Checked(host.From.Current, ConsoleMessage.WhatOneofCase.Offer, ConsoleMessage.WhatOneofCase.Answer, ConsoleMessage.WhatOneofCase.Refusal);
            if (message.WhatCase == ConsoleMessage.WhatOneofCase.Answer && !_answered && _opening is not null)
            {
                _answered = true;
                Answered?.Invoke(_opening);
            }
            await person.To.WriteAsync(message, stop);
            Volatile.Write(ref _carried, clock.GetTimestamp());
        }
    }

    private async Task LookAsync(Func<string?> whyNot, CancellationToken stop)
    {
        var left = ConsoleBridge.OpeningDeadline - clock.GetElapsedTime(_began);
        if (left > TimeSpan.Zero) await Task.Delay(left, clock, stop);
        if (!_answered) return;
        while (true)
        {
            var idle = clock.GetElapsedTime(Volatile.Read(ref _carried));
            if (idle >= Idle) throw Api.Refusals.Precondition($"nothing was carried for {Idle.TotalMinutes:0} minutes");
            if (whyNot() is { } why) throw Api.Refusals.Precondition(why);
            await Task.Delay(LookEvery, clock, stop);
        }
    }

    private static ConsoleMessage Checked(ConsoleMessage message, params ReadOnlySpan<ConsoleMessage.WhatOneofCase> beside)
    {
        if (message.WhatCase != ConsoleMessage.WhatOneofCase.Sealed && !beside.Contains(message.WhatCase)) throw Api.Refusals.Precondition($"{message.WhatCase} is not what comes next in a console session");
        return message.CalculateSize() <= ConsoleFrame.MaxFrame ? message : throw Api.Refusals.Precondition($"a message of a console is longer than {ConsoleFrame.MaxFrame} bytes");
    }
}
