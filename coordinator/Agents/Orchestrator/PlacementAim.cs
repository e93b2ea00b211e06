using System.Collections.Immutable;

namespace AgentMetal.Coordinator.Agents.Orchestrator;

/// <summary>
/// Solves where members belong: keep what is placed, then spread what is missing over hosts that fit. Pure; called once per plan. A member with data of its
/// own is never moved by this unless a person names the host where it belongs: what leaves a host is theirs to decide, not an algorithm's. One that is a
/// part of another resource goes where that is.
/// </summary>
internal static class PlacementAim
{
    public static PlacementGoal Solve(PlacementGoal goal, PlacementState state)
    {
        var target = ImmutableSortedDictionary.CreateBuilder<int, Slot>();
        var noRoom = ImmutableSortedDictionary.CreateBuilder<int, string>();
        var misplaced = ImmutableSortedDictionary.CreateBuilder<int, string>();
        var cramped = ImmutableSortedDictionary.CreateBuilder<int, string>();
        var moves = ImmutableSortedDictionary.CreateBuilder<int, Moving>();
        // Hosts of this resource's members, those that are on their way out included: their port and data are still there.
        var taken = state.Members.Values.Select(m => m.Node).ToHashSet(StringComparer.Ordinal);
        // What this plan reserves is gone for its next member.
        var room = state.Hosts;
        for (var ordinal = 0; ordinal < goal.Shape.Members; ordinal++)
        {
            var (move, stays) = PlacementMove.Of(goal, state, ordinal, room);
            if (stays is not null) misplaced[ordinal] = stays;
            if (move is not null)
            {
                moves[ordinal] = move;
                taken.Add(move.To);
                if (move.Stage != MoveStage.CalledOff && state.Members.GetValueOrDefault(Placement.KeyOf(move.To, ordinal)) is null)
                {
                    target[ordinal] = new(move.To, goal.Shape.Port);
                    room = PlacementRoom.With(room, goal, state.ResourceUid, ordinal, move.To);
                    continue;
                }
            }
            if ((move is null ? Kept(goal, state, ordinal) : state.Members[Placement.KeyOf(move.Belongs, ordinal)]) is not { } member) continue;
            var port = PortAt(state, member.Node, goal.Shape.Port, ordinal) is { } holder ? member.Port : goal.Shape.Port;
            target[ordinal] = new(member.Node, port);
            if (PlacementRoom.WhyNotGrow(goal, room.GetValueOrDefault(member.Node), member) is { } tight) cramped[ordinal] = tight;
            else room = PlacementRoom.With(room, goal, state.ResourceUid, ordinal, member.Node);
            if (WhyMisplaced(goal, state, member, port) is { } why) misplaced[ordinal] = why;
        }
        for (var ordinal = 0; ordinal < goal.Shape.Members && goal.Unresolved.IsEmpty; ordinal++)
        {
            if (target.ContainsKey(ordinal)) continue;
            if (Best(goal, Able(goal, room.Values), taken) is { } host)
            {
                target[ordinal] = new(host.Uid, goal.Shape.Port);
                taken.Add(host.Uid);
                room = PlacementRoom.With(room, goal, state.ResourceUid, ordinal, host.Uid);
            }
            else noRoom[ordinal] = WhyNoRoom(goal, room, taken);
        }
        return goal with { Target = target.ToImmutable(), NoRoom = noRoom.ToImmutable(), Misplaced = misplaced.ToImmutable(), Cramped = cramped.ToImmutable(), Moves = moves.ToImmutable() };
    }

    /// <summary>The host where this ordinal is, or was when its release has not been acknowledged yet: its data may still be there.</summary>
    private static MemberView? Kept(PlacementGoal goal, PlacementState state, int ordinal)
    {
        MemberView? leaving = null;
        foreach (var member in state.Members.Values)
        {
            if (member.Ordinal != ordinal || HasGone(goal, state, member.Node)) continue;
            if (!member.Absent) return member;
            if (Fits(goal, state.Hosts.GetValueOrDefault(member.Node)) is null) leaving ??= member;
        }
        return leaving;
    }

    /// <summary>What it is a part of is on another host by now, which can have it.</summary>
    private static bool HasGone(PlacementGoal goal, PlacementState state, string node)
    {
        foreach (var other in goal.Beside)
            if (other is { Bond: Bond.Follows, Node.Length: > 0 } && other.Node != node && Fits(goal, state.Hosts.GetValueOrDefault(other.Node)) is null) return true;
        return false;
    }

    private static PortHolder? PortAt(PlacementState state, string node, int port, int ordinal) =>
        state.Hosts.TryGetValue(node, out var host) && host.Ports.TryGetValue(port, out var holder)
        && (holder.Resource != state.ResourceUid || holder.Ordinal != ordinal) ? holder : null;

    private static string? WhyMisplaced(PlacementGoal goal, PlacementState state, MemberView member, int port)
    {
        if (!state.Hosts.TryGetValue(member.Node, out var host)) return null;
        if (!HasLabels(goal, host)) return $"{host.Name} has not the labels {LabelText(goal)}";
        if (goal.Beside.FirstOrDefault(o => o.Bond != Bond.AtFirst && o.Node.Length > 0 && o.Node != member.Node) is { } apart) return $"{apart.Key} is on {PlacementAgent.NameOf(state, apart.Node)}";
        return port != goal.Shape.Port ? $"port {goal.Shape.Port} on {host.Name} is taken by {PortAt(state, member.Node, goal.Shape.Port, member.Ordinal)!.Key}" : null;
    }

    // Who reserves memory goes where the largest share of it is free; the others go where the fewest members are.
    private static HostView? Best(PlacementGoal goal, IEnumerable<HostView> hosts, HashSet<string> taken) => hosts
        .Where(h => !IsTaken(goal, h, taken) && Fits(goal, h) is null && IsBeside(goal, h) && !h.Ports.ContainsKey(goal.Shape.Port) && PlacementRoom.WhyNone(goal, h) is null)
        .OrderByDescending(h => PlacementRoom.FreeShare(goal, h)).ThenBy(h => h.Load).ThenBy(h => h.Name, StringComparer.Ordinal).ThenBy(h => h.Uid, StringComparer.Ordinal).FirstOrDefault();

    /// <summary>Where none of them has a hypervisor all are left: the member itself says what to install, and goes on when that is done.</summary>
    private static IEnumerable<HostView> Able(PlacementGoal goal, IEnumerable<HostView> hosts) => hosts.Where(h => !Lacks(goal, h, hosts));

    private static bool Lacks(PlacementGoal goal, HostView host, IEnumerable<HostView> hosts) => goal.Shape.Hypervisor && host.NoHypervisor && hosts.Any(h => !h.NoHypervisor && HasLabels(goal, h) && IsNamed(goal, h));

    private static bool IsBeside(PlacementGoal goal, HostView host)
    {
        foreach (var other in goal.Beside)
            if (other.Node != host.Uid) return false;
        return true;
    }

    // A port is one member's on a host, so a second member of the resource does not fit beside the first, spread or not.
    private static bool IsTaken(PlacementGoal goal, HostView host, HashSet<string> taken) => (goal.Shape.SpreadOverHosts || goal.Shape.Port > 0) && taken.Contains(host.Uid);

    /// <summary>Null when the host can be given a member, its port apart.</summary>
    internal static string? Fits(PlacementGoal goal, HostView? host)
    {
        if (host is null) return "is not known";
        if (!HasLabels(goal, host)) return "has not the labels";
        if (!IsNamed(goal, host)) return $"is not {goal.Shape.Node}";
        if (host.Standing == Standing.Away) return "is away";
        if (host.Standing == Standing.Quarantined) return "is quarantined";
        if (host.Standing == Standing.Refuses) return "does not follow this store";
        if (host.Address.Length == 0) return "has told no address";
        if (!host.Kinds.Contains(goal.Kind)) return $"runs a build without {goal.Kind}";
        return null;
    }

    private static bool IsNamed(PlacementGoal goal, HostView host) => goal.Shape.Node.Length == 0 || host.Name == goal.Shape.Node;

    private static bool HasLabels(PlacementGoal goal, HostView host)
    {
        foreach (var (key, value) in goal.Shape.Labels)
            if (!host.Labels.TryGetValue(key, out var has) || has != value) return false;
        return true;
    }

    private static string WhyNoRoom(PlacementGoal goal, ImmutableSortedDictionary<string, HostView> hosts, HashSet<string> taken)
    {
        if (hosts.IsEmpty) return "no host has joined";
        if (goal.Beside.FirstOrDefault(o => o.Node.Length == 0) is { } nowhere) return $"it belongs beside {nowhere.Key}, which {nowhere.Why}";
        if (goal.Beside.Select(o => o.Node).Distinct(StringComparer.Ordinal).Count() > 1)
            return "it belongs beside " + string.Join(" and ", goal.Beside.Take(4).Select(o => $"{o.Key} (on {(hosts.TryGetValue(o.Node, out var at) ? at.Name : o.Node)})")) + ", and those are not on one host";
        if (goal.Shape.Node.Length > 0 && !hosts.Values.Any(h => IsNamed(goal, h))) return $"no host is named {goal.Shape.Node}";
        var matching = hosts.Values.Where(h => IsNamed(goal, h) && HasLabels(goal, h)).ToList();
        List<string> parts = [];
        if (goal.Beside is [var beside, ..])
        {
            parts.Add($"it belongs beside {beside.Key}, which is on {(hosts.TryGetValue(beside.Node, out var at) ? at.Name : beside.Node)}");
            matching = [.. matching.Where(h => IsBeside(goal, h))];
        }
        if (!goal.Shape.Labels.IsEmpty) parts.Add($"labels {LabelText(goal)} match {matching.Count} of {hosts.Count} hosts");
        Add(h => Taken(h), goal.Shape.SpreadOverHosts ? "has a member already (spread: host)" : $"has a member on port {goal.Shape.Port} already");
        Add(h => !Taken(h) && h.Standing == Standing.Away, "is away");
        Add(h => !Taken(h) && h.Standing == Standing.Quarantined, "is quarantined");
        Add(h => !Taken(h) && h.Standing == Standing.Refuses, "does not follow this store (agentmetal nodes accept-store)");
        Add(h => !Taken(h) && h.Standing == Standing.Open && h.Address.Length == 0, "has told no address");
        Add(h => !Taken(h) && h.Standing == Standing.Open && h.Address.Length > 0 && !h.Kinds.Contains(goal.Kind), $"runs a build without {goal.Kind}");
        Add(h => !Taken(h) && Fits(goal, h) is null && Lacks(goal, h, hosts.Values), "has no hypervisor (apt-get install libvirt-daemon-system qemu-system-x86 qemu-utils xorriso, then systemctl restart agentmetald)");
        var fitting = matching.Where(h => !Taken(h) && Fits(goal, h) is null && !Lacks(goal, h, hosts.Values)).OrderBy(h => h.Name, StringComparer.Ordinal).ToList();
        foreach (var host in fitting.Where(h => h.Ports.ContainsKey(goal.Shape.Port)).Take(3))
            parts.Add($"port {goal.Shape.Port} on {host.Name} is taken by {host.Ports[goal.Shape.Port].Key}");
        var full = fitting.Where(h => !h.Ports.ContainsKey(goal.Shape.Port)).Select(h => PlacementRoom.WhyNone(goal, h)).OfType<string>().ToList();
        parts.AddRange(full.Take(3));
        if (full.Count > 3) parts.Add($"and {full.Count - 3} more hosts without room");
        return string.Join("; ", parts);

        bool Taken(HostView host) => IsTaken(goal, host, taken);

        void Add(Func<HostView, bool> which, string what)
        {
            var names = matching.Where(which).Select(h => h.Name).Order(StringComparer.Ordinal).ToList();
            if (names.Count == 0) return;
            parts.Add($"{string.Join(", ", names.Take(3))}{(names.Count > 3 ? $" and {names.Count - 3} more" : "")}: {what}");
        }
    }

    private static string LabelText(PlacementGoal goal) => string.Join(',', goal.Shape.Labels.Select(l => l.Key + "=" + l.Value));
}
