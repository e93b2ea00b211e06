using System.Globalization;
using System.Text;
using System.Xml;
using System.Xml.Linq;
using AgentMetal.NodeAgent.Host.Libvirt;

namespace AgentMetal.NodeAgent.Agents.Instance;

/// <summary>
/// A domain as libvirt's XML (libvirt.org/formatdomain.html), there and back. What goes in is escaped by the writer, never pasted together; what comes out
/// is read without DTDs, entities or anything that would be fetched.
/// </summary>
internal static class DomainXml
{
    private const string AgentChannel = "org.qemu.guest_agent.0";

    /// <summary>Devices that libvirt adds by itself or that we give every domain; any other one was put there by somebody.</summary>
    /// <summary>How libvirt finds out which address a guest may use: any or dhcp (libvirt.org/formatnwfilter.html).</summary>
    private const string Learning = "CTRL_IP_LEARNING";

    /// <summary>The address that a guest may use, where it is known from the beginning.</summary>
    private const string Address = "IP";

    private static readonly HashSet<string> s_known = new(StringComparer.Ordinal)
    {
        "emulator", "disk", "interface", "controller", "serial", "console", "channel", "rng", "memballoon", "input", "audio", "video",
    };

    private static readonly XmlWriterSettings s_settings = new() { OmitXmlDeclaration = true, Indent = true, NewLineChars = "\n", IndentChars = " " };

    /// <summary>The same configuration gives the same text.</summary>
    /// <param name="c">What is wanted.</param>
    /// <param name="emulator">Program; empty for libvirt's test driver.</param>
    public static string Render(DomainConfig c, string emulator) => Text(xml =>
    {
        xml.WriteStartElement("domain");
        xml.WriteAttributeString("type", c.Type);
        xml.WriteElementString("name", c.Name);
        xml.WriteElementString("uuid", c.Uuid);
        xml.WriteElementString("title", c.Title);
        Unit(xml, "memory", c.MaxMemoryKiB);
        Unit(xml, "currentMemory", c.MemoryKiB);
        xml.WriteStartElement("vcpu");
        xml.WriteAttributeString("placement", "static");
        xml.WriteAttributeString("current", Number(c.Cpus));
        xml.WriteString(Number(c.MaxCpus));
        xml.WriteEndElement();
        Os(xml, c);
        Empty(xml, "features", "acpi", "apic");
        if (c.Type == "kvm") Element(xml, "cpu", ("mode", "host-model"));
        Element(xml, "clock", ("offset", "utc"));
        xml.WriteElementString("on_poweroff", "destroy");
        xml.WriteElementString("on_reboot", "restart");
        xml.WriteElementString("on_crash", "destroy");
        xml.WriteStartElement("devices");
        if (emulator.Length > 0) xml.WriteElementString("emulator", emulator);
        Element(xml, "controller", ("type", "usb"), ("model", "none"));
        foreach (var disk in c.Disks) Disk(xml, disk);
        foreach (var nic in c.Nics) Nic(xml, nic);
        Serial(xml, c.ConsoleLog);
        if (c.GuestAgent) Channel(xml);
        Rng(xml);
        Balloon(xml);
        xml.WriteEndElement();
        xml.WriteEndElement();
    });

    /// <summary>One disk, as a device that is attached or detached by itself.</summary>
    public static string Of(DomainDisk disk) => Text(xml => Disk(xml, disk));

    /// <summary>One card, as a device that is attached, changed or detached by itself.</summary>
    public static string Of(DomainNic nic) => Text(xml => Nic(xml, nic));

    /// <summary>What we manage of a domain, or why its description cannot be understood.</summary>
    public static (DomainConfig? Config, string Why) Parse(string text)
    {
        var (domain, why) = LibvirtXml.Load(text, "domain");
        if (domain is null) return (null, why);
        try { return domain.Name.LocalName == "domain" ? (Of(domain), "") : (null, "is not a domain"); }
        catch (Exception e) when (e is FormatException or OverflowException or InvalidOperationException) { return (null, "the description of the domain cannot be understood: " + e.Message); }
    }

    /// <summary>What we manage of a domain.</summary>
    /// <exception cref="FormatException">A number of it is none.</exception>
    public static DomainConfig Of(XElement d)
    {
        var (os, devices, vcpu) = (d.Element("os"), d.Element("devices") ?? new XElement("devices"), d.Element("vcpu"));
        var maxMemory = KiB(d.Element("memory"));
        var maxCpus = vcpu is null ? 1 : int.Parse(vcpu.Value, CultureInfo.InvariantCulture);
        return new()
        {
            Name = Value(d, "name"),
            Uuid = Value(d, "uuid"),
            Title = Value(d, "title"),
            Type = Attribute(d, "type"),
            MaxCpus = maxCpus,
            Cpus = vcpu?.Attribute("current") is { } current ? int.Parse(current.Value, CultureInfo.InvariantCulture) : maxCpus,
            MaxMemoryKiB = maxMemory,
            MemoryKiB = d.Element("currentMemory") is { } now ? KiB(now) : maxMemory,
            Kernel = Value(os, "kernel"),
            Initrd = Value(os, "initrd"),
            Cmdline = Value(os, "cmdline"),
            Disks = [.. devices.Elements("disk").Select(ReadDisk)],
            Nics = [.. devices.Elements("interface").Select(ReadNic)],
            GuestAgent = devices.Elements("channel").Any(c => Attribute(c.Element("target"), "name") == AgentChannel),
            ConsoleLog = devices.Elements("serial").Select(s => Attribute(s.Element("log"), "file")).FirstOrDefault("") ?? "",
            Others = string.Join(',', devices.Elements().Select(Foreign).Where(n => n.Length > 0).Distinct(StringComparer.Ordinal).Order(StringComparer.Ordinal)),
        };
    }

    private static string Foreign(XElement device) => device.Name.LocalName switch
    {
        // A second one is somebody's: a graphics card and a mouse come with a display that nobody declared.
        "channel" when Attribute(device.Element("target"), "name") != AgentChannel => "channel",
        "serial" when Attribute(device.Element("target"), "port") is not ("" or "0") => "serial",
        var name => s_known.Contains(name) ? "" : name,
    };

    private static DomainDisk ReadDisk(XElement disk)
    {
        var source = disk.Element("source");
        var path = Attribute(source, "file");
        return new(Attribute(disk.Element("target"), "dev"), path.Length > 0 ? path : string.Join(' ', source?.Attributes().Select(a => a.Name.LocalName + "=" + a.Value) ?? []),
            Attribute(disk.Element("driver"), "type"), disk.Element("readonly") is not null)
        { Serial = Value(disk, "serial") };
    }

    /// <summary>Every address that it lets through: one more than declared is somebody's change.</summary>
    private static string ReadFilter(XElement? filter)
    {
        var parameters = filter?.Elements("parameter").Where(p => Attribute(p, "name") is Learning or Address).Select(p => "@" + Attribute(p, "value")) ?? [];
        return Attribute(filter, "filter") + string.Concat(parameters);
    }

    private static DomainNic ReadNic(XElement nic)
    {
        var kind = Attribute(nic, "type");
        return new(Attribute(nic.Element("mac"), "address").ToLowerInvariant(), kind, Attribute(nic.Element("source"), kind), ReadFilter(nic.Element("filterref")))
        {
            IsUnplugged = Attribute(nic.Element("link"), "state") == "down",
        };
    }

    private static void Os(XmlWriter xml, DomainConfig c)
    {
        xml.WriteStartElement("os");
        xml.WriteStartElement("type");
        // The test driver of libvirt knows an architecture of 32 bits only.
        xml.WriteAttributeString("arch", c.Type == "test" ? "i686" : "x86_64");
        if (c.Type != "test") xml.WriteAttributeString("machine", "pc");
        xml.WriteString("hvm");
        xml.WriteEndElement();
        if (c.Kernel.Length > 0)
        {
            xml.WriteElementString("kernel", c.Kernel);
            if (c.Initrd.Length > 0) xml.WriteElementString("initrd", c.Initrd);
            if (c.Cmdline.Length > 0) xml.WriteElementString("cmdline", c.Cmdline);
        }
        else Element(xml, "boot", ("dev", "hd"));
        xml.WriteEndElement();
    }

    private static void Disk(XmlWriter xml, DomainDisk disk)
    {
        xml.WriteStartElement("disk");
        xml.WriteAttributeString("type", "file");
        xml.WriteAttributeString("device", "disk");
        // The format is always said: one that QEMU guesses is one that the guest can choose.
        if (disk.ReadOnly) Element(xml, "driver", ("name", "qemu"), ("type", disk.Format));
        else Element(xml, "driver", ("name", "qemu"), ("type", disk.Format), ("discard", "unmap"));
        Element(xml, "source", ("file", disk.Path));
        Element(xml, "target", ("dev", disk.Target), ("bus", "virtio"));
        if (disk.ReadOnly) Element(xml, "readonly");
        if (disk.Serial.Length > 0) xml.WriteElementString("serial", disk.Serial);
        xml.WriteEndElement();
    }

    private static void Nic(XmlWriter xml, DomainNic nic)
    {
        xml.WriteStartElement("interface");
        xml.WriteAttributeString("type", nic.Kind);
        Element(xml, "mac", ("address", nic.Mac));
        Element(xml, "source", (nic.Kind, nic.Source));
        Element(xml, "model", ("type", "virtio"));
        if (nic.IsUnplugged) Element(xml, "link", ("state", "down"));
        if (nic.Filter.Split('@') is [{ Length: > 0 } filter, .. var learning])
        {
            xml.WriteStartElement("filterref");
            xml.WriteAttributeString("filter", filter);
            foreach (var how in learning) Element(xml, "parameter", ("name", how.Length > 0 && char.IsAsciiDigit(how[0]) ? Address : Learning), ("value", how));
            xml.WriteEndElement();
        }
        xml.WriteEndElement();
    }

    private static void Serial(XmlWriter xml, string log)
    {
        xml.WriteStartElement("serial");
        xml.WriteAttributeString("type", "pty");
        if (log.Length > 0) Element(xml, "log", ("file", log), ("append", "on"));
        Element(xml, "target", ("port", "0"));
        xml.WriteEndElement();
        xml.WriteStartElement("console");
        xml.WriteAttributeString("type", "pty");
        if (log.Length > 0) Element(xml, "log", ("file", log), ("append", "on"));
        Element(xml, "target", ("type", "serial"), ("port", "0"));
        xml.WriteEndElement();
    }

    private static void Channel(XmlWriter xml)
    {
        xml.WriteStartElement("channel");
        xml.WriteAttributeString("type", "unix");
        Element(xml, "target", ("type", "virtio"), ("name", AgentChannel));
        xml.WriteEndElement();
    }

    private static void Rng(XmlWriter xml)
    {
        xml.WriteStartElement("rng");
        xml.WriteAttributeString("model", "virtio");
        xml.WriteStartElement("backend");
        xml.WriteAttributeString("model", "random");
        xml.WriteString("/dev/urandom");
        xml.WriteEndElement();
        xml.WriteEndElement();
    }

    private static void Balloon(XmlWriter xml)
    {
        xml.WriteStartElement("memballoon");
        xml.WriteAttributeString("model", "virtio");
        xml.WriteEndElement();
    }

    private static void Unit(XmlWriter xml, string name, long kib)
    {
        xml.WriteStartElement(name);
        xml.WriteAttributeString("unit", "KiB");
        xml.WriteString(Number(kib));
        xml.WriteEndElement();
    }

    private static void Empty(XmlWriter xml, string name, params ReadOnlySpan<string> children)
    {
        xml.WriteStartElement(name);
        foreach (var child in children) Element(xml, child);
        xml.WriteEndElement();
    }

    private static void Element(XmlWriter xml, string name, params ReadOnlySpan<(string Name, string Value)> attributes)
    {
        xml.WriteStartElement(name);
        foreach (var (key, value) in attributes) xml.WriteAttributeString(key, value);
        xml.WriteEndElement();
    }

    private static string Text(Action<XmlWriter> write)
    {
        var text = new StringBuilder(2048);
        using (var xml = XmlWriter.Create(text, s_settings)) write(xml);
        return text.ToString();
    }

    private static long KiB(XElement? amount)
    {
        if (amount is null) return 0;
        var number = long.Parse(amount.Value, CultureInfo.InvariantCulture);
        return Attribute(amount, "unit") switch
        {
            "" or "KiB" or "k" => number,
            "b" or "bytes" => number / 1024,
            "MiB" or "M" => number * 1024,
            "GiB" or "G" => number * 1024 * 1024,
            var unit => throw new FormatException("the unit " + unit + " is not known"),
        };
    }

    private static string Value(XElement? parent, string name) => parent?.Element(name)?.Value ?? "";

    private static string Attribute(XElement? element, string name) => element?.Attribute(name)?.Value ?? "";

    private static string Number(long number) => number.ToString(CultureInfo.InvariantCulture);
}
