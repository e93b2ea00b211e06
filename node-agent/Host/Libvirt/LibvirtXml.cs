using System.Xml;
using System.Xml.Linq;

namespace AgentMetal.NodeAgent.Host.Libvirt;

/// <summary>Descriptions in libvirt's XML, whatever they are of.</summary>
internal static class LibvirtXml
{
    private const int MaxCharacters = 4 * 1024 * 1024;

    /// <summary>A description as a tree, without DTDs, entities or anything that would be fetched; or why it is none.</summary>
    /// <param name="text">As libvirt gave it.</param>
    /// <param name="what">That it describes, for people: domain, network.</param>
    public static (XElement? Root, string Why) Load(string text, string what)
    {
        try
        {
            using var reader = XmlReader.Create(new StringReader(text), new() { DtdProcessing = DtdProcessing.Prohibit, XmlResolver = null, MaxCharactersInDocument = MaxCharacters });
            return (XDocument.Load(reader).Root, "");
        }
        catch (XmlException e) { return (null, $"the description of the {what} cannot be understood: {e.Message}"); }
    }
}
