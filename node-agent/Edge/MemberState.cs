using System.Collections.Immutable;
using System.Security.Cryptography;
using System.Text.Json;
using System.Text.Json.Serialization;
using AgentMetal.NodeAgent.Pipeline;
using AgentMetal.NodeAgent.Pipeline.Stories;
using AgentMetal.Runtime.Execution;
using AgentMetal.Runtime.Planning;

namespace AgentMetal.NodeAgent.Edge;

/// <summary>An attempt with the generation it was made for: a person's change gives every remedy a new chance.</summary>
internal sealed record StoredAttempt(long Generation, Attempt Attempt);

/// <summary>What was shown for one step: enough to say later which fact moved, and to hold the same call against what is proposed then.</summary>
/// <param name="Text">In words.</param>
/// <param name="Basis">What it rested on.</param>
/// <param name="Tool">Empty in one of an earlier build.</param>
/// <param name="Args">As they were shown.</param>
/// <param name="Difference">What it answers.</param>
/// <param name="Void">Why what people had signed in its place before is void; empty = nothing was.</param>
internal sealed record ShownStep(string Text, ImmutableArray<Fact> Basis, string Tool = "", string Args = "", string Difference = "", string Void = "");

[JsonSourceGenerationOptions]
[JsonSerializable(typeof(StoredAttempt))]
[JsonSerializable(typeof(ShownStep))]
internal sealed partial class MemberStateJson : JsonSerializerContext;

/// <summary>The engine's durable state for members, in the local store.</summary>
internal sealed class MemberState(LocalStore store, TimeProvider clock) : IMemberState, IStoryStore
{
    /// <summary>How long a shown step can be signed; after that it is shown anew with another nonce.</summary>
    public static readonly TimeSpan ShownFor = TimeSpan.FromHours(24);

    public IPassStore For(MemberInput input) => new PassStore(store, clock, input);

    public async ValueTask<OpenRun?> OpenRunAsync(string key, CancellationToken stop)
    {
        var open = (await store.OpenRunsAsync(stop)).FirstOrDefault(r => r.Run.Key == key);
        return open is null ? null : new(JournalJson.ReadRun(open.Run.Body), [.. open.Journal.Select(JournalJson.ReadEntry)]);
    }

    public async ValueTask<ImmutableArray<Attempt>> AttemptsAsync(string key, long generation, CancellationToken stop) =>
        [.. (await store.AttemptsAsync(key, stop)).Select(b => JsonSerializer.Deserialize(b, MemberStateJson.Default.StoredAttempt)!)
            .Where(a => a.Generation == generation).Select(a => a.Attempt)];

    public ValueTask<string?> ReadAsync(string key, CancellationToken stop) => store.MetaAsync(StoryOf(key), stop);

    public async ValueTask WriteAsync(string key, string resourceKey, string json, IReadOnlyList<(string Kind, string Body)> audit, CancellationToken stop) =>
        await store.CommitAsync(new() { At = clock.GetUtcNow(), ResourceKey = resourceKey, Audit = audit, Meta = [(StoryOf(key), json)] });

    public async ValueTask ForgetAsync(string key, CancellationToken stop) => await store.SetMetaAsync(StoryOf(key), "", stop);

    private static string StoryOf(string key) => "story/" + key;

    public ValueTask<string> DestroyedAsync(string key, long generation, CancellationToken stop) => store.DestroyedAsync(key, generation, stop);

    private sealed class PassStore(LocalStore store, TimeProvider clock, MemberInput input) : IPassStore
    {
        public ValueTask<bool> CommitAsync(Commit commit, CancellationToken stop) => store.CommitAsync(new()
        {
            At = clock.GetUtcNow(),
            ResourceKey = input.ResourceKey,
            Consume = commit.Consume,
            ConsumeOf = commit.ConsumeOf,
            Destroyed = commit.Destroys is { } text && input.Absent ? (input.Key, input.Generation, text) : null,
            ConsumedContent = commit.ConsumedContent,
            Open = commit.Open is { } run ? new(run.RunId, run.Key, JournalJson.Write(run)) : null,
            Journal = [.. commit.Journal.Select(e => new LocalJournalRow(commit.RunId, JournalJson.Write(e)))],
            Attempts = [.. commit.Attempts.Select(a => (input.Key, JsonSerializer.Serialize(new(input.Generation, a), MemberStateJson.Default.StoredAttempt)))],
            Audit = [.. commit.Audit.Select(a => (a.Kind, a.Body))],
            Close = commit.Close,
        });

        public async ValueTask FindApprovalAsync(FindApproval find, CancellationToken stop) => find.Found = [.. await store.ApprovalsForAsync(find.StepHash, stop)];

        public async ValueTask RecallAsync(Recall recall, CancellationToken stop) =>
            recall.Shown = [.. (await store.ShownAsync(input.Key + "|", clock.GetUtcNow(), stop)).Select(Read).Where(s => s.Tool.Length > 0).Select(s => new ShownCall(s.Tool, s.Args, s.Difference))];

        public async ValueTask PreviewAsync(Preview preview, CancellationToken stop)
        {
            var now = clock.GetUtcNow();
            var subject = new PlanSubject(input.NodeUid, input.ResourceUid, input.Generation);
            List<PreviewAsk> asks = [.. preview.Steps.Select(s =>
            {
                var nonce = Convert.ToHexStringLower(RandomNumberGenerator.GetBytes(16));
                return new PreviewAsk(s.Hash, $"{input.Key}|{s.Tool}|{s.Difference}", nonce, Write(new(s.Text, s.Basis, s.Tool, s.Args, s.Difference)), Hashes.Bind(subject, s, nonce).Hash, preview.Anew.Contains(s.Key))
                {
                    // A signature that is void stays told beside the question until that is answered.
                    Replacing = (body, before) => Read(before.Body) is var was && (before.Signed ? Signed(s, was) : was.Void) is { Length: > 0 } why ? Write(Read(body) with { Void = why }) : body,
                };
            })];
            var answers = await store.PreviewAsync(asks, now, now + ShownFor, stop);
            preview.Nonces = [.. answers.Select(a => a.Nonce)];
            // One that nobody had signed, and that is another question only because figures grew, is no news.
            preview.Voided = [.. preview.Steps.Zip(answers).SelectMany(p => p.Second.Voided.Where(v => v.Signed || Read(v.Body).Args == p.First.Args)
                .Select(v => $"{Read(v.Body).Text}: {(v.Signed ? Signed(p.First, Read(v.Body)) : "what was shown before is void: " + Moved(p.First, Read(v.Body)))}"))];
            preview.Void = preview.Steps.Zip(answers).Select(p => (p.First.Key, Why: Read(p.Second.Body).Void)).Where(v => v.Why.Length > 0).DistinctBy(v => v.Key).ToImmutableDictionary(v => v.Key, v => v.Why, StringComparer.Ordinal);
        }

        private static ShownStep Read(string body) => JsonSerializer.Deserialize(body, MemberStateJson.Default.ShownStep)!;

        private static string Write(ShownStep step) => JsonSerializer.Serialize(step, MemberStateJson.Default.ShownStep);

        private static string Signed(Step step, ShownStep shown) =>
            $"what was signed for it before is void: {Moved(step, shown)}; what is asked now: agentmetal approve --list";

        private static string Moved(Step step, ShownStep shown)
        {
            var moved = step.Basis.Where(f => shown.Basis.Any(o => o.Key == f.Key && o.Value != f.Value))
                .Select(f => $"{f.Key} is {f.Value}, it was {shown.Basis.First(o => o.Key == f.Key).Value}").ToList();
            if (step.Outgrown.Length > 0 && shown.Args != step.Args) moved.Insert(0, step.Outgrown);
            return moved.Count > 0 ? string.Join("; ", moved) : "the plan around it changed";
        }
    }
}
