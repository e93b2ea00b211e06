using AgentMetal.Proto.V1;

namespace AgentMetal.Coordinator.Api;

/// <summary>Plans that people looked at, for a quarter of an hour. In memory: after a restart they plan again, which costs a command.</summary>
internal sealed class SavedPlans(TimeProvider clock)
{
    private const int Capacity = 1_000;
    private const int ShortestPrefix = 8;

    private readonly Lock _lock = new();
    private readonly Dictionary<string, PlanReply> _byHash = new(StringComparer.Ordinal);

    public void Save(PlanReply plan)
    {
        lock (_lock)
        {
            var now = clock.GetUtcNow().ToUnixTimeMilliseconds();
            foreach (var over in _byHash.Values.Where(p => p.ExpiresUnixMs <= now).Select(p => p.Hash).ToList()) _byHash.Remove(over);
            if (_byHash.Count >= Capacity) _byHash.Remove(_byHash.Values.MinBy(p => p.ExpiresUnixMs)!.Hash);
            _byHash[plan.Hash] = plan;
        }
    }

    /// <summary>By hash, or by the first eight or more characters of one.</summary>
    public PlanReply? Find(string hash)
    {
        lock (_lock)
        {
            var now = clock.GetUtcNow().ToUnixTimeMilliseconds();
            return hash.Length < ShortestPrefix ? null
                : _byHash.Values.Where(p => p.ExpiresUnixMs > now && p.Hash.StartsWith(hash, StringComparison.Ordinal)).Take(2).ToList() is [var one] ? one : null;
        }
    }

    /// <summary>What is not as it was when the plan was made, in words; at most ten things.</summary>
    public static string WhatMoved(PlanReply saved, PlanReply now)
    {
        var moved = new List<string>();
        var olds = saved.Resources.ToDictionary(Key, StringComparer.Ordinal);
        foreach (var next in now.Resources)
        {
            if (!olds.Remove(Key(next), out var old)) moved.Add($"{Key(next)} is not in the plan");
            else Compare(Key(next), old, next, moved);
        }
        moved.AddRange(olds.Keys.Select(k => $"{k} is in the plan and not in this apply"));
        return moved.Count == 0 ? "something that is not shown in plans" : string.Join("; ", moved.Take(10)) + (moved.Count > 10 ? $"; and {moved.Count - 10} more" : "");
    }

    private static void Compare(string key, ResourcePlan old, ResourcePlan next, List<string> moved)
    {
        if (old.Action != next.Action || old.FromGeneration != next.FromGeneration) moved.Add($"{key} was {old.Action} from generation {old.FromGeneration}, is {next.Action} from {next.FromGeneration}");
        else if (!old.Resource.Spec.Equals(next.Resource.Spec)) moved.Add($"{key}: the spec is another one");
        Steps(key, "placement", old.FleetSteps, next.FleetSteps, moved);
        var members = old.Members.ToDictionary(m => (m.NodeUid, m.Ordinal));
        foreach (var member in next.Members)
        {
            if (!members.Remove((member.NodeUid, member.Ordinal), out var was)) moved.Add($"{key}: member {member.Ordinal} would be on {member.NodeName}");
            else if (was.Error != member.Error) moved.Add($"{key} on {member.NodeName}: {(member.Error.Length > 0 ? member.Error : "it could not plan before: " + was.Error)}");
            else if (was.Hash != member.Hash) Steps(key, member.NodeName, was.Steps, member.Steps, moved);
        }
        moved.AddRange(members.Values.Select(m => $"{key}: member {m.Ordinal} would no longer be on {m.NodeName}"));
    }

    private static void Steps(string key, string where, IReadOnlyList<Step> old, IReadOnlyList<Step> next, List<string> moved)
    {
        var olds = old.GroupBy(s => s.Tool + s.Args, StringComparer.Ordinal).ToDictionary(g => g.Key, g => g.First(), StringComparer.Ordinal);
        foreach (var step in next)
        {
            if (!olds.Remove(step.Tool + step.Args, out var was)) { moved.Add($"{key} on {where}: new step \"{step.Text}\""); continue; }
            foreach (var fact in step.Basis)
                if (was.Basis.FirstOrDefault(f => f.Key == fact.Key) is { } before && before.Value != fact.Value)
                    moved.Add($"{key} on {where}: {fact.Key} was {before.Value}, is {fact.Value}");
            if (was.Risk != step.Risk) moved.Add($"{key} on {where}: \"{step.Text}\" was {was.Risk}, is {step.Risk}");
        }
        moved.AddRange(olds.Values.Select(s => $"{key} on {where}: step \"{s.Text}\" is no longer needed"));
    }

    private static string Key(ResourcePlan plan) => Agents.Orchestrator.Keys.Of(plan.Resource);
}
