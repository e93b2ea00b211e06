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

/// <summary>What was shown for one step: enough to say later which fact moved.</summary>
internal sealed record ShownStep(string Text, ImmutableArray<Fact> Basis);

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

        public async ValueTask PreviewAsync(Preview preview, CancellationToken stop)
        {
            var now = clock.GetUtcNow();
            var subject = new PlanSubject(input.NodeUid, input.ResourceUid, input.Generation);
            List<PreviewAsk> asks = [.. preview.Steps.Select(s =>
            {
                var nonce = Convert.ToHexStringLower(RandomNumberGenerator.GetBytes(16));
                return new PreviewAsk(s.Hash, input.Key + "|" + s.Key, nonce, JsonSerializer.Serialize(new(s.Text, s.Basis), MemberStateJson.Default.ShownStep),
                    Hashes.Bind(subject, s, nonce).Hash, preview.Anew.Contains(s.Key));
            })];
            var answers = await store.PreviewAsync(asks, now, now + ShownFor, stop);
            preview.Nonces = [.. answers.Select(a => a.Nonce)];
            preview.Voided = [.. preview.Steps.Zip(answers).SelectMany(p => p.Second.Voided.Select(body => Moved(p.First, body)))];
        }

        private static string Moved(Step step, string body)
        {
            var shown = JsonSerializer.Deserialize(body, MemberStateJson.Default.ShownStep)!;
            var moved = step.Basis.Where(f => shown.Basis.Any(o => o.Key == f.Key && o.Value != f.Value))
                .Select(f => $"{f.Key} is {f.Value}, it was {shown.Basis.First(o => o.Key == f.Key).Value}").ToList();
            return $"{shown.Text}: what was shown before is void: {(moved.Count > 0 ? string.Join("; ", moved) : "the plan around it changed")}";
        }
    }
}
