namespace AgentMetal.NodeAgent.Pipeline;

/// <summary>One number of a member for Prometheus.</summary>
/// <param name="Name">In base units, counters with _total.</param>
/// <param name="Help">One sentence.</param>
/// <param name="IsCounter">It only grows, until what it counts begins anew.</param>
/// <param name="Project">Of the resource.</param>
/// <param name="Resource">Its name.</param>
/// <param name="Device">The part of it that is counted; empty = all of it.</param>
/// <param name="Value">The number.</param>
internal sealed record MemberSample(string Name, string Help, bool IsCounter, string Project, string Resource, string Device, double Value);

/// <summary>Numbers of an agent's members, read when somebody scrapes them and not before.</summary>
internal interface IMemberSeries
{
    /// <summary>The kind whose members it counts.</summary>
    string Kind { get; }

    /// <summary>One call for all of them. What cannot be read now is left out; it does not throw for a server that is down.</summary>
    ValueTask<IReadOnlyList<MemberSample>> ReadAsync(IReadOnlyList<MemberInput> members, CancellationToken stop);
}
