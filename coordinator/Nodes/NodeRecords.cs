using AgentMetal.Coordinator.Fleet;
using AgentMetal.Proto.V1;
using AgentMetal.Runtime.Store;
using Google.Protobuf;

namespace AgentMetal.Coordinator.Nodes;

/// <summary>What nodes say of themselves, stored when it changes, so that it is known while they are away and after a restart.</summary>
internal sealed class NodeRecords(FleetModel model, FleetWriter writer)
{
    private const int MaxEntries = 64;
    private const int MaxText = 256;

    /// <summary>The store's newest revision, as this coordinator has read it.</summary>
    public long Head => model.Current.At.Number;

    public Task RememberAsync(NodeSession session, Hello hello, CancellationToken stop) => writer.ChangeAsync(view =>
    {
        var node = new Node
        {
            Uid = session.Uid,
            Name = session.Name,
            Version = Cut(hello.Version),
            CertificateExpiresUnixMs = session.CertificateEnds.ToUnixTimeMilliseconds(),
        };
        Copy(hello.Labels, node.Labels);
        Copy(hello.Facts, node.Facts);
        node.Addresses.AddRange(hello.Addresses.Take(16).Where(a => System.Net.IPAddress.TryParse(a, out _)));
        node.Kinds.AddRange(hello.Kinds.Take(MaxEntries).Select(Cut).Order(StringComparer.Ordinal));
        var same = view.Nodes.TryGetValue(session.Uid, out var before) && before.Value.Equals(node);
        return new FleetChange<bool>(!same) { Writes = same ? [] : [StoreWrite.Put(StoreKeys.Node(session.Uid), node.ToByteArray())] };
    }, stop);

    private static void Copy(IDictionary<string, string> from, IDictionary<string, string> to)
    {
        foreach (var (key, value) in from.OrderBy(f => f.Key, StringComparer.Ordinal).Take(MaxEntries)) to[Cut(key)] = Cut(value);
    }

    private static string Cut(string text) => text.Length <= MaxText ? text : text[..MaxText];
}
