using System.Collections.Immutable;
using System.Text.Json.Serialization;

namespace AgentMetal.Runtime.Local;

/// <summary>
/// The host's own socket, for when there is no coordinator: one JSON request line, one JSON answer, then the connection closes. The answer to console is
/// one line, and unless it is an error the frames of a console session follow both ways. Only root may connect (mode 0600).
/// </summary>
public static class LocalSocket
{
    /// <summary>The default path.</summary>
    public const string DefaultPath = "/run/agentmetal/agent.sock";

    /// <summary>A request line is at most this long, in bytes.</summary>
    public const int MaxRequest = 256 * 1024;
}

/// <param name="Call">"status", "why", "held", "approve", "console", "state", "pause", "stop", "resume".</param>
/// <param name="Resource">For all but status, approve and state: "redis/sessions" or "Redis default/sessions".</param>
/// <param name="Approval">For approve: an approval carried to the host by hand.</param>
/// <param name="Force">For console: take it from whoever has it.</param>
/// <param name="Statement">For state: a protobuf message agentmetal.v1.Statement that was carried to the host by hand; the host judges it as any.</param>
/// <param name="Reason">For pause and stop: the person's words.</param>
/// <param name="Confirmed">For stop: what is lost with it has been said.</param>
public sealed record LocalRequest(string Call, string? Resource = null, LocalApproval? Approval = null, bool? Force = null, byte[]? Statement = null, string? Reason = null, bool? Confirmed = null);

/// <summary>An approval as it is carried by hand; the host verifies it as any.</summary>
public sealed record LocalApproval(ImmutableArray<string> StepHashes, string ResourceUid, string NodeUid, string Decision, long ExpiresUnixMs, string Reason, string KeyId, byte[] Signature, long IssuedUnixMs = 0);

/// <summary>What the host knows.</summary>
public sealed record LocalAnswer
{
    /// <summary>Set when the request could not be served; the rest is empty.</summary>
    public string? Error { get; init; }

    /// <summary>With <see cref="Error"/>: what was asked for is known, and refused.</summary>
    public bool Refused { get; init; }

    /// <summary>With <see cref="Error"/>: it is done when it is asked for again with Confirmed.</summary>
    public bool Confirm { get; init; }

    /// <summary>For people, beside what was asked for; may be empty.</summary>
    public string Notice { get; init; } = "";

    /// <summary>This host.</summary>
    public LocalNode? Node { get; init; }

    /// <summary>The link to the coordinator.</summary>
    public LocalLink? Link { get; init; }

    /// <summary>Members assigned to this host.</summary>
    public ImmutableArray<LocalMember> Members { get; init; } = [];

    /// <summary>For held: protobuf messages agentmetal.v1.Held, signed by this host, to be carried to an operator's key.</summary>
    public ImmutableArray<byte[]> HeldPlans { get; init; } = [];
}

/// <summary>This host.</summary>
public sealed record LocalNode(string Name, string Uid, string Version, long StartedUnixMs, long CertificateExpiresUnixMs, int ApproverSetVersion, string StoreId, long Revision);

/// <param name="State">"Attached" or "Away".</param>
/// <param name="SinceUnixMs">Since when.</param>
/// <param name="Detail">The last error when away.</param>
/// <param name="NextTryUnixMs">0 when attached.</param>
/// <param name="ClockWrong">How far this host's clock is from the coordinator's; null = they agree, or nothing is known.</param>
/// <param name="StruckOff">Operators struck this host off: nothing is done here any more, and why; null = they did not.</param>
/// <param name="StoreRefused">Why the store of a coordinator that is there is not followed; null = it is.</param>
public sealed record LocalLink(string State, long SinceUnixMs, string Detail, long NextTryUnixMs, string? StoreRefused = null, string? ClockWrong = null, string? StruckOff = null);

/// <summary>One member.</summary>
public sealed record LocalMember
{
    /// <summary>{node-uid}/{kind}/{resource-uid}/{ordinal}.</summary>
    public required string Key { get; init; }

    /// <summary>"Redis default/sessions".</summary>
    public required string Resource { get; init; }

    /// <summary>Which member.</summary>
    public required int Ordinal { get; init; }

    /// <summary>Of the assignment.</summary>
    public required long Generation { get; init; }

    /// <summary>Converged, Converging, Waiting, AwaitingApproval, Stuck, Escalated, Unseen, Unsupported.</summary>
    public required string Phase { get; init; }

    /// <summary>One line.</summary>
    public string Summary { get; init; } = "";

    /// <summary>What blocks it; empty when nothing does.</summary>
    public string Blocker { get; init; } = "";

    /// <summary>When the phase began.</summary>
    public long SinceUnixMs { get; init; }

    /// <summary>When it is looked at again; 0 = on a signal or the resync.</summary>
    public long RetryUnixMs { get; init; }

    /// <summary>What a person can do.</summary>
    public string NextCommand { get; init; } = "";

    /// <summary>A person at the host has paused it; null = nobody has.</summary>
    public LocalPaused? Paused { get; init; }

    /// <summary>All that is not as wanted, in words.</summary>
    public ImmutableArray<string> Differences { get; init; } = [];

    /// <summary>Steps that wait for a signature.</summary>
    public ImmutableArray<LocalHeldStep> Held { get; init; } = [];

    /// <summary>For people: addresses, rates, the last lines of a console.</summary>
    public IReadOnlyDictionary<string, string> Details { get; init; } = System.Collections.Immutable.ImmutableSortedDictionary<string, string>.Empty;

    /// <summary>The last events, newest first, at most 20.</summary>
    public ImmutableArray<LocalEvent> Events { get; init; } = [];
}

/// <param name="SinceUnixMs">Since when.</param>
/// <param name="Uid">Of who asked, as the kernel says.</param>
/// <param name="By">Who that is.</param>
/// <param name="Reason">Their words.</param>
/// <param name="Stop">It was to be stopped as well.</param>
/// <param name="Progress">How far that is: "was stopped at 12:00:00 UTC".</param>
public sealed record LocalPaused(long SinceUnixMs, long Uid, string By, string Reason, bool Stop, string Progress);

/// <summary>A step that waits for a signature.</summary>
public sealed record LocalHeldStep(string Hash, string Text, string Risk, ImmutableArray<string> Reasons);

/// <summary>Something that happened.</summary>
public sealed record LocalEvent(long AtUnixMs, string Reason, string Message, bool Warning);

/// <summary>Serialises the socket's messages.</summary>
[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase, DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull)]
[JsonSerializable(typeof(LocalRequest))]
[JsonSerializable(typeof(LocalAnswer))]
[JsonSerializable(typeof(LocalApproval))]
public sealed partial class LocalJson : JsonSerializerContext;
