using System.Formats.Asn1;
using System.Net;
using System.Net.Sockets;
using System.Security.Cryptography.X509Certificates;

namespace AgentMetal.Runtime.Trust;

/// <summary>
/// The names in certificates. A peer's role is the host part of its one URI name (<c>agentmetal://node/…</c>), because that is the part to which
/// name constraints apply (RFC 5280, 4.2.1.10): a coordinator's intermediate may name nodes and itself, and can never name an operator.
/// </summary>
public static class TrustNames
{
    /// <summary>Nodes carry <c>{uid}.nodes.agentmetal.internal</c>, so that no verifier takes their common name for a DNS name.</summary>
    public const string NodeDomain = "nodes.agentmetal.internal";

    /// <summary>Every coordinator answers to this name, whatever it is called in DNS.</summary>
    public const string CoordinatorDomain = "coordinator.agentmetal.internal";

    internal const string ServerAuth = "1.3.6.1.5.5.7.3.1";
    internal const string ClientAuth = "1.3.6.1.5.5.7.3.2";
    internal const string SubjectAlternativeName = "2.5.29.17";
    internal const string NameConstraints = "2.5.29.30";

    private const string Scheme = "agentmetal://";

    /// <summary>Names of nodes, operators, coordinators and fleets: 1 to 63 of a-z, 0-9, '-' and '.', beginning and ending with a letter or digit.</summary>
    public static bool IsName(string? name)
    {
        if (name is not { Length: >= 1 and <= 63 } || !char.IsAsciiLetterOrDigit(name[0]) || !char.IsAsciiLetterOrDigit(name[^1]))
            return false;
        foreach (var c in name)
            if (!char.IsAsciiLetterLower(c) && !char.IsAsciiDigit(c) && c is not ('-' or '.'))
                return false;
        return !name.Contains("..", StringComparison.Ordinal);
    }

    /// <summary>A DNS name as certificates carry it: lower case, labels of 1 to 63 characters, at most 253 in all, no wildcard.</summary>
    public static bool IsDnsName(string? name)
    {
        if (name is not { Length: >= 1 and <= 253 })
            return false;
        foreach (var label in name.Split('.'))
            if (!IsName(label))
                return false;
        return !IPAddress.TryParse(name, out _);
    }

    internal static bool IsLowerHex(string text)
    {
        foreach (var c in text)
            if (!char.IsAsciiHexDigitLower(c))
                return false;
        return true;
    }

    internal static Uri Uri(PeerRole role, string subject) => new($"{Scheme}{RoleHost(role)}/{subject}");

    internal static string RoleHost(PeerRole role) => role switch
    {
        PeerRole.Node => "node",
        PeerRole.Operator => "operator",
        PeerRole.Coordinator => "coordinator",
        _ => throw new ArgumentOutOfRangeException(nameof(role)),
    };

    /// <summary>Role and subject of one URI name; null when it is none of ours.</summary>
    internal static (PeerRole Role, string Subject)? ParseUri(string uri)
    {
        foreach (var role in Enum.GetValues<PeerRole>())
        {
            var prefix = $"{Scheme}{RoleHost(role)}/";
            if (uri.StartsWith(prefix, StringComparison.Ordinal))
                return (role, uri[prefix.Length..]);
        }
        return null;
    }

    /// <summary>The URI names of a certificate; null when the extension is absent, twice there or malformed.</summary>
    internal static IReadOnlyList<string>? UrisOf(X509Certificate2 certificate)
    {
        X509Extension? names = null;
        foreach (var extension in certificate.Extensions)
        {
            if (extension.Oid?.Value != SubjectAlternativeName)
                continue;
            if (names is not null)
                return null;
            names = extension;
        }
        if (names is null)
            return null;
        try
        {
            var uris = new List<string>();
            var outer = new AsnReader(names.RawData, AsnEncodingRules.DER);
            var sequence = outer.ReadSequence();
            outer.ThrowIfNotEmpty();
            var uriTag = new Asn1Tag(TagClass.ContextSpecific, 6);
            while (sequence.HasData)
            {
                if (sequence.PeekTag().HasSameClassAndValue(uriTag))
                    uris.Add(sequence.ReadCharacterString(UniversalTagNumber.IA5String, uriTag));
                else
                    sequence.ReadEncodedValue();
            }
            return uris;
        }
        catch (AsnContentException)
        {
            return null;
        }
    }

    /// <summary>
    /// Critical name constraints (RFC 5280, 4.2.1.10). All addresses are excluded when none is permitted: an absent form would mean "any address".
    /// E-mail names are excluded altogether.
    /// </summary>
    internal static X509Extension Constraints(IEnumerable<string> dnsSubtrees, IEnumerable<string> uriHosts, IReadOnlyCollection<IPAddress> addresses)
    {
        var writer = new AsnWriter(AsnEncodingRules.DER);
        using (writer.PushSequence())
        {
            using (writer.PushSequence(new Asn1Tag(TagClass.ContextSpecific, 0)))
            {
                foreach (var dns in dnsSubtrees)
                    Subtree(writer, w => w.WriteCharacterString(UniversalTagNumber.IA5String, dns, new Asn1Tag(TagClass.ContextSpecific, 2)));
                foreach (var host in uriHosts)
                    Subtree(writer, w => w.WriteCharacterString(UniversalTagNumber.IA5String, host, new Asn1Tag(TagClass.ContextSpecific, 6)));
                foreach (var address in addresses)
                    Subtree(writer, w => WriteRange(w, address.GetAddressBytes(), 0xff));
            }
            using (writer.PushSequence(new Asn1Tag(TagClass.ContextSpecific, 1)))
            {
                Subtree(writer, w => w.WriteCharacterString(UniversalTagNumber.IA5String, "", new Asn1Tag(TagClass.ContextSpecific, 1)));
                if (addresses.Count == 0)
                {
                    Subtree(writer, w => WriteRange(w, IPAddress.Any.GetAddressBytes(), 0));
                    Subtree(writer, w => WriteRange(w, IPAddress.IPv6Any.GetAddressBytes(), 0));
                }
            }
        }
        return new X509Extension(NameConstraints, writer.Encode(), critical: true);
    }

    /// <summary>An address as certificates carry it; an IPv4 address in IPv6 clothes is undressed, a scope is refused.</summary>
    internal static IPAddress? Normal(IPAddress address)
    {
        var plain = address.IsIPv4MappedToIPv6 ? address.MapToIPv4() : address;
        return plain.AddressFamily == AddressFamily.InterNetworkV6 && plain.ScopeId != 0 ? null : plain;
    }

    private static void Subtree(AsnWriter writer, Action<AsnWriter> writeBase)
    {
        using (writer.PushSequence())
            writeBase(writer);
    }

    private static void WriteRange(AsnWriter writer, byte[] address, byte mask)
    {
        var range = new byte[address.Length * 2];
        address.CopyTo(range, 0);
        range.AsSpan(address.Length).Fill(mask);
        writer.WriteOctetString(range, new Asn1Tag(TagClass.ContextSpecific, 7));
    }
}
