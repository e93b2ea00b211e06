using System.Collections.Immutable;
using AgentMetal.Runtime.Reasoning;

namespace AgentMetal.Runtime.Planning;

public sealed partial class Planner<TGoal, TState>
{
    /// <summary>What one pass has gathered.</summary>
    private sealed class Run(PlanRequest request, TGoal? goal, TState start, Attempts tried, ImmutableArray<Reading> readings,
        ImmutableArray<Decision> decisions, ImmutableArray<Difference> differences)
    {
        private readonly TState _start = start;

        public PlanRequest Request => request;
        public TGoal? Goal => goal;
        public Attempts Tried => tried;
        public ImmutableArray<Decision> Decisions => decisions;
        public TState Model { get; set; } = start;
        public int Rounds { get; set; }
        public int Waves { get; set; }
        public Question? Question { get; set; }
        public List<Step> Steps { get; } = [];
        public HashSet<string> Taken { get; } = new(StringComparer.Ordinal);

        /// <summary>By key of a call: why what was shown before does not cover it.</summary>
        public Dictionary<string, string> Outgrown { get; } = new(StringComparer.Ordinal);
        public List<BlockedDifference> Blocked { get; } = [];
        public SortedSet<string> Beyond { get; } = new(StringComparer.Ordinal);

        /// <summary>Moves that remedy a cause that was read come first, in the order they had; nothing joins and nothing leaves.</summary>
        public void Reorder(Difference difference, List<Proposal<TState>> viable)
        {
            if (readings.IsDefaultOrEmpty) return;
            var causes = readings.Where(r => r.Difference == difference.Key).Select(r => r.Cause).ToHashSet(StringComparer.Ordinal);
            if (causes.Count == 0) return;
            var ordered = viable.OrderBy(v => v.Remedies is { } c && causes.Contains(c) ? 0 : 1).ToList();
            viable.Clear();
            viable.AddRange(ordered);
        }

        public Outcome Verdict() => Blocked.Exists(b => b.Exhausted) ? Outcome.Escalate
            : Blocked.Exists(b => b.RetryAfter is not null) ? Outcome.Waiting : Outcome.Stuck;

        public Plan<TGoal, TState> Finish(Outcome outcome) => new(outcome, goal, _start, Model, [.. Steps], Question, decisions, [.. Blocked],
            Hashes.Plan(request, Steps, decisions))
        {
            Differences = differences,
            BeyondQuestions = [.. Beyond],
        };
    }
}
