using System.Text.Json;
using System.Text.Json.Serialization.Metadata;
using AgentMetal.NodeAgent.Host.Files;
using AgentMetal.Runtime.Planning;
using static AgentMetal.NodeAgent.Host.Must;

namespace AgentMetal.NodeAgent.Host.Transfer;

/// <summary>The records of hand-overs: a file each, written whole and durable before anybody acts on it.</summary>
internal sealed class TransferFiles(string root, IFileReader reader, IFileWriter writer)
{
    private const int MaxRecord = 64 * 1024;
    private const int MaxEntries = 10_000;
    private const string OfferEnd = ".offer", ReceiptEnd = ".receipt", ManifestEnd = ".manifest";

    private static readonly FileOwnership s_file = new() { Uid = 0, Gid = 0, Mode = 0x180 }; // 0600
    private static readonly FileOwnership s_folder = new() { Uid = 0, Gid = 0, Mode = 0x1C0 }; // 0700

    /// <summary>Names in a machine's directory that are this host's and go nowhere; whoever owns the directory says which.</summary>
    public Func<string, bool> StaysHere { get; init; } = static _ => false;

    /// <summary>Where files lie until all of them are right; on the file system where they belong.</summary>
    public string Incoming(string machine) => $"{root}/{machine}.incoming";

    /// <summary>Every record that is there; one that cannot be read is named with why.</summary>
    public (List<Offer> Offers, List<Receipt> Receipts, Dictionary<string, string> Broken) Load()
    {
        var (offers, receipts, broken) = (new List<Offer>(), new List<Receipt>(), new Dictionary<string, string>(StringComparer.Ordinal));
        var names = reader.List(root, MaxEntries);
        foreach (var name in names.IsSeen ? names.Value : [])
        {
            var dot = name.LastIndexOf('.');
            if (dot <= 0) continue;
            var (machine, end) = (name[..dot], name[dot..]);
            try
            {
                if (end == OfferEnd && Read(root + "/" + name, TransferJson.Default.Offer) is { } offer) offers.Add(offer);
                if (end == ReceiptEnd && Read(root + "/" + name, TransferJson.Default.Receipt) is { } receipt) receipts.Add(receipt);
            }
            catch (WorldException e) { broken[machine] = e.Message; }
        }
        return (offers, receipts, broken);
    }

    public void Save(Offer offer) => Write($"{root}/{offer.Machine}{OfferEnd}", offer, TransferJson.Default.Offer);

    public void Save(Receipt receipt) => Write($"{root}/{receipt.Machine}{ReceiptEnd}", receipt, TransferJson.Default.Receipt);

    public void Save(string machine, Manifest manifest) => Write($"{root}/{machine}{ManifestEnd}", manifest, TransferJson.Default.Manifest);

    /// <summary>Null when there is none that can be used: it is made anew then.</summary>
    public Manifest? Manifest(string machine)
    {
        try { return Read($"{root}/{machine}{ManifestEnd}", TransferJson.Default.Manifest) is { } manifest && manifest.Error() is null ? manifest : null; }
        catch (WorldException) { return null; }
    }

    public void RemoveManifest(string machine) => Done(writer.Delete($"{root}/{machine}{ManifestEnd}"));

    public void Remove(Offer offer)
    {
        RemoveManifest(offer.Machine);
        Done(writer.Delete($"{root}/{offer.Machine}{OfferEnd}"));
    }

    public void Remove(Receipt receipt)
    {
        RemoveIncoming(receipt.Machine);
        Done(writer.Delete($"{root}/{receipt.Machine}{ReceiptEnd}"));
    }

    public void MakeIncoming(string machine)
    {
        Done(writer.EnsureDirectory(root, s_folder));
        Done(writer.EnsureDirectory(Incoming(machine), s_folder));
    }

    public void RemoveIncoming(string machine) => Done(writer.DeleteTree(Incoming(machine), MaxEntries));

    private void Write<T>(string path, T record, JsonTypeInfo<T> json)
    {
        Done(writer.EnsureDirectory(root, s_folder));
        Done(writer.Write(path, JsonSerializer.SerializeToUtf8Bytes(record, json), s_file));
    }

    private T? Read<T>(string path, JsonTypeInfo<T> json)
        where T : class
    {
        var file = reader.Read(path, MaxRecord);
        if (!file.IsSeen) throw new WorldException($"{path} cannot be read: {file.WhyUnseen}");
        if (!file.Value.State.Exists) return null;
        try { return JsonSerializer.Deserialize(file.Value.Bytes.Span, json); }
        catch (JsonException e) { throw new WorldException($"{path} is not what agentmetald wrote: {e.Message}", e); }
    }
}
