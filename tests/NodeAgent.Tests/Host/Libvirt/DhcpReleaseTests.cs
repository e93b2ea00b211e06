using System.Net;
using AgentMetal.NodeAgent.Host.Libvirt;

namespace AgentMetal.NodeAgent.Tests.Host.Libvirt;

/// <summary>The message, by the tables of RFC 2131 (section 2) and RFC 2132; that a real server takes it is RealInstanceTests' affair.</summary>
public sealed class DhcpReleaseTests
{
    [Fact]
    public void Message_IsARequestWithTheGuestsAddressAndTheServersAndNothingElse()
    {
        var message = DhcpRelease.Message("52:54:00:aB:cd:0f", IPAddress.Parse("192.168.122.50"), IPAddress.Parse("192.168.122.1"));
        Assert.Equal(300, message.Length);
        Assert.Equal([1, 1, 6, 0], message[..4]);
        Assert.Equal([192, 168, 122, 50], message[12..16]);
        Assert.Equal([0x52, 0x54, 0, 0xab, 0xcd, 0x0f, 0, 0], message[28..36]);
        Assert.Equal([99, 130, 83, 99, 53, 1, 7, 54, 4, 192, 168, 122, 1, 255, 0], message[236..251]);
        Assert.All(message[4..12].Skip(4).Concat(message[16..28]).Concat(message[34..236]).Concat(message[250..]), b => Assert.Equal(0, b));
    }

    [Theory]
    [InlineData("52:54:00:ab:cd")]
    [InlineData("52:54:00:ab:cd:0f:01")]
    [InlineData("52:54:00:ab:cd:xy")]
    [InlineData("52:54:00:ab:cd:-1")]
    [InlineData("")]
    public void Message_ForWhatIsNoMac_IsRefused(string mac) => Assert.Throws<FormatException>(() => DhcpRelease.Message(mac, IPAddress.Loopback, IPAddress.Loopback));

    [Fact]
    public void Send_ByAnInterfaceThatIsNotThere_SaysSo() =>
        Assert.Contains("192.168.122.50 of 52:54:00:00:00:01 could not be given back on none0", Assert.Throws<LibvirtException>(() => DhcpRelease.Send("none0", "52:54:00:00:00:01", "192.168.122.50", "192.168.122.1")).Message, StringComparison.Ordinal);
}
