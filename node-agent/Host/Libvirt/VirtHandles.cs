using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace AgentMetal.NodeAgent.Host.Libvirt;

/// <summary>
/// A connection (virConnectPtr). Domains, networks and streams hold it too: it closes when the last of them is released. Closing asks the
/// daemon and may block, so it is released on a thread for calls and nowhere else.
/// </summary>
internal sealed class VirConnect() : SafeHandleZeroOrMinusOneIsInvalid(true)
{
    protected override bool ReleaseHandle() => Virt.ConnectClose(handle) >= 0;
}

/// <summary>A domain (virDomainPtr): a name and UUID, no lock on anything.</summary>
internal sealed class VirDomain : SafeHandleZeroOrMinusOneIsInvalid
{
    public VirDomain()
        : base(true)
    {
    }

    /// <summary>Takes over what a list of libvirt's gave to its caller.</summary>
    internal VirDomain(nint owned)
        : base(true) => SetHandle(owned);

    /// <summary>For functions that also take borrowed pointers; valid while this object is kept alive by a using.</summary>
    internal nint Raw => handle;

    protected override bool ReleaseHandle() => Virt.DomainFree(handle) == 0;
}

/// <summary>A virtual network (virNetworkPtr).</summary>
internal sealed class VirNetwork() : SafeHandleZeroOrMinusOneIsInvalid(true)
{
    protected override bool ReleaseHandle() => Virt.NetworkFree(handle) == 0;
}

/// <summary>A snapshot (virDomainSnapshotPtr).</summary>
internal sealed class VirSnapshot : SafeHandleZeroOrMinusOneIsInvalid
{
    public VirSnapshot()
        : base(true)
    {
    }

    /// <summary>Takes over what a list of libvirt's gave to its caller.</summary>
    internal VirSnapshot(nint owned)
        : base(true) => SetHandle(owned);

    protected override bool ReleaseHandle() => Virt.SnapshotFree(handle) == 0;
}

/// <summary>A stream of bytes through the connection (virStreamPtr).</summary>
internal sealed class VirStream() : SafeHandleZeroOrMinusOneIsInvalid(true)
{
    protected override bool ReleaseHandle() => Virt.StreamFree(handle) == 0;
}
