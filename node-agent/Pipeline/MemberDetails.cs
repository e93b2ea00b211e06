using System.Collections.Immutable;
using System.Globalization;
using Microsoft.Extensions.Logging;

namespace AgentMetal.NodeAgent.Pipeline;

/// <summary>
/// What people want to know of an agent's members between two passes: rates, use, the last lines of a console. It may hold what a guest wrote, so it goes to
/// operators' screens and nowhere else: no event, no log, no audit record.
/// </summary>
internal interface IMemberDetails
{
    /// <summary>The kind whose members it knows.</summary>
    string Kind { get; }

    /// <summary>By assignment key; one look for all of them. A member of which nothing can be read now is left out; it does not throw for a server that is down.</summary>
    ValueTask<IReadOnlyDictionary<string, ImmutableSortedDictionary<string, string>>> ReadAsync(IReadOnlyList<MemberInput> members, CancellationToken stop);
}

/// <summary>Refreshes the details of all members at a low rate. A kind without members on this host is not asked.</summary>
internal sealed partial class MemberDetails(Controller controller, IReadOnlyList<IMemberDetails> sources, TimeProvider clock, ILogger<MemberDetails> log)
{
    /// <summary>Between two looks, and at most that often a member is reported because of its details.</summary>
    public static readonly TimeSpan Every = TimeSpan.FromSeconds(15);

    /// <summary>The key of what a step that runs is doing.</summary>
    public const string Progress = "progress";

    /// <summary>The key of when and why it ended last although none of our steps ended it.</summary>
    public const string LastEnded = "last ended";

    /// <summary>Numbers move all the time: a tenth is news, and what is beneath these is noise.</summary>
    private const long NoiseBytes = 16 * 1024, NoisePercent = 3;

    public static readonly ImmutableSortedDictionary<string, string> None = ImmutableSortedDictionary.Create<string, string>(StringComparer.Ordinal);

    public async Task RunAsync(CancellationToken stop)
    {
        while (true)
        {
            await Task.Delay(Every, clock, stop);
            await RefreshAsync(stop);
        }
    }

    /// <summary>One look.</summary>
    public async Task RefreshAsync(CancellationToken stop)
    {
        var all = controller.Members;
        foreach (var source in sources)
        {
            var members = all.Where(m => !m.Gone && m.Input.Key.Split('/')[1] == source.Kind).Select(m => m.Input).ToList();
            if (members.Count == 0) continue;
            try
            {
                var read = await source.ReadAsync(members, stop);
                foreach (var member in members) controller.SetNumbers(member.Key, read.GetValueOrDefault(member.Key, None));
            }
            catch (Exception e) when (e is not (OutOfMemoryException or OperationCanceledException)) { LogNotRead(log, source.Kind, e.GetType().Name); }
        }
        if (controller.Stories is { } stories) await stories.ReadLogsAsync(stop);
        controller.TellStories();
        controller.TellFloods();
        controller.TellDetails();
    }

    /// <summary>Whether a person would call it a change.</summary>
    public static bool Differ(ImmutableSortedDictionary<string, string> a, ImmutableSortedDictionary<string, string> b)
    {
        if (a.Count != b.Count) return true;
        foreach (var (key, value) in a)
        {
            if (!b.TryGetValue(key, out var other)) return true;
            if (value == other) continue;
            if (!long.TryParse(value, NumberStyles.None, CultureInfo.InvariantCulture, out var x) || !long.TryParse(other, NumberStyles.None, CultureInfo.InvariantCulture, out var y)) return true;
            if (Math.Abs(x - y) > Math.Max(key.EndsWith("Percent", StringComparison.Ordinal) ? NoisePercent : NoiseBytes, Math.Max(x, y) / 10)) return true;
        }
        return false;
    }

    // The type alone: what a guest wrote could be in the message.
    [LoggerMessage(EventId = 1004, Level = LogLevel.Warning, Message = "details of {Kind} members could not be read: {Why}; they are read again in a while")]
    private static partial void LogNotRead(ILogger log, string kind, string why);
}
