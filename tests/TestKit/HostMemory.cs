using System.Collections.Immutable;
using AgentMetal.Runtime.Audit;
using AgentMetal.Runtime.Execution;
using AgentMetal.Runtime.Planning;
using AgentMetal.Runtime.Trust;

namespace AgentMetal.TestKit;

/// <summary>
/// What a host keeps on its disk, in memory: journal, approvals, nonces, attempts and the audit chain, written together or not at all. Runs and entries are
/// kept as the text that a real host would write, so that every resume reads what was written and not what was meant.
/// </summary>
/// <param name="chain">The name of the audit chain, and the beginning of every nonce.</param>
/// <param name="now">The time of a record.</param>
public sealed class HostMemory(string chain, Func<DateTimeOffset> now)
{
    private sealed record Shown(string Call, string Content, string Nonce, ImmutableArray<Fact> Basis, ShownCall As, string Step);

    private readonly List<(string Id, string Key, string Body)> _runs = [];
    private readonly List<(string RunId, string Body)> _journal = [];
    private readonly List<SignedApproval> _approvals = [];
    private readonly List<Shown> _shown = [];
    private readonly List<AuditRecord> _audit = [];
    private readonly List<(string Key, Attempt Attempt)> _attempts = [];
    private readonly HashSet<string> _consumed = new(StringComparer.Ordinal);
    private int _nonces;

    /// <summary>Every record, in order.</summary>
    public IReadOnlyList<AuditRecord> Audit => _audit;

    /// <summary>Step hashes whose approval was used.</summary>
    public IReadOnlyCollection<string> Consumed => _consumed;

    /// <summary>Transactions that wrote something.</summary>
    public int Writes { get; private set; }

    /// <summary>The run of this key that did not end; null if none.</summary>
    public OpenRun? Open(string key)
    {
        var run = _runs.LastOrDefault(r => r.Key == key);
        return run.Id is null ? null
            : new(JournalJson.ReadRun(run.Body), [.. _journal.Where(j => j.RunId == run.Id).Select(j => JournalJson.ReadEntry(j.Body))]);
    }

    /// <summary>What was tried for this key.</summary>
    public Attempts Tried(string key) => new([.. _attempts.Where(a => a.Key == key).Select(a => a.Attempt).TakeLast(Attempts.Capacity)], now());

    /// <summary>Keeps what an approver signed; may be hostile.</summary>
    public void Take(SignedApproval approval) => _approvals.Add(approval);

    /// <summary>One transaction. False = its approval is not there or was used; nothing is written then.</summary>
    public bool Write(string key, Commit commit)
    {
        ArgumentNullException.ThrowIfNull(commit);
        if (commit.Consume is { } step)
        {
            if (_consumed.Contains(step) || _approvals.Count(a => a.StepHashes.Contains(step)) is var there && (there == 0 || there != commit.ConsumeOf)) return false;
            _consumed.Add(step);
        }
        Writes++;
        if (commit.Open is { } run) _runs.Add((run.RunId, run.Key, JournalJson.Write(run)));
        foreach (var entry in commit.Journal) _journal.Add((commit.RunId, JournalJson.Write(entry)));
        foreach (var entry in commit.Audit)
            _audit.Add(AuditChain.Next(chain, _audit.Count, _audit.Count == 0 ? AuditChain.Genesis : _audit[^1].Hash, now(), entry.Kind, key, entry.Body));
        foreach (var attempt in commit.Attempts) _attempts.Add((key, attempt));
        if (commit.Close is { } closed) _runs.RemoveAll(r => r.Id == closed);
        return true;
    }

    /// <summary>Approvals that name the step and are not used yet.</summary>
    public void Find(FindApproval find)
    {
        ArgumentNullException.ThrowIfNull(find);
        find.Found = _consumed.Contains(find.StepHash) ? [] : [.. _approvals.Where(a => a.StepHashes.Contains(find.StepHash))];
    }

    /// <summary>What was shown, the latest first.</summary>
    public void Recall(Recall recall)
    {
        ArgumentNullException.ThrowIfNull(recall);
        recall.Shown = [.. _shown.AsEnumerable().Reverse().Where(s => !_consumed.Contains(s.Step)).Select(s => s.As)];
    }

    /// <summary>The nonce a content was shown with, or a new one; a content whose approval was used is a new question.</summary>
    public void Show(PlanSubject subject, Preview preview)
    {
        ArgumentNullException.ThrowIfNull(preview);
        var voided = ImmutableArray.CreateBuilder<string>();
        var nonces = ImmutableArray.CreateBuilder<string>();
        var now = preview.Steps.Select(s => s.Hash).ToHashSet(StringComparer.Ordinal);
        foreach (var step in preview.Steps)
        {
            var call = step.Tool + "|" + step.Difference;
            foreach (var old in _shown.Where(s => s.Call == call && !now.Contains(s.Content)))
                voided.Add(step.Key + ": " + (step.Outgrown.Length > 0 ? step.Outgrown : string.Join(", ", step.Basis.Where(f => old.Basis.Any(o => o.Key == f.Key && o.Value != f.Value)).Select(f => f.Key))));
            _shown.RemoveAll(s => s.Call == call && (!now.Contains(s.Content) || _consumed.Contains(s.Step)));
            if (preview.Anew.Contains(step.Key)) _shown.RemoveAll(s => s.Content == step.Hash);
            if (_shown.Find(s => s.Content == step.Hash) is not { } shown)
            {
                var nonce = $"{chain}-{++_nonces}";
                _shown.Add(shown = new(call, step.Hash, nonce, step.Basis, new(step.Tool, step.Args, step.Difference), Hashes.Bind(subject, step, nonce).Hash));
            }
            nonces.Add(shown.Nonce);
        }
        (preview.Nonces, preview.Voided) = (nonces.ToImmutable(), voided.ToImmutable());
    }
}
