using System.Globalization;
using AgentMetal.Runtime.Trust;
using AgentMetal.WireMaps;
using Microsoft.Data.Sqlite;
using V1 = AgentMetal.Proto.V1;

namespace AgentMetal.NodeAgent.Edge;

/// <summary>
/// All that this host knows across a restart, in one SQLite file: assignments, the write-ahead journal, approvals, the audit chain, secrets. Every write
/// is on the disk (fsync) when its call returns. A call that cannot be answered throws <see cref="LocalStoreException"/>; nothing is ever reported as
/// absent because it could not be read.
/// </summary>
internal sealed partial class LocalStore : ILinkState, IAsyncDisposable
{
    /// <summary>Attempts kept per assignment.</summary>
    public const int AttemptLimit = 256;

    private readonly SqliteConnection connection;
    private readonly LocalThread thread;
    private readonly string chain;
    private readonly Dictionary<string, SqliteCommand> prepared = new(StringComparer.Ordinal);

    private LocalStore(SqliteConnection connection, string path, string chain)
    {
        (this.connection, this.chain) = (connection, chain);
        thread = new LocalThread(connection, path);
    }

    /// <param name="path">The file; made with mode 0600 if it is not there.</param>
    /// <param name="nodeUid">Names this host's audit chain.</param>
    public static LocalOpening Open(string path, string nodeUid)
    {
        var (connection, problem) = LocalFile.Open(path);
        return problem is not null ? new LocalOpening.Refused(problem) : new LocalOpening.Opened(new LocalStore(connection!, path, nodeUid));
    }

    /// <summary>
    /// Journal, audit and the consumption of an approval in one transaction. False if the approval to consume is not there or was used: nothing was written
    /// then. Takes no cancellation: whether an intent is on the disk must never be in doubt.
    /// </summary>
    public ValueTask<bool> CommitAsync(LocalBatch batch) => thread.WriteAsync(() => Commit(batch), CancellationToken.None);

    public ValueTask<IReadOnlyList<LocalOpenRun>> OpenRunsAsync(CancellationToken stop) => thread.ReadAsync<IReadOnlyList<LocalOpenRun>>(() =>
    {
        var runs = Rows("SELECT id, key, body FROM runs ORDER BY rowid", r => new LocalRun(r.GetString(0), r.GetString(1), r.GetString(2)));
        return [.. runs.Select(run => new LocalOpenRun(run, Rows("SELECT body FROM journal WHERE run = $0 ORDER BY seq", r => r.GetString(0), run.Id)))];
    }, stop);

    /// <summary>The last attempts of an assignment, oldest first.</summary>
    public ValueTask<IReadOnlyList<string>> AttemptsAsync(string key, CancellationToken stop) =>
        thread.ReadAsync<IReadOnlyList<string>>(() => Rows("SELECT body FROM attempts WHERE key = $0 ORDER BY seq", r => r.GetString(0), key), stop);

    /// <summary>One answer per question. A content that was shown and has not expired keeps its nonce; every nonce is on the disk before it is shown.</summary>
    public ValueTask<IReadOnlyList<PreviewAnswer>> PreviewAsync(IReadOnlyList<PreviewAsk> asks, DateTimeOffset now, DateTimeOffset expires, CancellationToken stop) =>
        thread.WriteAsync<IReadOnlyList<PreviewAnswer>>(() =>
        {
            if (Run("DELETE FROM previews WHERE expires <= $0", Ms(now)) > 0) Run("UPDATE asked SET void = $0 WHERE void = 0 AND content NOT IN (SELECT content FROM previews)", Ms(now));
            var shown = asks.Select(a => a.Content).ToHashSet(StringComparer.Ordinal);
            return [.. asks.Select(ask => Preview(ask, shown, now, expires))];
        }, stop);

    /// <summary>What is kept of contents that were shown for calls of this beginning and can still be signed; the latest first.</summary>
    public ValueTask<IReadOnlyList<string>> ShownAsync(string callPrefix, DateTimeOffset now, CancellationToken stop) => thread.ReadAsync<IReadOnlyList<string>>(() =>
        Rows("SELECT body FROM previews WHERE substr(call, 1, length($0)) = $0 AND expires > $1 ORDER BY created DESC", r => r.GetString(0), callPrefix, Ms(now)), stop);

    /// <summary>Unconsumed approvals that name this step, not yet verified.</summary>
    public ValueTask<IReadOnlyList<SignedApproval>> ApprovalsForAsync(string stepHash, CancellationToken stop) => thread.ReadAsync<IReadOnlyList<SignedApproval>>(() =>
        [.. Rows("SELECT body FROM approvals JOIN approved_steps ON approval = id WHERE step = $0 AND step NOT IN (SELECT step FROM consumed) ORDER BY id",
            r => r.GetFieldValue<byte[]>(0), stepHash).Select(b => TrustWire.Read(V1.Approval.Parser.ParseFrom(b))).OfType<SignedApproval>()], stop);

    /// <summary>Forgets approvals that expired before this time, and consumptions older than any approval can live: their steps' nonces are long void.</summary>
    public ValueTask<int> PruneApprovalsAsync(DateTimeOffset now, CancellationToken stop) => thread.WriteAsync(() =>
    {
        var old = Ms(now - (2 * SignedApproval.LongestLife));
        Run("DELETE FROM consumed WHERE at < $0", old);
        Run("DELETE FROM refused WHERE at < $0", old);
        Run("DELETE FROM asked WHERE void > 0 AND void < $0", old);
        // One that has run out is still a word in an order: a denial that is forgotten would free what it stopped.
        return Run("DELETE FROM approvals WHERE expires < $0", old);
    }, stop);

    /// <summary>What was begun to be taken away for good of a member at this generation, in words; empty = nothing.</summary>
    public ValueTask<string> DestroyedAsync(string key, long generation, CancellationToken stop) => thread.ReadAsync(() =>
        Rows("SELECT text FROM destroyed WHERE key = $0 AND generation = $1", r => r.GetString(0), key, generation).FirstOrDefault() ?? "", stop);

    /// <summary>What this host knows of a step hash that somebody decides about.</summary>
    public ValueTask<StepStanding> StandingAsync(string step, CancellationToken stop) => thread.ReadAsync(() =>
    {
        var asked = Rows("SELECT at, void FROM asked WHERE step = $0", r => (At: r.GetInt64(0), Void: r.GetInt64(1)), step);
        var used = Rows("SELECT at FROM consumed WHERE step = $0", r => r.GetInt64(0), step);
        return new StepStanding(asked.Count > 0 ? At(asked[0].At) : null, asked.Count > 0 && asked[0].Void > 0 ? At(asked[0].Void) : null, used.Count > 0 ? At(used[0]) : null);
    }, stop);

    /// <summary>Whether this very decision is recorded, and why it was refused if it was.</summary>
    public ValueTask<(bool Recorded, string? Refused)> DecisionAsync(SignedApproval approval, CancellationToken stop)
    {
        var id = Record(approval).Id;
        return thread.ReadAsync(() => (Rows("SELECT 1 FROM approvals WHERE id = $0", r => r.GetInt64(0), id).Count > 0,
            Rows("SELECT why FROM refused WHERE id = $0", r => r.GetString(0), id).FirstOrDefault()), stop);
    }

    /// <summary>Remembers that a decision was refused: what its giver was told stays true, whoever brings it again.</summary>
    public ValueTask<int> RefuseAsync(SignedApproval approval, string why, DateTimeOffset now, CancellationToken stop)
    {
        var id = Record(approval).Id;
        return thread.WriteAsync(() => Run("INSERT INTO refused VALUES($0, $1, $2) ON CONFLICT DO NOTHING", id, why, Ms(now)), stop);
    }

    /// <summary>Steps that somebody denied who may not decide any more are asked anew: that he went must not free what he stopped.</summary>
    public ValueTask<int> ForgetDenialsAsync(Func<string, bool> mayDecide, DateTimeOffset now, CancellationToken stop) => thread.WriteAsync(() =>
    {
        var steps = Rows("SELECT step, body FROM approved_steps JOIN approvals ON approval = id", r => (Step: r.GetString(0), Body: r.GetFieldValue<byte[]>(1)))
            .Select(r => (r.Step, Signed: TrustWire.Read(V1.Approval.Parser.ParseFrom(r.Body)))).Where(r => r.Signed is { Decision: ApprovalDecision.Deny } d && !mayDecide(d.KeyId)).Select(r => r.Step).Distinct().ToList();
        foreach (var step in steps)
        {
            Run("DELETE FROM previews WHERE content IN (SELECT content FROM asked WHERE step = $0)", step);
            Run("UPDATE asked SET void = $1 WHERE step = $0 AND void = 0", step, Ms(now));
        }
        return steps.Count;
    }, stop);

    public ValueTask<string?> MetaAsync(string name, CancellationToken stop) => thread.ReadAsync(() => Meta(name), stop);

    public ValueTask<int> SetMetaAsync(string name, string value, CancellationToken stop) => thread.WriteAsync(() => SetMeta(name, value), stop);

    /// <summary>A secret's bytes, or null if there is none of this name.</summary>
    public ValueTask<byte[]?> SecretAsync(string name, CancellationToken stop) =>
        thread.ReadAsync(() => Rows("SELECT value FROM secrets WHERE name = $0", r => r.GetFieldValue<byte[]>(0), name).FirstOrDefault(), stop);

    /// <summary>Sets a secret, or overwrites and forgets it if the value is null.</summary>
    public ValueTask<int> SetSecretAsync(string name, byte[]? value, CancellationToken stop) => thread.WriteAsync(() => value is null
        ? Run("DELETE FROM secrets WHERE name = $0", name)
        : Run("INSERT INTO secrets VALUES($0, $1) ON CONFLICT DO UPDATE SET value = $1", name, value), stop);

    /// <summary>Null if the chain is whole from its first kept record to its head; else what is wrong and where.</summary>
    public ValueTask<string?> VerifyAuditAsync(CancellationToken stop) => thread.ReadAsync(VerifyAudit, stop);

    public async ValueTask DisposeAsync()
    {
        await thread.StopAsync().ConfigureAwait(false);
        foreach (var command in prepared.Values) await command.DisposeAsync().ConfigureAwait(false);
        await connection.DisposeAsync().ConfigureAwait(false);
    }

    private bool Commit(LocalBatch batch)
    {
        if (batch.Consume is { } step)
        {
            var decisions = Rows("SELECT count(*) FROM approved_steps WHERE step = $0", r => r.GetInt64(0), step)[0];
            if (decisions == 0 || decisions != batch.ConsumeOf) return false;
            if (Run("INSERT INTO consumed VALUES($0, $1) ON CONFLICT DO NOTHING", step, Ms(batch.At)) == 0) return false;
        }
        if (batch.ConsumedContent is { } content) Run("DELETE FROM previews WHERE content = $0", content);
        if (batch.Destroyed is { } gone)
            Run("INSERT INTO destroyed VALUES($0, $1, $2, $3) ON CONFLICT DO UPDATE SET generation = $1, text = $2, at = $3", gone.Key, gone.Generation, gone.Text, Ms(batch.At));
        if (batch.Open is { } run) Run("INSERT INTO runs VALUES($0, $1, $2)", run.Id, run.Key, run.Body);
        foreach (var row in batch.Journal) Run("INSERT INTO journal(run, body) VALUES($0, $1)", row.RunId, row.Body);
        foreach (var (key, body) in batch.Attempts)
        {
            Run("INSERT INTO attempts(key, body) VALUES($0, $1)", key, body);
            Run("DELETE FROM attempts WHERE key = $0 AND seq <= (SELECT seq FROM attempts WHERE key = $0 ORDER BY seq DESC LIMIT 1 OFFSET $1)", key, AttemptLimit);
        }
        foreach (var (name, value) in batch.Meta) SetMeta(name, value);
        foreach (var (kind, body) in batch.Audit) Append(batch.At, kind, batch.ResourceKey, body);
        if (batch.Close is { } closed) Run("DELETE FROM runs WHERE id = $0", closed);
        return true;
    }

    private PreviewAnswer Preview(PreviewAsk ask, HashSet<string> shown, DateTimeOffset now, DateTimeOffset expires)
    {
        if (ask.Anew)
        {
            Run("UPDATE asked SET void = $1 WHERE void = 0 AND content = $0", ask.Content, Ms(now));
            Run("DELETE FROM previews WHERE content = $0", ask.Content);
        }
        // One plan may hold two contents of one call: neither is void by the other.
        var others = Rows("SELECT content, body FROM previews WHERE call = $0 AND content <> $1 ORDER BY created", r => (Content: r.GetString(0), Body: r.GetString(1)), ask.Call, ask.Content)
            .Where(o => !shown.Contains(o.Content)).ToList();
        var (voided, body) = (new List<VoidedPreview>(), ask.Body);
        foreach (var other in others)
        {
            var signed = Rows("SELECT count(*) FROM approved_steps JOIN asked ON approved_steps.step = asked.step WHERE content = $0 AND void = 0", r => r.GetInt64(0), other.Content)[0] > 0;
            voided.Add(new(other.Body, signed));
            body = ask.Replacing(body, voided[^1]);
            Run("UPDATE asked SET void = $1 WHERE void = 0 AND content = $0", other.Content, Ms(now));
            Run("DELETE FROM previews WHERE content = $0", other.Content);
        }
        if (Run("INSERT INTO previews VALUES($0, $1, $2, $3, $4, $5) ON CONFLICT DO NOTHING", ask.Content, ask.Call, ask.Nonce, body, Ms(now), Ms(expires)) > 0 && ask.Step.Length > 0)
            Run("INSERT INTO asked VALUES($0, $1, $2, 0) ON CONFLICT DO NOTHING", ask.Step, ask.Content, Ms(now));
        var kept = Rows("SELECT nonce, body FROM previews WHERE content = $0", r => (Nonce: r.GetString(0), Body: r.GetString(1)), ask.Content)[0];
        return new PreviewAnswer(kept.Nonce, voided) { Body = kept.Body };
    }

    private static DateTimeOffset At(long ms) => DateTimeOffset.FromUnixTimeMilliseconds(ms);

    private string? Meta(string name) => Rows("SELECT value FROM meta WHERE name = $0", r => r.GetString(0), name).FirstOrDefault();

    private int SetMeta(string name, string value) => Run("INSERT INTO meta VALUES($0, $1) ON CONFLICT DO UPDATE SET value = $1", name, value);

    private long Number(string name) => Meta(name) is { } text ? long.Parse(text, CultureInfo.InvariantCulture) : 0;

    private static long Ms(DateTimeOffset at) => at.ToUnixTimeMilliseconds();

    private int Run(string sql, params ReadOnlySpan<object> values) => Bound(sql, values).ExecuteNonQuery();

    private List<T> Rows<T>(string sql, Func<SqliteDataReader, T> read, params ReadOnlySpan<object> values)
    {
        using var reader = Bound(sql, values).ExecuteReader();
        var rows = new List<T>();
        while (reader.Read()) rows.Add(read(reader));
        return rows;
    }

    /// <summary>Statements are prepared once; there are as many as this class has SQL texts. Only the store's thread comes here.</summary>
    private SqliteCommand Bound(string sql, ReadOnlySpan<object> values)
    {
        if (!prepared.TryGetValue(sql, out var command))
        {
            command = connection.CreateCommand();
            command.CommandText = sql;
            for (var i = 0; i < values.Length; i++) command.Parameters.Add(new SqliteParameter { ParameterName = $"${i}" });
            prepared.Add(sql, command);
        }
        for (var i = 0; i < values.Length; i++) command.Parameters[i].Value = values[i];
        return command;
    }
}
