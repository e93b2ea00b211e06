namespace AgentMetal.Runtime.Planning;

/// <summary>One observed or expected value, by key. Volatile numbers are bucketed by the agent; secrets are digests.</summary>
public readonly record struct Fact(string Key, string Value);

/// <summary>Fact values that are not plain values.</summary>
public static class FactValue
{
    /// <summary>Looked, and it is not there.</summary>
    public const string Absent = "-";

    private const string UnseenPrefix = "?unseen:";
    private const string LaterPrefix = "?later:";

    /// <summary>The observer could not look. Never the same as absent.</summary>
    public static string Unseen(string why) => UnseenPrefix + why;

    /// <summary>
    /// Known once the first step that expects it is confirmed: the token is then bound to what is observed (and differs from before), not
    /// to what Apply returned, because a crash between effect and journal loses a return value but not the world.
    /// </summary>
    public static string Later(string token) => LaterPrefix + token;

    /// <summary>Whether the observer could not look.</summary>
    public static bool IsUnseen(string value) => value.StartsWith(UnseenPrefix, StringComparison.Ordinal);

    /// <summary>Whether the value will be bound by the step that makes it.</summary>
    public static bool IsLater(string value) => value.StartsWith(LaterPrefix, StringComparison.Ordinal);
}

/// <summary>A value that may exist only after a step ran. Args carry it as it is, so hashes are stable; Apply resolves it.</summary>
public sealed record Later<T>(T? Value, string? Token)
{
    /// <summary>How it appears as a fact.</summary>
    public string AsFact => Token is null ? Value?.ToString() ?? FactValue.Absent : FactValue.Later(Token);
}

/// <summary>Makes <see cref="Later{T}"/> values.</summary>
public static class Later
{
    /// <summary>A value that is known now.</summary>
    public static Later<T> Known<T>(T value) => new(value, null);

    /// <summary>A value that the step with this token will make.</summary>
    public static Later<T> From<T>(string token) => new(default, token);
}
