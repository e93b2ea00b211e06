using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace AgentMetal.NodeAgent.Host.Systemd;

/// <summary>
/// A match rule (D-Bus specification, "Match Rules") and what to do with the signals it lets through. The handler runs
/// on the bus's thread and must not block.
/// </summary>
internal sealed unsafe class BusMatch(string rule, Action<BusMessage> handler)
{
    private SdSlotHandle? _slot;
    private GCHandle _self;

    /// <summary>
    /// Sends the rule. Rules and calls travel in order, so a call made afterwards is answered after the rule holds. A
    /// rule that the bus refuses makes the library drop the connection, which is how we would notice.
    /// </summary>
    /// <returns>False when it could not be sent: then the connection is of no use.</returns>
    internal bool Install(SdBusHandle bus)
    {
        _self = GCHandle.Alloc(this);
        var result = SdBus.AddMatchAsync(bus, out _slot, rule, &OnSignal, 0, GCHandle.ToIntPtr(_self));
        if (result >= 0)
            return true;

        Uninstall();
        return false;
    }

    internal void Uninstall()
    {
        _slot?.Dispose();
        _slot = null;
        if (_self.IsAllocated)
            _self.Free();
    }

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    private static int OnSignal(nint message, nint userdata, nint error)
    {
        ((BusMatch)GCHandle.FromIntPtr(userdata).Target!).Handle(new BusMessage(message));
        return 0;
    }

    private void Handle(BusMessage message)
    {
        try
        {
            handler(message);
        }
        catch (SystemdException)
        {
            // A signal that is not of the shape its documentation promises is not a reason to look.
        }
    }
}
