namespace AgentMetal.Runtime.Store;

/// <summary>The answer to storing a blob.</summary>
public abstract record BlobResult
{
    private BlobResult() { }

    /// <param name="Hash">SHA-256 of the bytes, 64 lowercase hexadecimal digits: the key to get them by.</param>
    public sealed record Stored(string Hash) : BlobResult;

    public sealed record Refused(string Field, string Message) : BlobResult;
}
