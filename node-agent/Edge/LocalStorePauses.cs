using System.Collections.Immutable;
using AgentMetal.NodeAgent.Pipeline;

namespace AgentMetal.NodeAgent.Edge;

/// <summary>What persons at the host have paused. A stop that was asked for is not made again by a daemon that starts: how it stands is to be seen.</summary>
internal sealed partial class LocalStore : IMemberPauses
{
    public ValueTask<ImmutableSortedDictionary<string, MemberPause>> PausesAsync(CancellationToken stop) => thread.ReadAsync(() =>
        Rows("SELECT key, since, uid, by, reason, stop FROM pauses", r => (Key: r.GetString(0), Pause: new MemberPause(At(r.GetInt64(1)), r.GetInt64(2), r.GetString(3), r.GetString(4), r.GetInt64(5) != 0)))
            .ToImmutableSortedDictionary(r => r.Key, r => r.Pause.Stop ? r.Pause with { Progress = "was to be stopped before agentmetald restarted" } : r.Pause, StringComparer.Ordinal), stop);

    public async ValueTask SetPauseAsync(string key, MemberPause? pause, CancellationToken stop) => await thread.WriteAsync(() => pause is null
        ? Run("DELETE FROM pauses WHERE key = $0", key)
        : Run("INSERT INTO pauses VALUES($0, $1, $2, $3, $4, $5) ON CONFLICT DO UPDATE SET since = $1, uid = $2, by = $3, reason = $4, stop = $5", key, Ms(pause.Since), pause.Uid, pause.By, pause.Reason, pause.Stop ? 1 : 0), stop).ConfigureAwait(false);
}
