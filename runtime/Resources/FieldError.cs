namespace AgentMetal.Runtime.Resources;

/// <summary>One thing that is wrong with an input; all of them are reported at once.</summary>
/// <param name="Path">spec.persistence.appendfsync; list items by index: spec.save[0].seconds.</param>
/// <param name="Message">What is wrong: "sometimes" is not one of: always, everysec, no.</param>
/// <param name="Note">What to do about it; empty when the message says it.</param>
public sealed record FieldError(string Path, string Message, string Note = "")
{
    /// <summary>The name of the field is wrong rather than its value: where to point.</summary>
    public bool AtName { get; init; }

    /// <inheritdoc />
    public override string ToString() => $"{Path}: {Message}{(Note.Length > 0 ? " (" + Note + ")" : "")}";
}
