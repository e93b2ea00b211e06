using System.Text.Json;
using System.Text.Json.Serialization;
using AgentMetal.Runtime.Store;

namespace AgentMetal.Coordinator.Identity;

/// <summary>A join token as stored: never the secret.</summary>
internal sealed record TokenRecord
{
    public required string SecretHash { get; init; }

    /// <summary>The only name that may join with it; null = any.</summary>
    public string? Name { get; init; }

    /// <summary>Labels that the node gets; it may not claim others under these keys.</summary>
    public required IReadOnlyDictionary<string, string> Labels { get; init; }

    public required long ExpiresUnixMs { get; init; }

    /// <summary>The key that used it; null = unused.</summary>
    public string? UsedByKeyId { get; init; }
}

/// <summary>A node as identity knows it. It outlives its certificates; only an operator removes or revokes it.</summary>
internal sealed record NodeRecord
{
    public required string Uid { get; init; }

    public required string Name { get; init; }

    public required string KeyId { get; init; }

    /// <summary>The key before the last renewal with a new key: its certificate is valid until it ends, and its renewal may be asked for again.</summary>
    public string? PreviousKeyId { get; init; }

    public required IReadOnlyDictionary<string, string> Labels { get; init; }

    public required long JoinedUnixMs { get; init; }

    public long? RevokedUnixMs { get; init; }

    public string? RevokedReason { get; init; }

    /// <summary>Who signed that this host is gone for good; null = it was revoked otherwise, or not at all.</summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public string? StruckOffBy { get; init; }

    /// <summary>What its host is told when it calls all the same.</summary>
    [JsonIgnore]
    public string WhyRevoked => StruckOffBy is null ? $"node {Name} was revoked"
        : $"{Name} was struck off by {StruckOffBy} at {DateTimeOffset.FromUnixTimeMilliseconds(RevokedUnixMs ?? 0):yyyy-MM-dd HH:mm:ss}Z: its members count as gone and may run elsewhere by now. "
            + "Nothing is done any more to what it had, and its data stays; to use this host again: remove its identity directory and local.db, then agentmetald join with a new token";
}

/// <summary>Which node has a name.</summary>
internal sealed record NameRecord(string Uid);

[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase, UnmappedMemberHandling = JsonUnmappedMemberHandling.Disallow)]
[JsonSerializable(typeof(TokenRecord))]
[JsonSerializable(typeof(NodeRecord))]
[JsonSerializable(typeof(NameRecord))]
internal sealed partial class IdentityJson : JsonSerializerContext;

/// <summary>Where identity lives in the store.</summary>
internal static class IdentityKeys
{
    public const string Tokens = "identity/tokens/";
    public const string Nodes = "identity/nodes/";

    public static string Token(string id) => Tokens + id;

    public static string Node(string uid) => Nodes + uid;

    public static string Name(string name) => "identity/names/" + name;
}

/// <summary>A record with the revision at which it was read, so that it is written back only over what was read.</summary>
internal readonly record struct Stored<T>(string Key, T? Record, long ModifiedAt) where T : class
{
    public StoreCompare Unchanged => new(Key, ModifiedAt);

    public static async ValueTask<Stored<T>> ReadAsync(IStore store, string key, System.Text.Json.Serialization.Metadata.JsonTypeInfo<T> type, CancellationToken cancel)
    {
        var read = await store.GetAsync(key, cancel);
        return read.Entry is { } entry ? new(key, JsonSerializer.Deserialize(entry.Value.Span, type), entry.ModifiedAt) : new(key, null, 0);
    }
}
