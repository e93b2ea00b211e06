namespace AgentMetal.NodeAgent.Edge;

/// <summary>
/// What one transaction writes: all of it is on the disk when the commit returns, or none of it. Order: approval, run, journal, attempts, audit, close.
/// </summary>
internal sealed record LocalBatch
{
    /// <summary>The time of the audit records.</summary>
    public required DateTimeOffset At { get; init; }

    /// <summary>Whose audit records these are: "Redis default/sessions"; may be empty.</summary>
    public string ResourceKey { get; init; } = "";

    /// <summary>The step hash whose approval this transaction uses up. If none waits, or it was used already, nothing is written.</summary>
    public string? Consume { get; init; }

    /// <summary>How many decisions about that step were judged; with one more, nothing is written.</summary>
    public int ConsumeOf { get; init; }

    /// <summary>The content hash of that step; its nonce is forgotten.</summary>
    public string? ConsumedContent { get; init; }

    /// <summary>What is taken away for good of a member that goes: assignment, its generation, in words.</summary>
    public (string Key, long Generation, string Text)? Destroyed { get; init; }

    public LocalRun? Open { get; init; }

    public IReadOnlyList<LocalJournalRow> Journal { get; init; } = [];

    /// <summary>JSON of remedies that ended, by assignment.</summary>
    public IReadOnlyList<(string Key, string Body)> Attempts { get; init; } = [];

    /// <summary>Kind and JSON body of audit records; the store gives them their place in the chain.</summary>
    public IReadOnlyList<(string Kind, string Body)> Audit { get; init; } = [];

    /// <summary>Small texts by name; each replaces the one before.</summary>
    public IReadOnlyList<(string Name, string Value)> Meta { get; init; } = [];

    /// <summary>The run that ends here; its journal goes with it, what it did stays in the audit.</summary>
    public string? Close { get; init; }
}

/// <summary>A plan that began to run.</summary>
/// <param name="Id">Unique on this host.</param>
/// <param name="Key">The assignment.</param>
/// <param name="Body">Its record as JSON.</param>
internal sealed record LocalRun(string Id, string Key, string Body);

/// <summary>One entry of a run's journal, as JSON.</summary>
internal sealed record LocalJournalRow(string RunId, string Body);

/// <summary>A run that has not ended, with its journal in the order it was written.</summary>
internal sealed record LocalOpenRun(LocalRun Run, IReadOnlyList<string> Journal);

/// <param name="Key">{node-uid}/{kind}/{resource-uid}/{ordinal}.</param>
/// <param name="Revision">The store's revision that it came with.</param>
/// <param name="Body">The assignment's bytes on the wire.</param>
/// <param name="Acked">Whether the coordinator knows that this host has it.</param>
internal sealed record LocalAssignment(string Key, long Revision, byte[] Body, bool Acked);

/// <summary>Asks for the nonce of a step that is to be shown.</summary>
/// <param name="Content">Hash of all that the step hash covers but the nonce.</param>
/// <param name="Call">The call whose facts may move: assignment, tool and arguments.</param>
/// <param name="Nonce">Used if this content was not shown before or its time has passed.</param>
/// <param name="Body">Kept to say later which fact moved.</param>
/// <param name="Step">The step hash with that nonce.</param>
/// <param name="Anew">The nonce that it was shown with is forgotten, although nothing moved.</param>
internal sealed record PreviewAsk(string Content, string Call, string Nonce, string Body, string Step = "", bool Anew = false)
{
    /// <summary>What is kept of a content that is shown in the place of another: its body, when it knows what it replaces.</summary>
    public Func<string, VoidedPreview, string> Replacing { get; init; } = static (body, _) => body;
}

/// <summary>What was shown before for the same call, and is void.</summary>
/// <param name="Body">What was kept of it.</param>
/// <param name="Signed">Somebody had decided about it.</param>
internal sealed record VoidedPreview(string Body, bool Signed);

/// <param name="AskedAt">When it was shown first; null = never by this host, or so long ago that it is forgotten.</param>
/// <param name="VoidAt">Since when it is no question any more, because it moved or was asked anew.</param>
/// <param name="ConsumedAt">When its approval was used.</param>
internal sealed record StepStanding(DateTimeOffset? AskedAt, DateTimeOffset? VoidAt, DateTimeOffset? ConsumedAt);

/// <param name="Nonce">The nonce to show the step with, now on the disk.</param>
/// <param name="Voided">The same call shown before with other content; it is forgotten, so that its approvals match nothing.</param>
internal sealed record PreviewAnswer(string Nonce, IReadOnlyList<VoidedPreview> Voided)
{
    /// <summary>What is kept of it.</summary>
    public string Body { get; init; } = "";
}

/// <summary>What came of opening the host's file.</summary>
internal abstract record LocalOpening
{
    private LocalOpening() { }

    public sealed record Opened(LocalStore Store) : LocalOpening;

    /// <summary>Damaged, newer, or not ours. The file was not changed; the message names it and what to do.</summary>
    public sealed record Refused(string Message) : LocalOpening;
}

/// <summary>The host's disk could not answer. What was acknowledged is safe; the step that needed this write does not happen.</summary>
internal sealed class LocalStoreException(string reason, Exception? inner = null) : IOException(reason, inner);
