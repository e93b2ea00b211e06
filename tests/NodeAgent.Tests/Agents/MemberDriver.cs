using System.Diagnostics;
using AgentMetal.NodeAgent.Pipeline;
using AgentMetal.Runtime.Planning;

namespace AgentMetal.NodeAgent.Tests.Agents;

/// <summary>
/// Converges a member on a real server, step by step, and compares every step's prediction with what is observed after it: the one property of an agent
/// that no fake can show.
/// </summary>
/// <param name="member">The agent; made anew for each call, as the daemon does.</param>
/// <param name="request">Of an input.</param>
internal sealed class MemberDriver<TGoal, TState>(Func<MemberAgent<TGoal, TState>> member, Func<MemberInput, PlanRequest> request)
    where TGoal : class
{
    private const int MaxRounds = 40;
    private static readonly TimeSpan Poll = TimeSpan.FromMilliseconds(50);
    private static readonly TimeSpan Rest = TimeSpan.FromMilliseconds(250);

    /// <summary>Facts that others own, which change while nobody of us does anything.</summary>
    public Func<string, bool> IsOthers { get; init; } = static _ => false;

    /// <summary>Whether what a step leaves can be predicted at all.</summary>
    public Func<Step, bool> IsCompared { get; init; } = static _ => true;

    /// <summary>How long a step may take to be confirmed.</summary>
    public TimeSpan Deadline { get; init; } = TimeSpan.FromSeconds(30);

    /// <summary>What a step is called in <see cref="Ran"/>.</summary>
    public Func<MemberInput, Step, string> Name { get; init; } = static (_, step) => step.Tool;

    /// <summary>Steps that ran, in order.</summary>
    public List<string> Ran { get; } = [];

    /// <summary>Facts that were not as predicted.</summary>
    public List<string> Mismatches { get; } = [];

    public async Task<TState> ObserveAsync(MemberInput input) => await member().ObserverFor(input).ObserveAsync(TestContext.Current.CancellationToken);

    public async Task<Plan<TGoal, TState>> PlanAsync(MemberInput input) => new Planner<TGoal, TState>(member().AgentFor(input))
        .Plan(request(input), member().ReadGoal(input).Goal, await ObserveAsync(input), Attempts.None(DateTimeOffset.UtcNow), [], []);

    /// <summary>Plans and runs until nothing differs; Dangerous steps run too, as if they had been signed.</summary>
    public async Task ConvergeAsync(MemberInput input)
    {
        for (var i = 0; i < MaxRounds; i++)
        {
            var plan = await PlanAsync(input);
            if (plan.Outcome == Outcome.Converged) return;
            if (plan.Steps.IsEmpty && plan.Outcome is not (Outcome.Waiting or Outcome.Partial)) Assert.Fail($"{plan.Outcome}: {string.Join("; ", plan.Blocked.Select(b => b.Difference + " " + string.Join(", ", b.Reasons)))}");
            await RunAsync(input, plan);
            if (plan.Steps.IsEmpty) await Task.Delay(Rest, TestContext.Current.CancellationToken);
        }
        Assert.Fail($"member {input.Ordinal} did not converge: " + string.Join("; ", (await PlanAsync(input)).Differences.Select(d => d.Text)));
    }

    /// <summary>Until one finds that its ground has moved.</summary>
    public async Task RunAsync(MemberInput input, Plan<TGoal, TState> plan)
    {
        foreach (var step in plan.Steps)
            if (!await RunAsync(input, step)) break;
    }

    /// <summary>One step as the executor runs it: basis, apply, look until the expected facts hold; then every other fact is compared too.</summary>
    private async Task<bool> RunAsync(MemberInput input, Step step)
    {
        var ct = TestContext.Current.CancellationToken;
        var agent = member().AgentFor(input);
        var call = agent.Tools.Single(t => t.Name == step.Tool).Bind(step.Args);
        var observer = member().ObserverFor(input);
        var before = await observer.ObserveAsync(ct);
        if (step.Basis.Any(f => agent.Fact(before, f.Key) != f.Value)) return false; // Moved: plan again.
        Ran.Add(Name(input, step));
        var predicted = call.Predict(before);
        await call.ApplyAsync(new ToolContext(step.Key, new Dictionary<string, string>(), ct));
        var since = Stopwatch.StartNew();
        while (true)
        {
            TState after;
            try { after = await observer.ObserveAsync(ct); }
            catch (WorldException) when (since.Elapsed < Deadline)
            {
                // Away for the moment: the executor looks again, too.
                await Task.Delay(Poll, ct);
                continue;
            }
            var wrong = call.Touches(before).Writes.Where(k => agent.Fact(after, k) != agent.Fact(predicted, k)).ToList();
            var told = call.Observe(after);
            Assert.True(told?.Phase != Phase.Failed, $"{step.Key}: {told?.Detail}");
            if (wrong.Count == 0 && told?.Phase != Phase.Running)
            {
                if (IsCompared(step))
                    Mismatches.AddRange(agent.FactKeys(after).Union(agent.FactKeys(predicted)).Where(k => !IsOthers(k) && agent.Fact(after, k) != agent.Fact(predicted, k))
                        .Select(k => $"{step.Tool} ({string.Join(", ", Ran.TakeLast(4))}): {k} is {agent.Fact(after, k)}, predicted {agent.Fact(predicted, k)}"));
                return true;
            }
            Assert.True(since.Elapsed < Deadline, $"member {input.Ordinal} {step.Key}: " + string.Join("; ", wrong.Select(k => $"{k} is {agent.Fact(after, k)}, expected {agent.Fact(predicted, k)}")));
            await Task.Delay(Poll, ct);
        }
    }
}
