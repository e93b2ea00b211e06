using System.Collections.Immutable;
using AgentMetal.Coordinator.Agents;
using AgentMetal.Coordinator.Agents.Orchestrator;
using AgentMetal.Coordinator.Fleet;
using AgentMetal.Coordinator.Nodes;
using AgentMetal.Proto.V1;
using AgentMetal.Runtime.Planning;
using FieldChange = AgentMetal.Proto.V1.FieldChange;
using Step = AgentMetal.Proto.V1.Step;

namespace AgentMetal.Coordinator.Api;

/// <summary>One member as it would be.</summary>
internal sealed record Prospect(string Node, string NodeName, Assignment Assignment);

/// <summary>Where the members of one resource would be, and how placement would get there.</summary>
internal sealed record Placing(Plan<PlacementGoal, PlacementState> Plan, string GoalHash, IReadOnlyList<Prospect> Members, IReadOnlyList<string> NoRoom);

/// <summary>Says what would change: places in the model, asks every host concerned to look and plan, writes nothing.</summary>
internal sealed class PlanMaker(FleetModel model, PlacementWorld world, PlacementAgent agent, Previews previews, SecretShelf secrets, PlanReservations reservations, AgentCatalog catalog, TimeProvider clock)
{
    private const int MaxAsked = 64;

    private readonly Planner<PlacementGoal, PlacementState> _planner = new(agent);

    /// <summary>Places all of them, one after the other, each seeing the ports of those before. Pure but for reading the model.</summary>
    public IReadOnlyList<Placing?> Place(IReadOnlyList<Admitted> all)
    {
        var placings = new Placing?[all.Count];
        ImmutableSortedDictionary<string, HostView>? hosts = null;
        var placed = new Dictionary<string, string>(StringComparer.Ordinal);
        var brought = all.ToDictionary(a => Keys.Path(a.Resource), a => a.Resource, StringComparer.Ordinal);
        var moved = all.Where(a => a.Action != "unchanged").Select(a => Keys.Path(a.Resource)).ToHashSet(StringComparer.Ordinal);
        foreach (var i in InOrder(all))
        {
            var one = all[i];
            // One that stays as it is has something to do when what it refers to does not.
            if (one.Action == "unchanged" && !catalog.ReferencesOf(one.Resource).Any(to => moved.Contains(Keys.Path(one.Resource.Metadata.Project, to)))) continue;
            var goal = world.Goal(one.Resource, brought, placed);
            var state = world.Observe(one.Resource, exists: one.Before is not null);
            if (hosts is not null) state = state with { Hosts = hosts };
            var request = PlacementWorld.Request(one.Resource, goal);
            var plan = _planner.Plan(request, goal, state, Attempts.None(clock.GetUtcNow()), [], []);
            hosts = plan.Final.Hosts;
            if (plan.Goal!.Target.Values.FirstOrDefault() is { } slot) placed[Keys.Path(one.Resource)] = slot.Node;
            placings[i] = new(plan, request.GoalHash, Prospects(one.Resource, plan, world.Look(one.Resource, brought)),
                [.. plan.Goal!.NoRoom.Select(n => $"member {n.Key} has no host: {n.Value}"), .. plan.Goal.Cramped.Select(n => $"member {n.Key} stays as it is: {n.Value}")]);
        }
        return placings;
    }

    /// <summary>Those on whose host others belong come before these; else the order of the request. A circle is left as it is given.</summary>
    private IEnumerable<int> InOrder(IReadOnlyList<Admitted> all)
    {
        var at = all.Select((a, i) => (Path: Keys.Path(a.Resource), i)).ToDictionary(x => x.Path, x => x.i, StringComparer.Ordinal);
        var done = new HashSet<int>();
        return Enumerable.Range(0, all.Count).SelectMany(Before);

        List<int> Before(int i)
        {
            if (!done.Add(i)) return [];
            var resource = all[i].Resource;
            return [.. catalog.ReferencesOf(resource).Where(to => to.Bond != Bond.None && at.ContainsKey(Keys.Path(resource.Metadata.Project, to))).SelectMany(to => Before(at[Keys.Path(resource.Metadata.Project, to)])), i];
        }
    }

    /// <summary>What refers to nothing and what no host can hold, as errors of the documents.</summary>
    public static IReadOnlyList<FieldError> NotPlaced(IReadOnlyList<Admitted> all, IReadOnlyList<Placing?> placings)
    {
        var errors = new List<FieldError>();
        for (var i = 0; i < all.Count; i++)
        {
            foreach (var missing in placings[i]?.Plan.Goal!.Unresolved ?? [])
            {
                var colon = missing.IndexOf(": ", StringComparison.Ordinal);
                errors.Add(new() { Document = i, Path = missing[..colon], Message = missing[(colon + 2)..], Note = "or give it in the same command: the order of the documents does not matter" });
            }
            foreach (var why in placings[i]?.NoRoom ?? [])
                errors.Add(new() { Document = i, Path = "spec.placement", Message = why, Note = "ask for less, change spec.placement, or add hosts" });
        }
        return errors;
    }

    public async Task<PlanReply> MakeAsync(IReadOnlyList<Admitted> all, IReadOnlyList<Placing?> placings, CancellationToken cancel)
    {
        using var gate = new SemaphoreSlim(MaxAsked);
        var asked = placings.Select(p => p is null ? [] : p.Members.Select(m => AskAsync(m, gate, cancel)).ToArray()).ToArray();
        await Task.WhenAll(asked.SelectMany(a => a));
        var reply = new PlanReply { ExpiresUnixMs = (clock.GetUtcNow() + PlanReservations.Life).ToUnixTimeMilliseconds() };
        var hash = new FieldHash("agentmetal/fleet-plan/v1");
        foreach (var (one, i) in all.Select((a, i) => (a, i)).OrderBy(x => Keys.Path(x.a.Resource), StringComparer.Ordinal))
        {
            var plan = new ResourcePlan { Resource = one.Resource, FromGeneration = one.Before?.Value.Metadata.Generation ?? 0, Action = one.Action };
            if (one.Action != "unchanged") plan.Changes.AddRange(Changes(one));
            hash.Add(Keys.Path(one.Resource)).Add(one.Resource.Metadata.Uid).Add(one.Action).Add(placings[i]?.GoalHash ?? PlacementWorld.GoalHash(one.Resource, null));
            if (placings[i] is { } placing)
            {
                plan.FleetSteps.AddRange(placing.Plan.Steps.Select(s => ToProto(s, one.Resource)));
                hash.Add(placing.Plan.Hash);
                foreach (var member in asked[i].Select(t => t.Result).OrderBy(m => m.Ordinal).ThenBy(m => m.NodeUid, StringComparer.Ordinal))
                {
                    plan.Members.Add(member);
                    hash.Add(member.NodeUid).Add(member.Ordinal).Add(member.Hash).Add(member.Error);
                }
            }
            reply.Resources.Add(plan);
        }
        reply.Hash = hash.Hex();
        return reply;
    }

    private async Task<PlanSummary> AskAsync(Prospect member, SemaphoreSlim gate, CancellationToken cancel)
    {
        await gate.WaitAsync(cancel);
        try
        {
            var plan = await previews.AskAsync(member.Node, member.NodeName, member.Assignment, cancel);
            // Who answered is known from the stream; what it says about itself is not taken.
            (plan.NodeUid, plan.NodeName, plan.Ordinal, plan.ResourceUid) = (member.Node, member.NodeName, member.Assignment.Ordinal, member.Assignment.ResourceUid);
            plan.ResourceKey = Keys.Of(member.Assignment);
            return plan;
        }
        finally { gate.Release(); }
    }

    private List<Prospect> Prospects(Resource resource, Plan<PlacementGoal, PlacementState> plan, Referred referred)
    {
        var (goal, final) = (plan.Goal!, plan.Final);
        var members = new List<Prospect>();
        foreach (var (key, member) in final.Members)
        {
            var wanted = goal.Target.TryGetValue(member.Ordinal, out var slot) && slot.Node == member.Node && !member.Absent;
            wanted |= !member.Absent && PlacementMove.IsLeaving(goal, member); // It has it until it lets go.
            if (!wanted && plan.Start.Members.GetValueOrDefault(key) is { Absent: true }) continue; // On its way out already.
            var args = new MemberArgs(resource.Metadata.Uid, member.Node, PlacementAgent.NameOf(final, member.Node), member.Ordinal, member.Port, goal.Generation, goal.SpecHash, goal.Shape.Primary,
                goal.Protect, goal.Shape.Adopt, [.. member.Peers.Select(p => new PeerArgs(p.Ordinal, p.Node, p.NodeName, p.Address, p.Port))], goal.Signed, member.MemoryBytes, member.CpuMillis,
                PeerArgs.Of(member.MoveFrom), PeerArgs.Of(member.MoveTo));
            var assignment = AssignmentWriter.Build(resource, args, referred);
            if (wanted) Dress(resource, assignment);
            else assignment.Absent = true;
            members.Add(new(member.Node, args.NodeName, assignment));
        }
        return members;
    }

    private void Dress(Resource resource, Assignment assignment)
    {
        var uid = resource.Metadata.Uid;
        foreach (var (name, value) in secrets.Open(model.Current, uid)) assignment.Secrets[name] = value;
        foreach (var name in catalog.ShapeOf(resource).Secrets)
            if (!assignment.Secrets.ContainsKey(name)) assignment.Secrets[name] = Google.Protobuf.ByteString.CopyFrom(reservations.Secret(uid, name));
    }

    private static IEnumerable<FieldChange> Changes(Admitted one)
    {
        var (old, next) = (one.Before?.Value, one.Resource);
        foreach (var c in Runtime.Resources.FieldChange.Between(old?.Spec.Memory ?? default, next.Spec.Memory)) yield return new() { Path = "spec." + c.Path, Before = c.Before, After = c.After };
        foreach (var d in next.Digests)
            if (old is null || !old.Digests.Contains(d)) yield return new() { Path = $"signed.{d.Purpose}", After = $"{d.Sha256[..12]}… by key {d.KeyId[..8]}" };
        if (old is null) yield break;
        if (old.Metadata.Protect != next.Metadata.Protect)
            yield return new() { Path = "metadata.protect", Before = old.Metadata.Protect ? "true" : "false", After = next.Metadata.Protect ? "true" : "false" };
        foreach (var (name, before, after) in new[] { ("labels", old.Metadata.Labels, next.Metadata.Labels), ("annotations", old.Metadata.Annotations, next.Metadata.Annotations) })
            foreach (var key in before.Keys.Union(after.Keys).Order(StringComparer.Ordinal))
            {
                var (was, now) = (before.TryGetValue(key, out var b) ? b : "", after.TryGetValue(key, out var a) ? a : "");
                if (was != now) yield return new() { Path = $"metadata.{name}.{key}", Before = was, After = now };
            }
    }

    private static Step ToProto(Runtime.Planning.Step s, Resource resource)
    {
        var step = new Step
        {
            Index = s.Index,
            Wave = s.Wave,
            NodeUid = FleetJournal.Chain,
            NodeName = FleetJournal.Chain,
            ResourceUid = resource.Metadata.Uid,
            Generation = resource.Metadata.Generation,
            Tool = s.Tool,
            ToolVersion = s.ToolVersion,
            Args = s.Args,
            Risk = s.Risk.Level.ToString(),
            LosesData = s.Risk.LosesData,
            Undo = new() { Kind = s.Undo.Kind.ToString(), Tool = s.Undo.Call?.Tool ?? "", Args = s.Undo.Call?.Args ?? "", Why = s.Undo.Why },
            Hash = s.Hash,
            Why = s.Why,
            Difference = s.Difference,
            Group = s.Group,
            Text = s.Text,
            UndoText = s.UndoText,
        };
        step.RiskReasons.AddRange(s.Risk.Reasons);
        step.Basis.AddRange(s.Basis.Select(f => new Proto.V1.Fact { Key = f.Key, Value = f.Value }));
        step.Expect.AddRange(s.Expect.Select(f => new Proto.V1.Fact { Key = f.Key, Value = f.Value }));
        return step;
    }
}
