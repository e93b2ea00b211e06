using AgentMetal.NodeAgent.Agents.Instance;

namespace AgentMetal.NodeAgent.Tests.Agents.Instance;

public sealed class DomainXmlTests
{
    private static readonly DomainConfig s_config = new()
    {
        Name = "default-hello",
        Uuid = "11111111-2222-8333-8444-555555555555",
        Title = "Instance default/hello",
        Type = "qemu",
        Cpus = 2,
        MaxCpus = 4,
        MemoryKiB = 65536,
        MaxMemoryKiB = 131072,
        Kernel = "/var/lib/agentmetal/images/k.kernel",
        Initrd = "/var/lib/agentmetal/images/i.initrd",
        Cmdline = "console=ttyS0",
        Disks = [new("vda", "/var/lib/agentmetal/instances/a/root.qcow2", "qcow2"), new("vdz", "/x/seed.iso", "raw", ReadOnly: true)],
        Nics = [new("52:54:00:00:00:01", "network", "default", "clean-traffic@dhcp"), new("52:54:00:00:00:02", "bridge", "br0", "")],
        GuestAgent = true,
        ConsoleLog = "/var/lib/agentmetal/instances/a/console.log",
    };

    [Fact]
    public void Render_Parsed_IsTheSame()
    {
        var (parsed, why) = DomainXml.Parse(DomainXml.Render(s_config, "/usr/bin/qemu-system-x86_64"));
        Assert.Equal("", why);
        Assert.Equal(s_config.Aspects(), parsed!.Aspects());
        Assert.Equal((s_config.Name, s_config.Uuid, s_config.Title), (parsed.Name, parsed.Uuid, parsed.Title));
    }

    [Theory]
    [InlineData("</cmdline></os><devices><hostdev/></devices><os><cmdline>")]
    [InlineData("init=/bin/sh \"quoted\" & 'single' <tag>")]
    [InlineData("]]><!ENTITY x SYSTEM \"file:///etc/shadow\">&x;")]
    public void Render_TextThatLooksLikeMarkup_StaysText(string hostile)
    {
        var xml = DomainXml.Render(s_config with { Cmdline = hostile, Title = hostile, Nics = [new(hostile, "network", hostile, hostile)] }, "/usr/bin/qemu-system-x86_64");
        var (parsed, _) = DomainXml.Parse(xml);
        Assert.Equal(hostile, parsed!.Cmdline);
        Assert.Equal(hostile, parsed.Title);
        Assert.Equal(hostile, Assert.Single(parsed.Nics).Source);
        Assert.Equal("", parsed.Others);
    }

    [Theory]
    [InlineData("<!DOCTYPE d [<!ENTITY a \"b\">]><domain type='qemu'><name>&a;</name></domain>")]
    [InlineData("<domain type='qemu'><memory unit='parsec'>1</memory></domain>")]
    [InlineData("<nope/>")]
    [InlineData("")]
    public void Parse_WhatIsNoDomain_SaysWhy(string text)
    {
        var (config, why) = DomainXml.Parse(text);
        Assert.Null(config);
        Assert.NotEqual("", why);
    }

    [Fact]
    public void Parse_DevicesThatNobodyDeclared_AreNamed()
    {
        var xml = DomainXml.Render(s_config, "").Replace("</devices>", "<hostdev/><filesystem/><graphics type='vnc'/></devices>", StringComparison.Ordinal);
        Assert.Equal("filesystem,graphics,hostdev", DomainXml.Parse(xml).Config!.Others);
    }

    [Theory]
    [InlineData("b", 67108864)]
    [InlineData("KiB", 65536)]
    [InlineData("MiB", 64)]
    public void Parse_UnitsOfMemory_AreOne(string unit, long amount) =>
        Assert.Equal(65536, DomainXml.Parse($"<domain type='qemu'><memory unit='{unit}'>{amount}</memory></domain>").Config!.MaxMemoryKiB);
}
