using System.Buffers.Text;
using System.Security.Cryptography;
using AgentMetal.Coordinator.Fleet;
using AgentMetal.Runtime.Trust;
using Google.Protobuf;

namespace AgentMetal.Coordinator.Nodes;

/// <summary>
/// The resources' secrets: sealed in the store with a key that is not there, opened only to be sent to the hosts that need them or to an operator who
/// asks. Values are never in logs, plans or audit.
/// </summary>
internal sealed partial class SecretShelf(byte[] keyEncryptionKey, ILogger<SecretShelf> log)
{
    /// <summary>A new value: 32 random bytes as base64url.</summary>
    public static byte[] Mint() => System.Text.Encoding.ASCII.GetBytes(Base64Url.EncodeToString(RandomNumberGenerator.GetBytes(32)));

    /// <summary>As it goes to the store.</summary>
    public byte[] Seal(string resource, string name, ReadOnlySpan<byte> value) => SecretBox.Seal(StoreKeys.Secret(resource, name), value, keyEncryptionKey, RandomNumberGenerator.Fill);

    /// <summary>The values by name; one that does not open is left out and logged, because a member without it says so by itself.</summary>
    public IReadOnlyDictionary<string, ByteString> Open(FleetView view, string resource)
    {
        var values = new SortedDictionary<string, ByteString>(StringComparer.Ordinal);
        foreach (var (name, box) in view.SecretsOf(resource))
        {
            var opened = SecretBox.Open(StoreKeys.Secret(resource, name), box.Span, keyEncryptionKey);
            if (opened.IsTrusted) values[name] = ByteString.CopyFrom(opened.Value);
            else LogSealed(log, resource, opened.Problem!.Message);
        }
        return values;
    }

    [LoggerMessage(EventId = 2201, Level = LogLevel.Error, Message = "A secret of resource {Resource} does not open: {Why}. Is the kek file the one of this store?")]
    private static partial void LogSealed(ILogger log, string resource, string why);
}
