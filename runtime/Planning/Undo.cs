namespace AgentMetal.Runtime.Planning;

/// <summary>The stored inverse of a step: a call of a tool of the same agent.</summary>
public sealed record UndoCall(string Tool, string Args);

/// <summary>How a step can be taken back.</summary>
public enum UndoKind
{
    /// <summary>A call restores the written facts exactly.</summary>
    Call,

    /// <summary>Forward only, and leaving it is no regression; undo passes over it and risk is not raised.</summary>
    Keep,

    /// <summary>A barrier for undo, and Dangerous.</summary>
    Impossible,
}

/// <summary>
/// Three answers, not two. Keep exists because the naive inverse of "start a crashed member" is "remove it", and because an answer of
/// "none" would make healing need a signature.
/// </summary>
public sealed record Undo(UndoKind Kind, UndoCall? Call, string Why)
{
    /// <summary>Restores the written facts exactly, from the state after and from During.</summary>
    public static Undo By(UndoCall call) => new(UndoKind.Call, call, "");

    /// <summary>Nothing to take back; <paramref name="why"/> is shown to people.</summary>
    public static Undo Keep(string why) => new(UndoKind.Keep, null, why);

    /// <summary>Cannot be taken back; makes the step Dangerous.</summary>
    public static Undo Impossible(string why) => new(UndoKind.Impossible, null, why);
}
