using System.Collections.Immutable;
using System.Text.Json.Serialization;
using AgentMetal.Runtime.Planning;
using AgentMetal.Runtime.Risk;

namespace AgentMetal.Coordinator.Agents.Orchestrator;

/// <summary>The world of placement: assignments in the store. Each call is one transaction, and doing it twice changes nothing more.</summary>
internal interface IAssignmentWriter
{
    /// <summary>Writes the assignment as the arguments say, with the resource's spec; mints its secrets if they are not there.</summary>
    /// <exception cref="WorldException">The resource is at another generation, or the store is away.</exception>
    ValueTask PutAsync(MemberArgs args, CancellationToken stop);

    /// <summary>Marks it desired absent.</summary>
    ValueTask ReleaseAsync(ReleaseArgs args, CancellationToken stop);

    /// <summary>Deletes an assignment whose absence the node acknowledged.</summary>
    ValueTask ForgetAsync(ForgetArgs args, CancellationToken stop);

    /// <summary>Deletes the resource and its secrets.</summary>
    ValueTask DropAsync(DropArgs args, CancellationToken stop);
}

internal sealed record PeerArgs(int Ordinal, string Node, string NodeName, string Address, int Port)
{
    public static PeerArgs? Of(PeerView? peer) => peer is null ? null : new(peer.Ordinal, peer.Node, peer.NodeName, peer.Address, peer.Port);

    public PeerView View => new(Ordinal, Node, NodeName, Address, Port);
}

/// <param name="Resource">Its uid.</param>
/// <param name="Node">The host's uid.</param>
/// <param name="NodeName">For people.</param>
/// <param name="Ordinal">Which member.</param>
/// <param name="Port">0 = it listens nowhere.</param>
/// <param name="Generation">Of the resource.</param>
/// <param name="SpecHash">Of the spec and of those that it refers to.</param>
/// <param name="Primary">The ordinal that should be primary.</param>
/// <param name="Protect">Nothing that loses data is allowed.</param>
/// <param name="Adopt">Name of an existing thing to take over; empty = none.</param>
/// <param name="Peers">All members.</param>
/// <param name="Signed">Who signed what of it, as one word.</param>
/// <param name="MemoryBytes">Kept for it on its host.</param>
/// <param name="CpuMillis">Kept for it on its host.</param>
/// <param name="MoveFrom">Where it takes the member from.</param>
/// <param name="MoveTo">Where it hands the member over to.</param>
internal sealed record MemberArgs(string Resource, string Node, string NodeName, int Ordinal, int Port, long Generation, string SpecHash, int Primary, bool Protect,
    string Adopt, ImmutableArray<PeerArgs> Peers, string Signed = "", long MemoryBytes = 0, int CpuMillis = 0,
    [property: JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] PeerArgs? MoveFrom = null,
    [property: JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] PeerArgs? MoveTo = null);

/// <param name="Resource">Its uid.</param>
/// <param name="Node">The host's uid.</param>
/// <param name="NodeName">For people.</param>
/// <param name="Ordinal">Which member.</param>
/// <param name="Generation">Of the resource.</param>
/// <param name="Teardown">The whole resource goes.</param>
/// <param name="After">Key of the member that must serve as primary before; empty = nothing to wait for.</param>
/// <param name="Moved">Key of the member on the host that it was handed over to.</param>
internal sealed record ReleaseArgs(string Resource, string Node, string NodeName, int Ordinal, long Generation, bool Teardown, string After,
    [property: JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] string? Moved = null);

internal sealed record ForgetArgs(string Resource, string Node, string NodeName, int Ordinal);

internal sealed record DropArgs(string Resource, string ResourceKey);

[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase)]
[JsonSerializable(typeof(MemberArgs))]
[JsonSerializable(typeof(ReleaseArgs))]
[JsonSerializable(typeof(ForgetArgs))]
[JsonSerializable(typeof(DropArgs))]
internal sealed partial class PlacementJson : JsonSerializerContext;

/// <summary>What assign and update share: both write one assignment.</summary>
internal abstract class PutTool(string name, IAssignmentWriter writer, string resolves)
    : Tool<PlacementGoal, PlacementState, MemberArgs>(name, 1, PlacementJson.Default.MemberArgs, resolves)
{
    public override IEnumerable<Move<MemberArgs>> Propose(PlacementGoal? goal, PlacementState state, Difference difference)
    {
        if (goal is null) yield break;
        var wanted = PlacementAgent.Wanted(goal, state, difference.Subject);
        yield return Move.Do(ArgsOf(state, wanted), 10 + Math.Min(wanted.Ordinal, 100), difference.Text);
    }

    private static MemberArgs ArgsOf(PlacementState state, MemberView wanted) => new(state.ResourceUid, wanted.Node, PlacementAgent.NameOf(state, wanted.Node), wanted.Ordinal, wanted.Port, wanted.Generation, wanted.SpecHash,
            wanted.Primary, wanted.Protect, wanted.Adopt, [.. wanted.Peers.Select(p => new PeerArgs(p.Ordinal, p.Node, p.NodeName, p.Address, p.Port))],
            wanted.Signed, wanted.MemoryBytes, wanted.CpuMillis, PeerArgs.Of(wanted.MoveFrom), PeerArgs.Of(wanted.MoveTo));

    public override Footprint Touches(PlacementState state, MemberArgs args)
    {
        var key = Placement.KeyOf(args.Node, args.Ordinal);
        var old = state.Members.GetValueOrDefault(key);
        var writes = ImmutableArray.CreateBuilder<string>(5);
        writes.Add("member/" + key);
        if (args.Port > 0 && old?.Port != args.Port) writes.Add(PlacementAgent.PortKey(args.Node, args.Port));
        if (old is { Port: > 0 } && old.Port != args.Port) writes.Add(PlacementAgent.PortKey(args.Node, old.Port));
        if (old?.Hold != Hold.Of(args.MemoryBytes, args.CpuMillis, args.Port)) writes.Add(PlacementAgent.HoldKey(args.Node, args.Resource, args.Ordinal));
        if (old is { Acknowledged: true }) writes.Add("acknowledged/" + key);
        if (old is null) writes.Add("members");
        // A host that goes away keeps its members, and one that is away learns of changes when it is back: only a new member needs it here.
        // One that is on its way out may be said to be gone at any time, and then it is made anew.
        return new(old switch
        {
            null or { Acknowledged: true } => ["generation", "host/" + args.Node],
            { Absent: true } => ["generation", "host/" + args.Node, "acknowledged/" + key],
            _ => ["generation"],
        }, writes.DrainToImmutable());
    }

    public override PlacementState Predict(PlacementState state, MemberArgs args) => state.Put(new()
    {
        Node = args.Node,
        Ordinal = args.Ordinal,
        Port = args.Port,
        Generation = args.Generation,
        SpecHash = args.SpecHash,
        Signed = args.Signed,
        MemoryBytes = args.MemoryBytes,
        CpuMillis = args.CpuMillis,
        Primary = args.Primary,
        Protect = args.Protect,
        Adopt = args.Adopt,
        Peers = [.. args.Peers.Select(p => new PeerView(p.Ordinal, p.Node, p.NodeName, p.Address, p.Port))],
        MoveFrom = args.MoveFrom?.View,
        MoveTo = args.MoveTo?.View,
        Served = state.Members.GetValueOrDefault(Placement.KeyOf(args.Node, args.Ordinal))?.Served ?? 0,
        HandedOver = state.Members.GetValueOrDefault(Placement.KeyOf(args.Node, args.Ordinal))?.HandedOver ?? "",
        Received = state.Members.GetValueOrDefault(Placement.KeyOf(args.Node, args.Ordinal))?.Received ?? "",
    });

    public override Undo Inverse(PlacementState before, MemberArgs args) => Undo.Keep("the host keeps what it was told; the next plan corrects it");

    public override ValueTask ApplyAsync(MemberArgs args, ToolContext context) => writer.PutAsync(args, context.Stop);
}

internal sealed class AssignTool(IAssignmentWriter writer) : PutTool("assign", writer, "missing")
{
    public override Assessment Assess(PlacementState state, MemberArgs args) => Assessment.Moderate("new-member");

    // A kind without ports has one member as a rule, and then its number says nothing.
    public override string Describe(MemberArgs args) => args.Port > 0 ? $"place member {args.Ordinal} on {args.NodeName}, port {args.Port}"
        : args.Peers.Length > 1 ? $"place member {args.Ordinal} on {args.NodeName}" : $"place on {args.NodeName}";
}

internal sealed class UpdateTool(IAssignmentWriter writer) : PutTool("update-assignment", writer, "stale")
{
    // What the change does on the host, and how risky that is, is the host's plan.
    public override Assessment Assess(PlacementState state, MemberArgs args) => Assessment.Safe;

    public override string Describe(MemberArgs args) => $"tell {args.NodeName} generation {args.Generation} of member {args.Ordinal}, peers {string.Join(", ", args.Peers.Select(p => p.NodeName))}";
}

/// <summary>Tells the host where a member belongs that it is to take it from where it is. Its source is told by an update; what leaves it, the source asks a person.</summary>
internal sealed class MoveTool(IAssignmentWriter writer) : PutTool("move", writer, "elsewhere")
{
    public override Assessment Assess(PlacementState state, MemberArgs args) => Assessment.Moderate("moves-member");

    public override string Describe(MemberArgs args) => $"move from {args.MoveFrom?.NodeName} to {args.NodeName}";
}

internal sealed class ReleaseTool(IAssignmentWriter writer)
    : Tool<PlacementGoal, PlacementState, ReleaseArgs>("release", 1, PlacementJson.Default.ReleaseArgs, "extra")
{
    private static readonly TimeSpan LookAgain = TimeSpan.FromSeconds(5);

    public override IEnumerable<Move<ReleaseArgs>> Propose(PlacementGoal? goal, PlacementState state, Difference difference)
    {
        var member = state.Members[difference.Subject];
        var (after, moved) = ("", (string?)null);
        // One that was handed over is gone from here already, and its data with it: whether it serves where it is now is another question.
        if (goal is not null && goal.Moves.GetValueOrDefault(member.Ordinal) is { Stage: MoveStage.Finished } move && move.From == member.Node) moved = Placement.KeyOf(move.To, member.Ordinal);
        else if (goal is not null)
        {
            if (state.Members.Values.Any(m => !m.Absent && m.Ordinal > member.Ordinal && !goal.Target.ContainsKey(m.Ordinal)))
            {
                yield return Move.Wait<ReleaseArgs>("the highest ordinals go first", LookAgain);
                yield break;
            }
            if (!goal.Target.TryGetValue(goal.Shape.Primary, out var slot))
            {
                yield return Move.Wait<ReleaseArgs>($"member {goal.Shape.Primary}, the primary, has no host yet", LookAgain);
                yield break;
            }
            after = Placement.KeyOf(slot.Node, goal.Shape.Primary);
            // The member that leaves may be the primary that was: until the wanted one serves at this generation, nobody else has the data for sure.
            if (state.Members.GetValueOrDefault(after) is not { Absent: false } primary || primary.Served < goal.Generation)
            {
                yield return Move.Wait<ReleaseArgs>($"member {goal.Shape.Primary} on {PlacementAgent.NameOf(state, slot.Node)} does not yet serve as primary at generation {goal.Generation}", LookAgain);
                yield break;
            }
        }
        yield return Move.Do(new ReleaseArgs(state.ResourceUid, member.Node, PlacementAgent.NameOf(state, member.Node), member.Ordinal, state.Generation, goal is null, after, moved), 200, difference.Text);
    }

    public override Footprint Touches(PlacementState state, ReleaseArgs args)
    {
        var key = Placement.KeyOf(args.Node, args.Ordinal);
        return new(args.Moved is { } moved ? ["generation", "handed/" + key, "received/" + moved] : args.After.Length > 0 ? ["generation", "served/" + args.After] : ["generation"], ["member/" + key]);
    }

    public override PlacementState Predict(PlacementState state, ReleaseArgs args)
    {
        var key = Placement.KeyOf(args.Node, args.Ordinal);
        return state.Members.TryGetValue(key, out var member)
            ? state.Put(member with { Absent = true, Teardown = args.Teardown, Generation = args.Generation }) : state;
    }

    public override Assessment Assess(PlacementState state, ReleaseArgs args) => Assessment.Moderate(args.Teardown ? "deletes-resource" : "releases-member");

    public override Undo Inverse(PlacementState before, ReleaseArgs args) => Undo.Keep("the host asks before it deletes data; apply the resource again to keep the member");

    public override string Describe(ReleaseArgs args) => $"release member {args.Ordinal} from {args.NodeName}";

    public override ValueTask ApplyAsync(ReleaseArgs args, ToolContext context) => writer.ReleaseAsync(args, context.Stop);
}

internal sealed class ForgetTool(IAssignmentWriter writer)
    : Tool<PlacementGoal, PlacementState, ForgetArgs>("forget", 1, PlacementJson.Default.ForgetArgs, "acknowledged")
{
    public override IEnumerable<Move<ForgetArgs>> Propose(PlacementGoal? goal, PlacementState state, Difference difference)
    {
        var member = state.Members[difference.Subject];
        yield return Move.Do(new ForgetArgs(state.ResourceUid, member.Node, PlacementAgent.NameOf(state, member.Node), member.Ordinal), 10, difference.Text);
    }

    public override Footprint Touches(PlacementState state, ForgetArgs args)
    {
        var key = Placement.KeyOf(args.Node, args.Ordinal);
        var writes = ImmutableArray.CreateBuilder<string>(8);
        writes.AddRange("member/" + key, "acknowledged/" + key, "served/" + key, "handed/" + key, "received/" + key);
        var member = state.Members.GetValueOrDefault(key);
        if (member is { Port: > 0 }) writes.Add(PlacementAgent.PortKey(args.Node, member.Port));
        if (member is { Hold: not null }) writes.Add(PlacementAgent.HoldKey(args.Node, args.Resource, args.Ordinal));
        writes.Add("members");
        return new([], writes.DrainToImmutable());
    }

    public override PlacementState Predict(PlacementState state, ForgetArgs args) => state.Remove(Placement.KeyOf(args.Node, args.Ordinal));

    public override Assessment Assess(PlacementState state, ForgetArgs args) => Assessment.Safe;

    public override Undo Inverse(PlacementState before, ForgetArgs args) => Undo.Keep("the member is gone from the host already");

    public override string Describe(ForgetArgs args) => $"forget member {args.Ordinal}, gone from {args.NodeName}";

    public override ValueTask ApplyAsync(ForgetArgs args, ToolContext context) => writer.ForgetAsync(args, context.Stop);
}

internal sealed class DropTool(IAssignmentWriter writer)
    : Tool<PlacementGoal, PlacementState, DropArgs>("drop", 1, PlacementJson.Default.DropArgs, "resource-remains")
{
    public override IEnumerable<Move<DropArgs>> Propose(PlacementGoal? goal, PlacementState state, Difference difference) =>
        [Move.Do(new DropArgs(state.ResourceUid, state.ResourceKey), 10, difference.Text)];

    public override Footprint Touches(PlacementState state, DropArgs args) => new(["members", "generation"], ["resource"]);

    public override PlacementState Predict(PlacementState state, DropArgs args) => state with { Exists = false };

    public override Assessment Assess(PlacementState state, DropArgs args) => Assessment.Safe;

    public override Undo Inverse(PlacementState before, DropArgs args) => Undo.Keep("every host has said that its member is gone; apply the resource to have it again");

    public override string Describe(DropArgs args) => $"remove {args.ResourceKey}";

    public override ValueTask ApplyAsync(DropArgs args, ToolContext context) => writer.DropAsync(args, context.Stop);
}
