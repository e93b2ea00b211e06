using AgentMetal.NodeAgent.Host.Files;
using AgentMetal.NodeAgent.Host.Libvirt;
using AgentMetal.NodeAgent.Host.Systemd;
using AgentMetal.Runtime.Planning;

namespace AgentMetal.NodeAgent.Host;

/// <summary>For those to whom a change that did not happen is the end of what they do: an outcome as an exception, with its words. Meant for `using static`.</summary>
internal static class Must
{
    /// <exception cref="WorldException">It was not done.</exception>
    public static void Done(FileOutcome outcome)
    {
        if (!outcome.IsDone) throw new WorldException($"{outcome.Result}: {outcome.Detail}");
    }

    /// <exception cref="WorldException">It was not done.</exception>
    public static void Done(UnitOutcome outcome)
    {
        if (!outcome.IsDone) throw new WorldException($"{outcome.Result}: {outcome.Detail}");
    }

    /// <exception cref="WorldException">It was not done.</exception>
    public static void Done(DomainOutcome outcome)
    {
        if (!outcome.IsDone) throw new WorldException($"libvirt: {outcome.Result}: {outcome.Detail}");
    }

    /// <exception cref="WorldException">It was not done, although there is what it was about.</exception>
    public static void DoneOrGone(DomainOutcome outcome)
    {
        if (outcome.Result != DomainResult.NotFound) Done(outcome);
    }
}
