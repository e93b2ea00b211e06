namespace AgentMetal.NodeAgent.Agents.Instance;

/// <summary>A network card as its libvirt network knows it: "default 52:54:00:12:34:56". Neither part can hold a space.</summary>
internal static class Card
{
    public static string Of(string network, string mac) => network + " " + mac;

    public static string NetworkOf(string card) => card[..card.IndexOf(' ', StringComparison.Ordinal)];

    public static string MacOf(string card) => card[(card.IndexOf(' ', StringComparison.Ordinal) + 1)..];
}
