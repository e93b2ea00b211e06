using System.Text.Json;
using AgentMetal.Runtime.Store;
using AgentMetal.Runtime.Trust;

namespace AgentMetal.Coordinator.Identity;

/// <summary>Makes and prunes join tokens.</summary>
internal sealed class JoinTokens(IStore store, string rootSha256, RandomFill random, TimeProvider clock)
{
    public static readonly TimeSpan Shortest = TimeSpan.FromSeconds(60);
    public static readonly TimeSpan Longest = TimeSpan.FromHours(24);
    public const int MaxLabels = 32;

    /// <summary>A new token; its secret is not kept, so it can be shown only now.</summary>
    /// <param name="name">The node's name; null or empty = any.</param>
    public async ValueTask<Verdict<JoinToken>> CreateAsync(string? name, IReadOnlyDictionary<string, string> labels, TimeSpan life, CancellationToken cancel)
    {
        var bound = string.IsNullOrEmpty(name) ? null : name;
        if (bound is not null && !TrustNames.IsName(bound))
            return Verdict<JoinToken>.Refuse(TrustProblemCode.Malformed, $"name: \"{bound}\" is not 1 to 63 of a-z, 0-9, '-' and '.'");
        if (life < Shortest || life > Longest)
            return Verdict<JoinToken>.Refuse(TrustProblemCode.Malformed, $"ttl: {life.TotalSeconds:0} s is not between {Shortest.TotalSeconds:0} s and {Longest.TotalHours:0} h");
        if (Labels.Error(labels) is { } error)
            return Verdict<JoinToken>.Refuse(TrustProblemCode.Malformed, error);
        var token = JoinToken.Create(rootSha256, random);
        var record = new TokenRecord { SecretHash = token.SecretHash, Name = bound, Labels = labels, ExpiresUnixMs = (clock.GetUtcNow() + life).ToUnixTimeMilliseconds() };
        var bytes = JsonSerializer.SerializeToUtf8Bytes(record, IdentityJson.Default.TokenRecord);
        return await store.TxnAsync(StoreTxn.Put(IdentityKeys.Token(token.Id), bytes, 0), cancel) switch
        {
            StoreResult.Committed => token,
            var other => throw new InvalidOperationException($"a token with a new id was not stored: {other}"),
        };
    }

    /// <summary>Forgets tokens that have ended, used or not. Returns how many; at most 100 a call.</summary>
    public async ValueTask<int> PruneAsync(CancellationToken cancel)
    {
        var now = clock.GetUtcNow().ToUnixTimeMilliseconds();
        var pruned = 0;
        foreach (var entry in (await store.ListAsync(IdentityKeys.Tokens, cancel)).Entries)
        {
            if (pruned == 100)
                break;
            var record = JsonSerializer.Deserialize(entry.Value.Span, IdentityJson.Default.TokenRecord)!;
            if (record.ExpiresUnixMs <= now && await store.TxnAsync(StoreTxn.Delete(entry.Key, entry.ModifiedAt), cancel) is StoreResult.Committed)
                pruned++;
        }
        return pruned;
    }
}

/// <summary>What labels of nodes may be.</summary>
internal static class Labels
{
    /// <summary>Null when every key and value is 1 to 63 of letters, digits, '-', '_', '.' and '/', and there are not too many.</summary>
    public static string? Error(IReadOnlyDictionary<string, string> labels)
    {
        if (labels.Count > JoinTokens.MaxLabels)
            return $"labels: {labels.Count}, more than {JoinTokens.MaxLabels}";
        foreach (var (key, value) in labels)
            if (!IsText(key) || !IsText(value))
                return $"labels[{(IsText(key) ? key : "?")}]: keys and values are 1 to 63 letters, digits, '-', '_', '.' or '/'";
        return null;
    }

    private static bool IsText(string text) => text.Length is >= 1 and <= 63 && text.All(c => char.IsAsciiLetterOrDigit(c) || c is '-' or '_' or '.' or '/');
}
