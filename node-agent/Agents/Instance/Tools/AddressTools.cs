using System.Text.Json;
using AgentMetal.Runtime.Planning;
using AgentMetal.Runtime.Risk;

namespace AgentMetal.NodeAgent.Agents.Instance.Tools;

/// <summary>Has a libvirt network keep an address for a card, before the guest asks for one.</summary>
internal sealed class ReserveAddress(InstanceScope scope, InstanceActuator? actuator)
    : InstanceTool<AddressArgs>(ToolName, InstanceJson.Default.AddressArgs, scope, actuator, Kind.Address)
{
    public const string ToolName = "reserve-address";

    public override IEnumerable<Move<AddressArgs>> Propose(InstanceGoal? goal, InstanceState state, Difference difference)
    {
        if (goal is null || !goal.Addresses.TryGetValue(difference.Subject, out var address) || InstanceMoves.IsOnItsWay(goal, state)) yield break;
        var network = Card.NetworkOf(difference.Subject);
        if (state.Dir != Present.It) yield return Move.Wait<AddressArgs>("the directory comes first");
        else if (state.Networks.GetValueOrDefault(network) != Present.Active) yield return Move.Wait<AddressArgs>($"network {network} comes first");
        else if (state.AddressProblems.TryGetValue(difference.Subject, out var problem)) yield return Move.Wait<AddressArgs>(problem, difference.ClearsAfter);
        else yield return Move.Do(new AddressArgs(difference.Subject, address), 3, difference.Text);
    }

    public override Footprint Touches(InstanceState state, AddressArgs args) => new([InstanceFacts.Dir, InstanceFacts.Network(Card.NetworkOf(args.Card))], [InstanceFacts.Address(args.Card)]);
    public override InstanceState Predict(InstanceState state, AddressArgs args) => state with { Addressed = state.Addressed.SetItem(args.Card, args.Address), AddressProblems = state.AddressProblems.Remove(args.Card) };
    public override InstanceState During(InstanceState state, AddressArgs args) => state;
    public override Assessment Assess(InstanceState state, AddressArgs args) => Moderate("network");

    public override Undo Inverse(InstanceState before, AddressArgs args) => before.Addressed.GetValueOrDefault(args.Card, FactValue.Absent) is var was && was != FactValue.Absent ? By(args with { Address = was })
        : Undo.By(new(ReleaseAddress.ToolName, JsonSerializer.Serialize(args, InstanceJson.Default.AddressArgs)));

    public override Timing Timing(AddressArgs args) => Within(TimeSpan.FromMinutes(1));
    public override string Describe(AddressArgs args) => $"keep {args.Address} of network {Card.NetworkOf(args.Card)} for {Card.MacOf(args.Card)}";
    public override ValueTask ApplyAsync(AddressArgs args, ToolContext context) => Actuator.ReserveAsync(args, context.Stop);
}

/// <summary>Gives an address back to its network. What a guest has in hand it has until its lease ends; nobody else is lent it before.</summary>
internal sealed class ReleaseAddress(InstanceScope scope, InstanceActuator? actuator)
    : InstanceTool<AddressArgs>(ToolName, InstanceJson.Default.AddressArgs, scope, actuator, Kind.Address)
{
    public const string ToolName = "release-address";

    public override IEnumerable<Move<AddressArgs>> Propose(InstanceGoal? goal, InstanceState state, Difference difference)
    {
        if (goal is not null && goal.Addresses.ContainsKey(difference.Subject) && !InstanceMoves.IsAway(goal, state)) yield break;
        if (state.Addressed.GetValueOrDefault(difference.Subject, FactValue.Absent) is var address && address == FactValue.Absent) yield break;
        if (goal is null && state.Domain == Owner.Ours) yield return Move.Wait<AddressArgs>("libvirt forgets the machine first");
        else yield return Move.Do(new AddressArgs(difference.Subject, address), 25, difference.Text);
    }

    public override Footprint Touches(InstanceState state, AddressArgs args) => new([], [InstanceFacts.Address(args.Card)]);
    public override InstanceState Predict(InstanceState state, AddressArgs args) => state with { Addressed = state.Addressed.SetItem(args.Card, FactValue.Absent) };
    public override InstanceState During(InstanceState state, AddressArgs args) => state;
    public override Assessment Assess(InstanceState state, AddressArgs args) => Moderate("network");
    public override Undo Inverse(InstanceState before, AddressArgs args) => Undo.Keep("it is kept again as soon as a card wants it");
    public override Timing Timing(AddressArgs args) => Within(TimeSpan.FromMinutes(1));
    public override string Describe(AddressArgs args) => $"keep {args.Address} of network {Card.NetworkOf(args.Card)} no longer for {Card.MacOf(args.Card)}";
    public override ValueTask ApplyAsync(AddressArgs args, ToolContext context) => Actuator.ReleaseAddressAsync(args, context.Stop);
}
