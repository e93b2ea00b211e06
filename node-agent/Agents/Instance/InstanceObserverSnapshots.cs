using System.Collections.Immutable;
using System.Globalization;
using System.Text.Json;
using AgentMetal.NodeAgent.Agents.Instance.Tools;
using AgentMetal.Runtime.Planning;

namespace AgentMetal.NodeAgent.Agents.Instance;

internal sealed partial class InstanceObserver
{
    private const int MaxMarker = 16 * 1024;

    /// <summary>A snapshot from before a change that is older than this when the change begins is made anew: what was written since would be lost with it.</summary>
    private static readonly TimeSpan s_stale = TimeSpan.FromMinutes(10);

    /// <summary>Only where the goal needs them: each one costs libvirt a call.</summary>
    private async Task<InstanceState> WithSnapshotsAsync(InstanceState state, CancellationToken stop)
    {
        if (scope.Goal is { NeedsSnapshots: false }) return state;
        var now = clock.GetUtcNow();
        if (scope.Goal is not null) state = WithTrial(state);
        if (scope.Goal is { Spec.Snapshots: { Scheduled: true } schedule } && SnapshotSchedule.Slot(schedule.Every, now) is var (slot, left)) state = state with { Slot = slot, SlotLeft = left };
        if (state.Domain != Owner.Ours) return state;
        var read = await readers.Domains.SnapshotsAsync(scope.Uuid, stop);
        if (!read.IsSeen) throw new WorldException(read.WhyUnseen!);
        // Of one that goes nothing is looked at but how much goes with it, unless some of it is in disks that stay.
        if (scope.Goal is null && !state.Config.Any(a => IsLastingDisk(a.Key, a.Value))) return state with { SnapshotCount = read.Value.Count };
        var snapshots = state.Snapshots.ToBuilder();
        foreach (var snapshot in read.Value)
        {
            var info = SnapshotXml.Read(snapshot);
            if (info.Owner == SnapshotOwner.Change && state.Trial == FactValue.Absent && (now - DateTimeOffset.FromUnixTimeSeconds(info.Made)).Duration() > s_stale) info = info with { Owner = SnapshotOwner.Stale };
            snapshots[snapshot.Name] = info;
        }
        return state with { Snapshots = snapshots.ToImmutable(), SnapshotCount = read.Value.Count };
    }

    /// <summary>A disk that is written and is not the instance's own: a volume.</summary>
    private bool IsLastingDisk(string aspect, string disk) =>
        aspect.StartsWith(Aspect.Disk, StringComparison.Ordinal) && !disk.EndsWith(" read-only", StringComparison.Ordinal) && !aspect.StartsWith(Aspect.Disk + _layout.Dir + "/", StringComparison.Ordinal);

    private InstanceState WithTrial(InstanceState state)
    {
        var (trial, whyNoTrial) = Marker(_layout.Trial, InstanceJson.Default.TrialFile);
        var (reverted, whyNoReverted) = Marker(_layout.Reverted, InstanceJson.Default.RevertedFile);
        return state with
        {
            Trial = trial?.Digest ?? whyNoTrial,
            TrialOver = trial?.Over ?? "",
            Reverted = reverted?.Digest ?? whyNoReverted,
            RevertedText = reverted is null ? "" : string.Create(CultureInfo.InvariantCulture, $" at {DateTimeOffset.FromUnixTimeSeconds(reverted.At):yyyy-MM-dd HH:mm:ss} UTC: {reverted.Why}"),
        };
    }

    /// <summary>A file that we wrote whole, or what its fact is.</summary>
    private (T? Value, string Fact) Marker<T>(string path, System.Text.Json.Serialization.Metadata.JsonTypeInfo<T> json)
        where T : class
    {
        var file = readers.Files.Read(path, MaxMarker);
        if (!file.IsSeen) return (null, FactValue.Unseen(path + " cannot be read"));
        if (!file.Value.State.Exists) return (null, FactValue.Absent);
        try { return (JsonSerializer.Deserialize(file.Value.Bytes.Span, json), FactValue.Absent); }
        catch (JsonException) { return (null, FactValue.Unseen(path + " cannot be understood")); }
    }
}
