using System.Security.Cryptography;
using System.Text;

namespace AgentMetal.NodeAgent.Agents.Redis;

/// <summary>
/// The password of a resource. It is written to auth.conf and sent to the server, and appears nowhere else: facts, arguments, the journal
/// and the audit hold a digest keyed by node and resource, cut to 64 bits, which tells whether two are equal and nothing more.
/// </summary>
internal sealed class RedisAuth(string nodeUid, string resourceUid, string? password)
{
    /// <summary>No password is asked for.</summary>
    public const string Off = "off";

    private const string Header = "# The password of this Redis; managed by agentmetald. Changes by hand are put back.\n";

    private readonly byte[] _key = SHA256.HashData(Encoding.UTF8.GetBytes("agentmetal/redis/auth\n" + nodeUid + "\n" + resourceUid));

    /// <summary>Null when no password is asked for.</summary>
    public string? Password => password;

    /// <summary>How the wanted password appears in facts.</summary>
    public string Digest => DigestOf(password);

    /// <summary>How a password appears in facts.</summary>
    public string DigestOf(string? secret) =>
        string.IsNullOrEmpty(secret) ? Off : "k" + Convert.ToHexStringLower(HMACSHA256.HashData(_key, Encoding.UTF8.GetBytes(secret)))[..16];

    /// <summary>How a file that is not one of ours appears in facts.</summary>
    public string DigestOfForeign(ReadOnlySpan<byte> content) => "other:k" + Convert.ToHexStringLower(HMACSHA256.HashData(_key, content))[..16];

    /// <summary>Never the password.</summary>
    public override string ToString() => "password " + Digest;

    /// <summary>The user by which the agent still gets in when somebody changed the password of the server; it has the same password.</summary>
    public const string User = "agentmetal";

    /// <summary>How a password is named to the server's access rules (redis.io, "ACL"): the server keeps no more of it.</summary>
    public static string Hash(string secret) => "#" + Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(secret)));

    /// <summary>auth.conf for a password; null = none is asked for.</summary>
    public static string Render(string? secret) => secret is null ? Header : RenderBare(secret) + $"user {User} on {Hash(secret)} ~* &* +@all\n";

    /// <summary>As it was written before the agent had a user of its own.</summary>
    private static string RenderBare(string secret) => $"{Header}requirepass {RedisRender.Quote(secret)}\nmasterauth {RedisRender.Quote(secret)}\n";

    /// <summary>The password in a file that we rendered, and whether it is written as it is today; (false, false, null) when we did not.</summary>
    public static (bool Ours, bool Current, string? Password) Parse(string text)
    {
        if (text == Header) return (true, true, null);
        const string Start = Header + "requirepass ";
        if (!text.StartsWith(Start, StringComparison.Ordinal)) return (false, false, null);
        var end = text.IndexOf('\n', Start.Length);
        if (end < 0 || RedisRender.Unquote(text[Start.Length..end]) is not { } secret) return (false, false, null);
        return text == Render(secret) ? (true, true, secret) : text == RenderBare(secret) ? (true, false, secret) : (false, false, null);
    }

    /// <summary>What a password may be, so that it fits a line of redis.conf and the AUTH command alike.</summary>
    public static bool IsUsable(string secret) => secret.Length is >= 1 and <= 512 && !secret.AsSpan().ContainsAnyExceptInRange(' ', '~');
}
