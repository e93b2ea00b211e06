using System.Buffers;
using System.Globalization;
using System.Text;

namespace AgentMetal.Runtime.Store;

/// <summary>The limits of the contract, the same for every store, and the one place that checks them.</summary>
public static class StoreLimits
{
    /// <summary>64 KiB; larger values go into a blob and the value names its hash.</summary>
    public const int MaxValueBytes = 64 * 1024;

    /// <summary>16 MiB.</summary>
    public const int MaxBlobBytes = 16 * 1024 * 1024;

    public const int MaxKeyBytes = 1024;

    /// <summary>Compares and writes together in one transaction; what etcd allows by default (--max-txn-ops).</summary>
    public const int MaxTxnOperations = 128;

    private static readonly SearchValues<char> LowerHex = SearchValues.Create("0123456789abcdef");

    public static readonly TimeSpan MinLease = TimeSpan.FromSeconds(1);

    public static readonly TimeSpan MaxLease = TimeSpan.FromMinutes(5);

    /// <summary>Null if the transaction keeps to the limits.</summary>
    public static StoreResult.Refused? Check(StoreTxn txn)
    {
        if (txn.Compares.Count + txn.Writes.Count > MaxTxnOperations)
            return new("writes", Text($"{txn.Compares.Count} compares and {txn.Writes.Count} writes; at most {MaxTxnOperations} together. Split the transaction."));
        for (var i = 0; i < txn.Compares.Count; i++)
        {
            if (KeyError(txn.Compares[i].Key) is { } error) return new(Text($"compares[{i}].key"), error);
            if (txn.Compares[i].ModifiedAt < 0) return new(Text($"compares[{i}].modifiedAt"), "is negative; 0 expects an absent key, a read entry has its number.");
        }
        var written = new HashSet<string>(StringComparer.Ordinal);
        for (var i = 0; i < txn.Writes.Count; i++)
        {
            var write = txn.Writes[i];
            if (KeyError(write.Key) is { } error) return new(Text($"writes[{i}].key"), error);
            if (!written.Add(write.Key)) return new(Text($"writes[{i}].key"), $"\"{write.Key}\" is written twice; write each key once.");
            if (write.Value is { } value && value.Length > MaxValueBytes)
                return new(Text($"writes[{i}].value"), Text($"\"{write.Key}\" would hold {value.Length} bytes; at most {MaxValueBytes}. Put it as a blob and store its hash."));
        }
        return null;
    }

    /// <summary>Null for a good key: 1 to 1024 printable ASCII characters without a space, so that ordinal order is byte order in every store.</summary>
    public static string? KeyError(string key)
    {
        if (key.Length == 0) return "is empty; a key looks like \"resources/default/Redis/sessions\".";
        if (key.Length > MaxKeyBytes) return Text($"has {key.Length} characters; at most {MaxKeyBytes}.");
        foreach (var c in key)
            if (c is <= ' ' or > '~') return Text($"holds the character U+{(int)c:X4}; use printable ASCII without spaces.");
        return null;
    }

    /// <summary>A prefix is empty (everything) or what a key may begin with; anything else is a bug of the caller.</summary>
    public static void RequirePrefix(string prefix)
    {
        ArgumentNullException.ThrowIfNull(prefix);
        if (prefix.Length > 0 && KeyError(prefix) is { } error) throw new ArgumentException($"prefix {error}", nameof(prefix));
    }

    public static void RequireKey(string key)
    {
        ArgumentNullException.ThrowIfNull(key);
        if (KeyError(key) is { } error) throw new ArgumentException($"key {error}", nameof(key));
    }

    public static LeaseResult.Refused? CheckLease(string lease, string holder, TimeSpan timeToLive)
    {
        if (KeyError(lease) is { } nameError) return new("lease", nameError);
        if (holder.Length == 0 || Encoding.UTF8.GetByteCount(holder) > 256) return new("holder", "must have 1 to 256 bytes; name the coordinator and its process.");
        if (timeToLive < MinLease || timeToLive > MaxLease)
            return new("timeToLive", Text($"is {timeToLive.TotalSeconds} s; {MinLease.TotalSeconds} to {MaxLease.TotalSeconds} s are allowed."));
        return null;
    }

    public static BlobResult.Refused? CheckBlob(ReadOnlyMemory<byte> bytes) =>
        bytes.Length <= MaxBlobBytes ? null : new("bytes", Text($"has {bytes.Length} bytes; at most {MaxBlobBytes} (16 MiB). Split it."));

    /// <summary>64 lowercase hexadecimal digits; anything else is a bug of the caller.</summary>
    public static void RequireHash(string hash)
    {
        ArgumentNullException.ThrowIfNull(hash);
        if (hash.Length != 64 || hash.AsSpan().ContainsAnyExcept(LowerHex))
            throw new ArgumentException("hash must be 64 lowercase hexadecimal digits of a SHA-256", nameof(hash));
    }

    private static string Text(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);
}
