using System.Globalization;
using System.Text.RegularExpressions;

namespace AgentMetal.Coordinator.Api;

/// <summary>Which of several members' reasons is the one that the others wait for. Pure.</summary>
internal static partial class RootCause
{
    /// <param name="Ordinal">Which member.</param>
    /// <param name="Reason">Its phase.</param>
    /// <param name="Message">Why it is not as it should be.</param>
    internal readonly record struct Why(int Ordinal, string Reason, string Message);

    /// <summary>The index of the root; 0 when there is nothing to tell them apart. Empty lists are the caller's.</summary>
    public static int Of(IReadOnlyList<Why> all)
    {
        var at = Enumerable.Range(0, all.Count).OrderBy(i => Rank(all[i].Reason)).First();
        // "member 1 cannot be seen" is no cause while member 1 itself says why.
        for (var hops = 0; hops < all.Count; hops++)
        {
            var next = -1;
            foreach (Match match in Member().Matches(all[at].Message))
                if (int.TryParse(match.Groups[1].Value, NumberStyles.None, CultureInfo.InvariantCulture, out var ordinal) && ordinal != all[at].Ordinal) next = Enumerable.Range(0, all.Count).Where(i => all[i].Ordinal == ordinal).DefaultIfEmpty(-1).First();
            if (next < 0 || Names(all[next].Message, all[at].Ordinal) || Rank(all[next].Reason) > Rank(all[at].Reason)) return at;
            at = next;
        }
        return at;
    }

    /// <summary>What needs a person comes before what clears by itself, and what waits comes last: it waits for one of the others.</summary>
    private static int Rank(string reason) => reason switch
    {
        "NodeQuarantined" => 0,
        "Escalated" => 1,
        "Stuck" or "Unsupported" => 2,
        "NodeAway" => 3,
        "AwaitingApproval" => 4,
        "Unseen" => 5,
        "Converging" => 6,
        _ => 7,
    };

    private static bool Names(string message, int ordinal) => Member().Matches(message).Any(m => m.Groups[1].Value == ordinal.ToString(CultureInfo.InvariantCulture));

    [GeneratedRegex(@"\bmember (\d{1,3})\b")]
    private static partial Regex Member();
}
