using AgentMetal.NodeAgent.Host.Libvirt;
using AgentMetal.Runtime.Planning;

namespace AgentMetal.NodeAgent.Agents.Instance;

/// <summary>Which accelerator of the host can really run a guest, in the words of libvirt's domain types.</summary>
internal interface IAccelerators
{
    /// <summary>kvm or qemu; "-" when neither can.</summary>
    ValueTask<string> FindAsync(CancellationToken stop);
}

/// <summary>By running one.</summary>
internal sealed class Accelerators(HypervisorProbe probe) : IAccelerators
{
    public async ValueTask<string> FindAsync(CancellationToken stop) => (await probe.ProbeAsync(stop)).Accelerator switch
    {
        Accelerator.Kvm => "kvm",
        Accelerator.Tcg => "qemu",
        _ => FactValue.Absent,
    };
}
