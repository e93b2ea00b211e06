using System.Buffers.Text;
using System.Collections.Immutable;
using System.Runtime.InteropServices;

namespace AgentMetal.NodeAgent.Host.Libvirt;

/// <summary>Reads counters of many domains with one call, from the typed parameters of virConnectGetAllDomainStats (libvirt-domain.h).</summary>
internal static unsafe class DomainCounters
{
    private const uint Wanted = Virt.StatsState | Virt.StatsCpuTotal | Virt.StatsBalloon | Virt.StatsVcpu | Virt.StatsInterface | Virt.StatsBlock;

    /// <summary>A domain that another call holds is told with what can be had at once. Only QEMU knows the flag.</summary>
    private const uint NoWait = 1 << 29;

    /// <summary>Up to so many domains are looked up one by one; for more it is cheaper to ask for all and keep those.</summary>
    private const int FewDomains = 4;

    /// <summary>Disks or interfaces of one domain that are read; more cannot be told apart from nonsense.</summary>
    private const int MaxDevices = 1024;

    internal static IReadOnlyList<DomainStats> Read(LibvirtSession session, IReadOnlyCollection<string> uuids)
    {
        var flags = session.IsQemu ? NoWait : 0;
        if (uuids.Count is > 0 and <= FewDomains)
            return ReadFew(session, uuids, flags);

        var count = Virt.ConnectGetAllDomainStats(session.Connection, Wanted, out var records, flags);
        LibvirtReader.Check(count, "virConnectGetAllDomainStats");
        var all = Take(records, count);
        if (uuids.Count == 0)
            return all;

        var wanted = uuids.ToHashSet(StringComparer.Ordinal);
        all.RemoveAll(one => !wanted.Contains(one.Uuid));
        return all;
    }

    private static IReadOnlyList<DomainStats> ReadFew(LibvirtSession session, IReadOnlyCollection<string> uuids, uint flags)
    {
        var domains = new List<VirDomain>();
        try
        {
            foreach (var uuid in uuids)
            {
                try
                {
                    domains.Add(LibvirtReader.Find(session, uuid));
                }
                catch (LibvirtException error) when (error.IsNotFound)
                {
                    // It is left out, as the contract says.
                }
            }

            if (domains.Count == 0)
                return [];

            var list = stackalloc nint[FewDomains + 1];
            for (var i = 0; i <= FewDomains; i++)
                list[i] = i < domains.Count ? domains[i].Raw : 0;
            var count = Virt.DomainListGetStats(list, Wanted, out var records, flags);
            LibvirtReader.Check(count, "virDomainListGetStats");
            return Take(records, count);
        }
        finally
        {
            foreach (var domain in domains)
                domain.Dispose();
        }
    }

    private static List<DomainStats> Take(Virt.StatsRecord** records, int count)
    {
        try
        {
            var all = new List<DomainStats>(count);
            for (var i = 0; i < count; i++)
                all.Add(One(records[i]));
            return all;
        }
        finally
        {
            Virt.StatsRecordListFree(records);
        }
    }

    private static DomainStats One(Virt.StatsRecord* record)
    {
        long state = 0, cpu = 0, current = 0, maximum = 0, rss = 0, vcpus = 0;
        var disks = new List<DiskStats>();
        var nics = new List<NicStats>();
        for (var i = 0; i < record->Count; i++)
        {
            var parameter = record->Parameters + i;
            var name = MemoryMarshal.CreateReadOnlySpanFromNullTerminated(parameter->Name);
            if (name.StartsWith("block."u8))
                Disk(disks, name["block."u8.Length..], parameter);
            else if (name.StartsWith("net."u8))
                Nic(nics, name["net."u8.Length..], parameter);
            else if (name.SequenceEqual("state.state"u8))
                state = Number(parameter);
            else if (name.SequenceEqual("cpu.time"u8))
                cpu = Number(parameter);
            else if (name.SequenceEqual("balloon.current"u8))
                current = Number(parameter);
            else if (name.SequenceEqual("balloon.maximum"u8))
                maximum = Number(parameter);
            else if (name.SequenceEqual("balloon.rss"u8))
                rss = Number(parameter);
            else if (name.SequenceEqual("vcpu.current"u8))
                vcpus = Number(parameter);
        }

        return new DomainStats
        {
            Uuid = Virt.UuidOf(record->Domain),
            Power = LibvirtWords.PowerOf((int)state),
            CpuTimeNs = cpu,
            BalloonCurrentKiB = current,
            BalloonMaximumKiB = maximum,
            RssKiB = rss,
            Vcpus = (int)vcpus,
            Disks = [.. disks],
            Nics = [.. nics],
        };
    }

    /// <summary>"3.rd.bytes": a value of the fourth disk.</summary>
    private static void Disk(List<DiskStats> disks, ReadOnlySpan<byte> name, Virt.Parameter* parameter)
    {
        var index = Index(disks, ref name, new DiskStats("", 0, 0, 0, 0, 0, 0));
        if (index < 0)
            return;

        var disk = disks[index];
        if (name.SequenceEqual("name"u8))
            disk = disk with { Target = Text(parameter) };
        else if (name.SequenceEqual("rd.bytes"u8))
            disk = disk with { RdBytes = Number(parameter) };
        else if (name.SequenceEqual("wr.bytes"u8))
            disk = disk with { WrBytes = Number(parameter) };
        else if (name.SequenceEqual("rd.reqs"u8))
            disk = disk with { RdReqs = Number(parameter) };
        else if (name.SequenceEqual("wr.reqs"u8))
            disk = disk with { WrReqs = Number(parameter) };
        else if (name.SequenceEqual("allocation"u8))
            disk = disk with { Allocation = Number(parameter) };
        else if (name.SequenceEqual("capacity"u8))
            disk = disk with { Capacity = Number(parameter) };
        disks[index] = disk;
    }

    private static void Nic(List<NicStats> nics, ReadOnlySpan<byte> name, Virt.Parameter* parameter)
    {
        var index = Index(nics, ref name, new NicStats("", 0, 0, 0, 0, 0, 0));
        if (index < 0)
            return;

        var nic = nics[index];
        if (name.SequenceEqual("name"u8))
            nic = nic with { Device = Text(parameter) };
        else if (name.SequenceEqual("rx.bytes"u8))
            nic = nic with { RxBytes = Number(parameter) };
        else if (name.SequenceEqual("tx.bytes"u8))
            nic = nic with { TxBytes = Number(parameter) };
        else if (name.SequenceEqual("rx.pkts"u8))
            nic = nic with { RxPackets = Number(parameter) };
        else if (name.SequenceEqual("tx.pkts"u8))
            nic = nic with { TxPackets = Number(parameter) };
        else if (name.SequenceEqual("rx.drop"u8))
            nic = nic with { RxDrops = Number(parameter) };
        else if (name.SequenceEqual("tx.drop"u8))
            nic = nic with { TxDrops = Number(parameter) };
        nics[index] = nic;
    }

    /// <summary>Takes "3." off the name and makes room for the fourth; -1 for "count" and for what is not a device's value.</summary>
    private static int Index<T>(List<T> devices, ref ReadOnlySpan<byte> name, T empty)
    {
        if (!Utf8Parser.TryParse(name, out int index, out var length) || index is < 0 or >= MaxDevices || name.Length <= length || name[length] != (byte)'.')
            return -1;

        while (devices.Count <= index)
            devices.Add(empty);
        name = name[(length + 1)..];
        return index;
    }

    /// <summary>A number, whatever type the hypervisor chose (virTypedParameterType); -1 and the like, which mean "not known", become 0.</summary>
    private static long Number(Virt.Parameter* parameter) => parameter->Type switch
    {
        1 => Math.Max(0, parameter->Int),
        2 => (uint)parameter->Int,
        3 or 4 => Math.Max(0, parameter->Long),
        _ => 0,
    };

    private static string Text(Virt.Parameter* parameter) => parameter->Type == 7 ? Virt.Text(parameter->Text) : "";
}
