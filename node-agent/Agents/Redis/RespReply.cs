using System.Collections.Immutable;

namespace AgentMetal.NodeAgent.Agents.Redis;

/// <summary>The types of a RESP2 reply (redis.io, "Redis serialization protocol specification").</summary>
internal enum RespKind
{
    /// <summary>"+OK".</summary>
    Simple,

    /// <summary>"-ERR ..."; the first word is the code.</summary>
    Error,

    /// <summary>":1".</summary>
    Integer,

    /// <summary>"$n", as UTF-8 with replacement characters.</summary>
    Bulk,

    /// <summary>"$-1" or "*-1".</summary>
    Null,

    /// <summary>"*n".</summary>
    Array,
}

/// <summary>One reply of a server.</summary>
internal sealed record RespReply(RespKind Kind, string Text, long Number, ImmutableArray<RespReply> Items)
{
    /// <summary>Whether the server refused the command.</summary>
    public bool IsError => Kind == RespKind.Error;

    /// <summary>The first word of an error ("NOAUTH"), else empty. Never holds an argument of the command.</summary>
    public string Code => !IsError ? "" : Text.IndexOf(' ', StringComparison.Ordinal) is var end and > 0 ? Text[..end] : Text;
}

/// <summary>Why there is no reply.</summary>
internal enum RespFailure
{
    /// <summary>Nothing listens (ECONNREFUSED, or no socket file): known to be down.</summary>
    Refused,

    /// <summary>It could not be reached: no route, name, or answer to the connection request.</summary>
    Unreachable,

    /// <summary>It took the connection and did not answer within the deadline.</summary>
    Mute,

    /// <summary>The connection ended within a reply.</summary>
    Broken,

    /// <summary>What came is not RESP2, or larger than a reply may be.</summary>
    Malformed,
}

/// <summary>No reply. The message never holds a command, an argument or a reply.</summary>
internal sealed class RespException(RespFailure failure, string message, Exception? inner = null) : Exception(message, inner)
{
    /// <summary>What a caller may conclude.</summary>
    public RespFailure Failure => failure;
}

/// <summary>A command as its words; a sensitive one is never quoted back, not even inside the server's own error.</summary>
internal sealed record RespCommand(ImmutableArray<string> Words, bool Sensitive = false)
{
    public static RespCommand Of(params ImmutableArray<string> words) => new(words);

    public static RespCommand Secret(params ImmutableArray<string> words) => new(words, true);

    /// <summary>Words may be secrets.</summary>
    public override string ToString() => Words.IsEmpty ? "" : Words[0];
}
