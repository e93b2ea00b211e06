using AgentMetal.Cli.CommandLine;
using AgentMetal.Cli.Rendering;
using Grpc.Core;

namespace AgentMetal.Cli.Link;

/// <summary>A watch that outlives the coordinator's restart: it is begun anew until it stands again, and says so once. Hosts keep running meanwhile.</summary>
internal sealed class Rewatch(Session session)
{
    private static readonly TimeSpan s_first = TimeSpan.FromMilliseconds(500);
    private static readonly TimeSpan s_longest = TimeSpan.FromSeconds(5);

    /// <param name="watch">One watch, until it ends; it calls what it is given with each message. The first one must stand: a coordinator that never answered is no restart.</param>
    /// <param name="stop">Ends it.</param>
    internal async Task RunAsync(Func<Action, Task> watch, CancellationToken stop)
    {
        var (stood, away, pause) = (false, false, s_first);
        while (true)
        {
            var why = "it ended the watch";
            try
            {
                await watch(() =>
                {
                    if (away) session.Screen.Note(Piece.Good("note: "), $"the coordinator at {session.Address} is back");
                    (stood, away, pause) = (true, false, s_first);
                });
            }
            catch (RpcException e) when (e.StatusCode == StatusCode.Unavailable && stood && session.Refusal is null && !stop.IsCancellationRequested) { why = RpcFailure.Of(e, session.Address, null).Message; }
            stood = true;
            if (!away) session.Screen.Note(Piece.Warn("note: "), $"the coordinator at {session.Address} went away ({why}); watching again when it is back");
            away = true;
            await Task.Delay(pause, session.Screen.Clock, stop);
            pause = pause * 2 < s_longest ? pause * 2 : s_longest;
        }
    }
}
