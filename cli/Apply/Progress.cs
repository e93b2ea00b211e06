using AgentMetal.Cli.CommandLine;
using AgentMetal.Cli.Link;
using AgentMetal.Cli.Output;
using AgentMetal.Cli.Rendering;
using AgentMetal.Proto.V1;
using Grpc.Core;

namespace AgentMetal.Cli.Apply;

/// <param name="Resource">As the coordinator took it.</param>
/// <param name="Gone">Wait until it is gone; else until it is Ready.</param>
internal sealed record Awaited(Resource Resource, bool Gone = false);

/// <summary>Looks on until everything is as asked, needs a person, or time is up. Looking is all it does: leaving changes nothing.</summary>
internal sealed class Progress(Session session)
{
    private static readonly TimeSpan s_longestPause = TimeSpan.FromSeconds(5);

    private readonly ProgressView _view = new(session.Screen, quiet: session.ForPrograms || session.Format == OutputFormat.Name);
    private readonly long _started = session.Screen.Clock.GetTimestamp();

    internal async Task<ExitCode> FollowAsync(IReadOnlyList<Awaited> awaited, TimeSpan atMost, CancellationToken stop)
    {
        var states = awaited.Select(a => new AwaitedState(a)).ToArray();
        using var deadline = CancellationTokenSource.CreateLinkedTokenSource(stop);
        deadline.CancelAfter(atMost);
        var pause = TimeSpan.FromMilliseconds(500);
        try
        {
            while (true)
            {
                try
                {
                    if (await WatchAsync(states, deadline.Token) is { } code) return End(states, code);
                    pause = TimeSpan.FromMilliseconds(500);
                }
                catch (RpcException e) when (e.StatusCode == StatusCode.Unavailable && !deadline.IsCancellationRequested)
                {
                    // Hosts work on without the coordinator; looking resumes when it is back, within the same deadline.
                    _view.Say($"{RpcFailure.Of(e, session.Address, session.Refusal).Message}; looking again in {pause.TotalSeconds:0.#} s");
                }
                await Task.Delay(pause, session.Screen.Clock, deadline.Token);
                pause = pause * 2 < s_longestPause ? pause * 2 : s_longestPause;
            }
        }
        catch (Exception e) when (e is OperationCanceledException or RpcException { StatusCode: StatusCode.Cancelled } && deadline.IsCancellationRequested)
        {
            return stop.IsCancellationRequested ? Left(states) : TimedOut(states, atMost);
        }
    }

    /// <summary>One watch; null when the stream ended and a new one is needed.</summary>
    private async Task<ExitCode?> WatchAsync(AwaitedState[] states, CancellationToken stop)
    {
        var projects = states.Select(s => Resources.ProjectOf(s.Latest.Metadata)).Distinct(StringComparer.Ordinal).ToArray();
        using var call = session.Client.Watch(new ListRequest { Project = projects is [var one] ? one : "-", Kind = "all" }, Session.Stream(stop));
        foreach (var state in states) state.BeginList();
        var next = call.ResponseStream.MoveNext(stop);
        while (true)
        {
            if (await Task.WhenAny(next, Task.Delay(TimeSpan.FromSeconds(1), session.Screen.Clock, stop)) == next)
            {
                if (!await next) return null;
                var change = call.ResponseStream.Current;
                foreach (var state in states) state.Take(change);
                next = call.ResponseStream.MoveNext(stop);
            }
            else stop.ThrowIfCancellationRequested();
            _view.Show(states, Elapsed);
            var open = states.Where(s => !s.IsDone).ToArray();
            if (open.Length == 0) return ExitCode.Ok;
            if (open.All(s => s.IsHeld)) return ExitCode.WaitingForApproval;
        }
    }

    private TimeSpan Elapsed => session.Screen.Clock.GetElapsedTime(_started);

    private ExitCode End(AwaitedState[] states, ExitCode code)
    {
        _view.Finish(states, Elapsed);
        if (code == ExitCode.WaitingForApproval)
        {
            foreach (var state in states.Where(s => s.NeedsApproval))
                session.Screen.Note(Piece.Warn("waiting for an approval: "), $"{Resources.Key(state.Latest)}; read and sign it: agentmetal approve {Resources.Short(state.Latest)}");
        }
        return code;
    }

    private ExitCode Left(AwaitedState[] states)
    {
        _view.Finish(states, Elapsed);
        var open = states.Where(s => !s.IsDone).Select(s => Resources.GoesOn(s.Latest)).Distinct(StringComparer.Ordinal).ToArray();
        session.Screen.Note($"You left; {(open is [var one] ? one : "hosts go on with what needs nobody")}. Look again: agentmetal get all --watch");
        return ExitCode.Interrupted;
    }

    private ExitCode TimedOut(AwaitedState[] states, TimeSpan atMost)
    {
        _view.Finish(states, Elapsed);
        foreach (var state in states.Where(s => !s.IsDone))
        {
            session.Screen.Note(Piece.Bad("error: "), $"{Resources.Key(state.Latest)} is not {(state.Awaited.Gone ? "gone" : "Ready")} after {When.Length(atMost)}: {state.Blocker}; {Resources.GoesOn(state.Latest)}");
            session.Screen.Note("  = next: ", $"agentmetal describe {state.Latest.Kind.ToLowerInvariant()} {state.Latest.Metadata.Name}");
        }
        return ExitCode.TimedOut;
    }
}

/// <summary>What is known of one awaited resource.</summary>
internal sealed class AwaitedState(Awaited awaited)
{
    private bool _seen = true;

    internal Awaited Awaited => awaited;

    internal Resource Latest { get; private set; } = awaited.Resource;

    internal bool IsGone { get; private set; }

    /// <summary>Deleting what was wanted Ready ends the wait too: it will never be.</summary>
    internal bool IsDone => awaited.Gone ? IsGone : Resources.IsReady(Latest) && Latest.Metadata.Generation >= awaited.Resource.Metadata.Generation;

    internal bool NeedsApproval => !IsDone && Resources.AwaitsApproval(Latest);

    /// <summary>Nothing goes on before somebody signs. A host that works is not waiting: what it said of approvals may be from before one that it has by now.</summary>
    internal bool IsHeld => NeedsApproval && !Latest.Status.Members.Any(m => m.Details.ContainsKey("progress"));

    internal string Blocker => IsGone ? "it was deleted meanwhile" : Resources.Blocker(Latest);

    /// <summary>A new list begins: what is not in it by its end is gone.</summary>
    internal void BeginList() => _seen = false;

    internal void Take(ResourceChange change)
    {
        if (change.Type == "bookmark")
        {
            IsGone |= !_seen;
            return;
        }
        if (change.Resource?.Metadata?.Uid != awaited.Resource.Metadata.Uid) return;
        _seen = true;
        IsGone = change.Type == "deleted";
        Latest = change.Resource;
    }
}
