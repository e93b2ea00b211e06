using System.Text;
using AgentMetal.NodeAgent.Host.Libvirt;
using AgentMetal.Runtime.Planning;
using static AgentMetal.NodeAgent.Host.Must;

namespace AgentMetal.NodeAgent.Agents.Instance;

/// <summary>The part that writes down, beside the disks, what libvirt does not remember.</summary>
internal sealed partial class InstanceActuator
{
    /// <summary>By the run: the next one of the machine is another guest, also after a boot of the host.</summary>
    private void NoteHung(DomainState domain)
    {
        if (scope.Adopt.Length == 0) Done(writers.Files.Write(_layout.Hung, Encoding.ASCII.GetBytes(InstanceObserver.RunOf(readers, domain) + "\n"), Root(0x180)));
    }

    /// <summary>Names of domains of libvirt, whoever made them, that use files in the directory; not our own.</summary>
    public static async Task<IReadOnlyList<string>> UsersAsync(InstanceReaders readers, InstanceLayout layout, CancellationToken stop)
    {
        var domains = await readers.Domains.DomainsAsync(stop);
        if (!domains.IsSeen) throw new WorldException(domains.WhyUnseen!);
        var users = new List<string>();
        foreach (var brief in domains.Value.Where(d => d.Uuid != layout.Uuid).OrderBy(d => d.Name, StringComparer.Ordinal))
        {
            var domain = await readers.Domains.DomainAsync(brief.Uuid, stop);
            if (!domain.IsSeen) throw new WorldException(domain.WhyUnseen!);
            // Labels and hyphens: nothing of the path is written in another way in XML. What runs says the files below its disks too.
            if ((domain.Value.InactiveXml + domain.Value.ActiveXml).Contains(layout.Dir + "/", StringComparison.Ordinal)) users.Add(brief.Name);
        }
        return users;
    }

    /// <summary>Looked at again at the last moment: what is deleted is nobody's to bring back.</summary>
    private async ValueTask EnsureNobodyElsesAsync(CancellationToken stop)
    {
        if (MarkedFor() is { Length: > 0 } other && other != _layout.Uuid) throw new WorldException($"{_layout.Dir} is another instance's ({other})");
        // What is not installed runs nothing.
        if (scope.Emulator.Length > 0 && readers.Files.Look(scope.Programs.Daemon) is { IsSeen: true, Value.Exists: false }) return;
        if (await UsersAsync(readers, _layout, stop) is { Count: > 0 } users) throw new WorldException($"domain {string.Join(", ", users)} uses files in {_layout.Dir}");
    }

    /// <summary>Whose it is is written where it is, before anything else is put there.</summary>
    private void MarkDir()
    {
        if (MarkedFor() is { Length: > 0 } other && other != _layout.Uuid) throw new WorldException($"{_layout.Dir} is another instance's ({other})");
        Done(writers.Files.Write(_layout.OwnerMark, Encoding.ASCII.GetBytes(_layout.Uuid + "\n"), Root(0x180)));
    }

    private string MarkedFor()
    {
        var mark = readers.Files.Read(_layout.OwnerMark, 1024);
        return !mark.IsSeen ? throw new WorldException(mark.WhyUnseen!) : Encoding.UTF8.GetString(mark.Value.Bytes.Span).Trim();
    }

    private void RememberCards(DomainConfig config) => Done(config.Nics.IsEmpty ? writers.Files.Delete(_layout.Cards)
        : writers.Files.Write(_layout.Cards, Encoding.UTF8.GetBytes(string.Concat(config.Nics.Select(n => n.Mac + " " + Aspect.TextOf(n with { IsUnplugged = false }) + "\n"))), Root(0x180)));
}
