namespace AgentMetal.Runtime.Resources.Kinds;

/// <summary>Keys of what a member of Redis tells people of itself between two passes. What is not known is left out.</summary>
public static class RedisDetail
{
    /// <summary>How many keys it has at most, rounded up to two digits.</summary>
    public const string Holds = "holds";

    /// <summary>What of it is on no disk now.</summary>
    public const string Unsaved = "not on disk";
}
