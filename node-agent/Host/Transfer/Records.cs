using System.Collections.Immutable;
using System.Text.Json.Serialization;

namespace AgentMetal.NodeAgent.Host.Transfer;

/// <summary>How far a machine is on its way out of this host.</summary>
internal enum OfferPhase
{
    /// <summary>Its target may read it. It is this host's, and stays off.</summary>
    Offered,

    /// <summary>It is the target's, from the moment this is on the disk: it is not run here again.</summary>
    Released,

    /// <summary>The target has said that it knows it to be its own: what is here is left over.</summary>
    Settled,

    /// <summary>It is this host's again, and the target is told so for a while: what it holds is only a copy then.</summary>
    Withdrawn,
}

/// <summary>How far a machine is on its way into this host.</summary>
internal enum ReceiptPhase
{
    /// <summary>Its files come. It is the source's.</summary>
    Receiving,

    /// <summary>All files are here, and the source may have been told so: from now on only the source knows whose it is.</summary>
    Held,

    /// <summary>The source has let go: it is this host's.</summary>
    Owned,

    /// <summary>It is not taken, whatever the source says: nothing was confirmed, or an operator signed that it goes.</summary>
    Dropped,
}

/// <summary>A hand-over on its source, as it is on the disk.</summary>
internal sealed record Offer
{
    /// <summary>The machine's uuid, the same on both hosts.</summary>
    public required string Machine { get; init; }

    /// <summary>Node uid of the one host that may have it.</summary>
    public required string Target { get; init; }

    /// <summary>For people.</summary>
    public required string TargetName { get; init; }

    /// <summary>Where its files are.</summary>
    public required string Directory { get; init; }

    public OfferPhase Phase { get; init; }

    /// <summary>The manifest that the target held when it was released; empty before.</summary>
    public string Manifest { get; init; } = "";
}

/// <summary>A hand-over on its target, as it is on the disk.</summary>
internal sealed record Receipt
{
    /// <summary>The machine's uuid, the same on both hosts.</summary>
    public required string Machine { get; init; }

    /// <summary>Node uid of the one host that it is taken from.</summary>
    public required string Source { get; init; }

    /// <summary>For people.</summary>
    public required string SourceName { get; init; }

    public required string Address { get; init; }

    public required int Port { get; init; }

    /// <summary>Where its files belong.</summary>
    public required string Directory { get; init; }

    public ReceiptPhase Phase { get; init; }

    /// <summary>The manifest that the files here are of; empty before there is one.</summary>
    public string Manifest { get; init; } = "";

    /// <summary>The source knows that this host knows.</summary>
    public bool Settled { get; init; }
}

/// <summary>One file of a machine.</summary>
/// <param name="Name">Of letters, digits, dots, hyphens and underscores; no path.</param>
/// <param name="Size">Bytes.</param>
/// <param name="Sha256">64 lower-case hexadecimal digits.</param>
/// <param name="Written">When it was changed last, in ticks of the source's clock: another one voids the manifest.</param>
internal sealed record ManifestFile(string Name, long Size, string Sha256, long Written);

/// <summary>What a machine consists of, read once while it is off.</summary>
/// <param name="Id">32 random hexadecimal digits: a confirmation of one manifest says nothing of another.</param>
/// <param name="Files">In the order of their names.</param>
internal sealed record Manifest(string Id, ImmutableArray<ManifestFile> Files)
{
    public const int MaxFiles = 128;
    public const int IdLength = 32;
    public const long MaxSize = 1L << 46;

    [JsonIgnore]
    public long Bytes => Files.Sum(f => f.Size);

    /// <summary>Why what came from another host is no manifest; null = it is.</summary>
    public string? Error()
    {
        if (!IsHex(Id, IdLength)) return "its id is not 32 hexadecimal digits";
        if (Files.IsDefault || Files.Length > MaxFiles) return $"it names {(Files.IsDefault ? 0 : Files.Length)} files, at most {MaxFiles}";
        var names = new HashSet<string>(StringComparer.Ordinal);
        foreach (var f in Files)
        {
            if (!IsName(f.Name) || !names.Add(f.Name)) return "a name in it is no plain name, or is there twice";
            if (f.Size is < 0 or > MaxSize || !IsHex(f.Sha256, 64)) return $"{f.Name} has no size or digest";
        }
        return Files.Sum(f => (decimal)f.Size) > MaxSize ? "it is too large" : null;
    }

    public static bool IsName(string? name) => name is { Length: > 0 and <= 100 } && name[0] != '.' && name.All(c => char.IsAsciiLetterOrDigit(c) || c is '.' or '-' or '_');

    private static bool IsHex(string? text, int length) => text?.Length == length && text.All(char.IsAsciiHexDigitLower);
}

[JsonSourceGenerationOptions(UseStringEnumConverter = true)]
[JsonSerializable(typeof(Offer))]
[JsonSerializable(typeof(Receipt))]
[JsonSerializable(typeof(Manifest))]
internal sealed partial class TransferJson : JsonSerializerContext;
