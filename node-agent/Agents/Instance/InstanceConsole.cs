using AgentMetal.NodeAgent.Host.Files;
using AgentMetal.NodeAgent.Host.Libvirt;
using AgentMetal.NodeAgent.Pipeline;
using AgentMetal.Runtime.Consoles;
using AgentMetal.Runtime.Resources;
using AgentMetal.Runtime.Resources.Kinds;

namespace AgentMetal.NodeAgent.Agents.Instance;

/// <summary>The first serial port of an instance's machine.</summary>
internal sealed class InstanceConsole(ILibvirtReader domains, ILibvirtConsole consoles, IFileReader files, InstanceRoots roots) : IMemberConsole
{
    /// <summary>Of the log, at most this much is looked at for lines.</summary>
    internal const int MaxRecent = 256 * 1024;

    private static readonly TimeSpan Deadline = TimeSpan.FromSeconds(8);

    public string Kind => InstanceKind.Name;

    public async ValueTask<OpenedConsole> OpenAsync(MemberInput input, bool force, CancellationToken stop)
    {
        var (what, next) = ($"{InstanceKind.Name.ToLowerInvariant()}/{input.Name}", "agentmetal local why instance/" + input.Name);
        if (NameError(input) is { } wrong) return OpenedConsole.Not(ConsoleEnd.Failed, $"{what}: {wrong}", next);
        var domain = AdoptedBy(input) is { Length: > 0 } adopted ? await domains.DomainByNameAsync(adopted, stop) : await domains.DomainAsync(LayoutOf(input).Uuid, stop);
        if (!domain.IsSeen) return OpenedConsole.Not(ConsoleEnd.Failed, $"{what}: {domain.WhyUnseen}", next);
        if (!domain.Value.Exists) return OpenedConsole.Not(ConsoleEnd.Failed, $"{what} has no machine yet", next);
        if (domain.Value.Power is DomainPower.ShutOff or DomainPower.Crashed)
            return OpenedConsole.Not(ConsoleEnd.Failed, $"{what} is off, and a machine that is off has no console", "see why: agentmetal describe instance " + input.Name);
        var (console, outcome) = await consoles.OpenAsync(domain.Value.Uuid, force, Deadline, stop);
        if (console is not null) return new(console, null);
        return IsTaken(outcome)
            ? OpenedConsole.Not(ConsoleEnd.Busy, $"the console of {what} is open already", "take it from whoever has it: the same command with --force")
            : OpenedConsole.Not(ConsoleEnd.Failed, $"the console of {what} cannot be opened: {outcome.Detail}", next);
    }

    public ReadOnlyMemory<byte> Recent(MemberInput input, int lines)
    {
        if (lines <= 0 || NameError(input) is not null || AdoptedBy(input).Length > 0) return default;
        var tail = files.Tail(LayoutOf(input).ConsoleLog, MaxRecent);
        return tail.IsSeen ? LastLines(tail.Value.Bytes, lines) : default;
    }

    /// <summary>The last lines; one that has not ended, such as a prompt, is one.</summary>
    internal static ReadOnlyMemory<byte> LastLines(ReadOnlyMemory<byte> text, int lines)
    {
        var span = text.Span;
        var at = span.Length;
        if (at > 0 && span[at - 1] == (byte)'\n') at--;
        for (; lines > 0; lines--)
        {
            at = span[..at].LastIndexOf((byte)'\n');
            if (at < 0) return text;
        }
        return text[(at + 1)..];
    }

    // libvirt's own words (qemuDomainOpenConsole); its number for it says no more than that the operation failed.
    private static bool IsTaken(DomainOutcome outcome) => outcome.Result == DomainResult.Refused && outcome.Detail.Contains("console session exists", StringComparison.OrdinalIgnoreCase);

    private static string? NameError(MemberInput input) => Names.LabelError(input.Project) ?? Names.LabelError(input.Name);

    private static string AdoptedBy(MemberInput input)
    {
        if (input.Absent) return "";
        var (_, problems) = InstanceKind.Schema.Validate(input.Spec);
        return problems.IsEmpty ? InstanceSpec.Parse(input.Spec).AdoptDomain : "";
    }

    private InstanceLayout LayoutOf(MemberInput input) => InstanceLayout.Of(input.Project, input.Name, input.ResourceUid, input.Ordinal, roots);
}
