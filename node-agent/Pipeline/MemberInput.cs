using System.Collections.Immutable;
using AgentMetal.Runtime.Approval;
using AgentMetal.Runtime.Trust;

namespace AgentMetal.NodeAgent.Pipeline;

/// <summary>Where a member of the same resource can be reached.</summary>
/// <param name="Ordinal">Which member.</param>
/// <param name="NodeUid">Its host.</param>
/// <param name="NodeName">For people.</param>
/// <param name="Address">IP address or name; hostile until parsed.</param>
/// <param name="Port">1..65535; 0 = a member of this kind listens nowhere.</param>
internal sealed record PeerAddress(int Ordinal, string NodeUid, string NodeName, string Address, int Port)
{
    /// <summary>
    /// Operators signed that this peer's host is gone for good, and this member with it; this host verified it. The coordinator's word never sets it.
    /// Not part of a goal.
    /// </summary>
    public bool StruckOff { get; init; }
}

/// <summary>A member of the same resource that went with its host, by operators' signatures that this host verified and that name this member.</summary>
/// <param name="Ordinal">Which member it was.</param>
/// <param name="NodeUid">The host that is gone; a member that is made anew has this ordinal and another host.</param>
/// <param name="NodeName">For people.</param>
internal sealed record StruckPeer(int Ordinal, string NodeUid, string NodeName);

/// <summary>One assignment as its agent sees it: one member's share of a resource on this host.</summary>
internal sealed record MemberInput
{
    /// <summary>{node-uid}/{kind}/{resource-uid}/{ordinal}.</summary>
    public required string Key { get; init; }

    /// <summary>"Redis default/sessions".</summary>
    public required string ResourceKey { get; init; }

    public required string Project { get; init; }
    public required string Name { get; init; }
    public required string ResourceUid { get; init; }
    public required int Ordinal { get; init; }
    public required long Generation { get; init; }

    /// <summary>Canonical JSON of the resource's spec.</summary>
    public required ReadOnlyMemory<byte> Spec { get; init; }

    /// <summary>Desired: absent.</summary>
    public bool Absent { get; init; }

    /// <summary>The whole resource goes, not only this member.</summary>
    public bool Teardown { get; init; }

    /// <summary>Nothing that loses data is allowed.</summary>
    public bool Protect { get; init; }

    /// <summary>Every member, this one included, by ordinal.</summary>
    public ImmutableArray<PeerAddress> Peers { get; init; } = [];

    /// <summary>Members that went with a host that operators struck off, also when they are made anew elsewhere by now; see <see cref="StruckPeer"/>.</summary>
    public ImmutableArray<StruckPeer> StruckOff { get; init; } = [];

    /// <summary>The ordinal that a person wants as primary.</summary>
    public int PrimaryOrdinal { get; init; }

    /// <summary>Values that never appear in facts, arguments, logs or the audit.</summary>
    public IReadOnlyDictionary<string, ReadOnlyMemory<byte>> Secrets { get; init; } = ImmutableDictionary<string, ReadOnlyMemory<byte>>.Empty;

    public required string NodeUid { get; init; }

    /// <summary>Name of an existing thing to take over; empty = none.</summary>
    public string Adopt { get; init; } = "";

    /// <summary>The member is on that host, and comes from there; null = it does not move here.</summary>
    public PeerAddress? MoveFrom { get; init; }

    /// <summary>The member is to be on that host, and goes there; null = it stays.</summary>
    public PeerAddress? MoveTo { get; init; }

    /// <summary>What the spec refers to, by "Image/debian-12": that resource's canonical spec. Part of the goal.</summary>
    public IReadOnlyDictionary<string, ReadOnlyMemory<byte>> References { get; init; } = ImmutableDictionary<string, ReadOnlyMemory<byte>>.Empty;

    /// <summary>Operators' signatures that came with the assignment; from anybody until <see cref="IsTrusted"/> has judged them.</summary>
    public ImmutableArray<DigestSignature> Digests { get; init; } = [];

    /// <summary>Whether something else is wanted of the member by now: a step that only waits for proof need not wait on. Set by the pipeline.</summary>
    public Func<bool> IsSuperseded { get; init; } = static () => false;

    /// <summary>The host's own judgement; set by the pipeline. Without it nothing is trusted.</summary>
    public IDigestVerifier DigestVerifier { get; init; } = Runtime.Approval.DigestVerifier.None;

    /// <summary>
    /// Whether operators have signed this digest for this purpose: asked before anything is executed, with the digest of what would be. It is no part
    /// of a goal or a fact, because an answer may change with the approver set while everything runs as declared.
    /// </summary>
    /// <param name="purpose">image, boot, cloud-init.</param>
    /// <param name="sha256">64 lower-case hexadecimal digits.</param>
    public DigestOutcome IsTrusted(string purpose, string sha256) => DigestVerifier.IsTrusted(purpose, sha256, Digests);
}

/// <summary>What this host has to say of a member that moves; the coordinator acts on it, and nothing on a host rests on what the coordinator makes of it.</summary>
/// <param name="HandedOver">Uid of the node that has the member now, when nothing of it is left here; empty = none.</param>
/// <param name="Received">Uid of the node that let go of it for this one; empty = none.</param>
internal sealed record MemberMove(string HandedOver, string Received)
{
    public static MemberMove None { get; } = new("", "");
}

/// <summary>Whether people can use a member now.</summary>
/// <param name="Serves">They can.</param>
/// <param name="Why">Why not.</param>
internal sealed record MemberServing(bool Serves, string Why);

/// <summary>A decision of ours outside every pass that people are told of, once.</summary>
/// <param name="Id">Its own among those of the member; it stays.</param>
/// <param name="At">When, by the clock of the moment.</param>
/// <param name="Reason">CamelCase code of the event.</param>
/// <param name="Text">For people: what, why, and what it may cost.</param>
internal sealed record OutsideNote(string Id, DateTimeOffset At, string Reason, string Text);

/// <param name="Path">spec.persistence.appendfsync.</param>
/// <param name="Message">What is wrong and how to fix it.</param>
internal sealed record SpecError(string Path, string Message);

/// <summary>What is wanted (null goal without errors = teardown), or why this build cannot do it.</summary>
internal sealed record GoalResult<TGoal>(TGoal? Goal, ImmutableArray<SpecError> Errors)
    where TGoal : class
{
    public static GoalResult<TGoal> Of(TGoal? goal) => new(goal, []);
    public static GoalResult<TGoal> Unsupported(params ImmutableArray<SpecError> errors) => new(null, errors);
}

/// <summary>What to watch between two looks, so that a converged member costs nothing but its probe.</summary>
/// <param name="Units">systemd units whose signals mean "look".</param>
/// <param name="Paths">Files and directories whose change means "look" (inotify).</param>
/// <param name="ProbeAsync">
/// One light round trip; returns a fingerprint (role, link, live settings, "hung", "refused"). A fingerprint that differs from the one after
/// the last look means "look". It has its own deadline of at most two seconds and does not throw for a server that is down.
/// </param>
internal sealed record MemberWatch(ImmutableArray<string> Units, ImmutableArray<string> Paths, Func<CancellationToken, ValueTask<string>>? ProbeAsync)
{
    /// <summary>Topics of sources beside systemd and the file system; see <see cref="ITopicSource"/>.</summary>
    public ImmutableArray<string> Topics { get; init; } = [];

    /// <summary>
    /// What a line of its units' logs tells people; null = nothing. Asked of the lines of a run that began anew. The line is the server's: only words of ours and numbers of it
    /// are told.
    /// </summary>
    public Func<string, string?>? LogWords { get; init; }

    /// <summary>What a person changes when the kernel kills it for memory again and again.</summary>
    public string MemoryAdvice { get; init; } = "give it more memory";
}
