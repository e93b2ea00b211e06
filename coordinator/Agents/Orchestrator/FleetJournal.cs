using System.Collections.Immutable;
using System.Globalization;
using AgentMetal.Runtime.Audit;
using AgentMetal.Runtime.Execution;
using AgentMetal.Runtime.Planning;
using Microsoft.Data.Sqlite;

namespace AgentMetal.Coordinator.Agents.Orchestrator;

/// <summary>
/// The coordinator's own write-ahead journal, attempts and audit chain: one SQLite file, one transaction a commit, synchronous=FULL. Not in the store:
/// it is of this machine, and audit never enters the store.
/// </summary>
internal sealed class FleetJournal : IDisposable
{
    public const string Chain = "coordinator";
    private const int Schema = 1;

    private readonly Lock _lock = new();
    private readonly SqliteConnection _db;
    private readonly TimeProvider _clock;
    private long _seq;
    private string _hash = AuditChain.Genesis;

    /// <exception cref="InvalidOperationException">The file is damaged or newer than this program; the message says what to do.</exception>
    public FleetJournal(string path, TimeProvider clock)
    {
        _clock = clock;
        _db = new(new SqliteConnectionStringBuilder { DataSource = path, Pooling = false }.ToString());
        try
        {
            _db.Open();
            Run("PRAGMA journal_mode=WAL");
            Run("PRAGMA synchronous=FULL");
            var version = Convert.ToInt32(Scalar("PRAGMA user_version"), CultureInfo.InvariantCulture);
            if (version > Schema) throw new InvalidOperationException($"{path} was written by a newer coordinator (format {version}, this one knows {Schema}); run that version");
            if (Scalar("PRAGMA quick_check") is not "ok") throw new InvalidOperationException(Damaged(path));
            Run("""
                CREATE TABLE IF NOT EXISTS runs (id TEXT PRIMARY KEY, key TEXT NOT NULL, json TEXT NOT NULL) WITHOUT ROWID;
                CREATE INDEX IF NOT EXISTS runs_key ON runs (key);
                CREATE TABLE IF NOT EXISTS journal (run TEXT NOT NULL, seq INTEGER NOT NULL, json TEXT NOT NULL, PRIMARY KEY (run, seq)) WITHOUT ROWID;
                CREATE TABLE IF NOT EXISTS attempts (key TEXT NOT NULL, generation INTEGER NOT NULL, at INTEGER NOT NULL, difference TEXT NOT NULL, step TEXT NOT NULL, worked INTEGER NOT NULL);
                CREATE INDEX IF NOT EXISTS attempts_key ON attempts (key, generation);
                CREATE TABLE IF NOT EXISTS audit (seq INTEGER PRIMARY KEY, at INTEGER NOT NULL, kind TEXT NOT NULL, resource TEXT NOT NULL, body TEXT NOT NULL, previous TEXT NOT NULL, hash TEXT NOT NULL);
                """);
            Run("PRAGMA user_version=" + Schema.ToString(CultureInfo.InvariantCulture));
        }
        catch (SqliteException e) when (e.SqliteErrorCode is Store.SqliteCode.Corrupt or Store.SqliteCode.NotADatabase)
        {
            _db.Dispose();
            throw new InvalidOperationException(Damaged(path), e);
        }
        catch (SqliteException e)
        {
            _db.Dispose();
            throw new InvalidOperationException($"{path} cannot be used: {e.Message}; the directory must exist, have room and belong to the coordinator's user", e);
        }
        if (ReadAudit(0, 1, "", newest: true) is [var last]) (_seq, _hash) = (last.Seq, last.Hash);
    }

    /// <summary>An older one in its place would let the audit say less than it did; the store is another file and needs nothing.</summary>
    private static string Damaged(string path) =>
        $"{path} is damaged. It holds the coordinator's own audit and journal, not the fleet's state (store.db). Keep it as evidence (mv {path} {path}.damaged, its -wal and -shm too) and start: a new audit chain begins, and placement looks anew; "
        + "do not put an older copy in its place, and leave store.db as it is";

    /// <summary>The newest audit record's sequence number.</summary>
    public long AuditSeq { get { lock (_lock) return _seq; } }

    /// <summary>Everything that one effect of the engine wants written, or nothing of it.</summary>
    public void Commit(string key, string runId, long generation, string resourceKey, Commit commit)
    {
        lock (_lock)
        {
            using var tx = _db.BeginTransaction();
            var (seq, hash) = (_seq, _hash);
            if (commit.Open is { } open) Run("INSERT INTO runs VALUES ($a, $b, $c)", open.RunId, key, JournalJson.Write(open));
            foreach (var entry in commit.Journal)
                Run("INSERT INTO journal SELECT $a, COALESCE(MAX(seq), 0) + 1, $b FROM journal WHERE run = $a", runId, JournalJson.Write(entry));
            foreach (var attempt in commit.Attempts)
                Run("INSERT INTO attempts VALUES ($a, $b, $c, $d, $e, $f)", key, generation, attempt.At.ToUnixTimeMilliseconds(), attempt.Difference, attempt.StepKey, attempt.Worked ? 1 : 0);
            if (commit.Close is { } close)
            {
                Run("DELETE FROM journal WHERE run = $a", close);
                Run("DELETE FROM runs WHERE id = $a", close);
                Run("DELETE FROM attempts WHERE key = $a AND (generation < $b OR at < $c)", key, generation, _clock.GetUtcNow().AddHours(-1).ToUnixTimeMilliseconds());
            }
            foreach (var entry in commit.Audit) Append(entry.Kind, resourceKey, entry.Body, ref seq, ref hash);
            tx.Commit();
            (_seq, _hash) = (seq, hash);
        }
    }

    /// <summary>One record beside the engine's: what an operator did.</summary>
    public void Audit(string kind, string resourceKey, string body)
    {
        lock (_lock)
        {
            using var tx = _db.BeginTransaction();
            var (seq, hash) = (_seq, _hash);
            Append(kind, resourceKey, body, ref seq, ref hash);
            tx.Commit();
            (_seq, _hash) = (seq, hash);
        }
    }

    /// <summary>A run of this key that did not end.</summary>
    public OpenRun? Open(string key)
    {
        lock (_lock)
        {
            if (Query("SELECT json FROM runs WHERE key = $a LIMIT 1", r => JournalJson.ReadRun(r.GetString(0)), key) is not [var run]) return null;
            return new(run, [.. Query("SELECT json FROM journal WHERE run = $a ORDER BY seq", r => JournalJson.ReadEntry(r.GetString(0)), run.RunId)]);
        }
    }

    /// <summary>Keys with a run that did not end.</summary>
    public IReadOnlyList<string> OpenKeys()
    {
        lock (_lock) return Query("SELECT DISTINCT key FROM runs", r => r.GetString(0));
    }

    /// <summary>What was tried for this generation.</summary>
    public Attempts Attempts(string key, long generation)
    {
        lock (_lock)
        {
            var log = Query("SELECT difference, step, at, worked FROM attempts WHERE key = $a AND generation = $b ORDER BY at",
                r => new Attempt(r.GetString(0), r.GetString(1), DateTimeOffset.FromUnixTimeMilliseconds(r.GetInt64(2)), r.GetInt64(3) == 1), key, generation);
            return new([.. log.TakeLast(Runtime.Planning.Attempts.Capacity)], _clock.GetUtcNow());
        }
    }

    /// <summary>Records after a sequence number, oldest first; or the newest so many.</summary>
    public IReadOnlyList<AuditRecord> ReadAudit(long afterSeq, int limit, string resourceKey, bool newest = false)
    {
        lock (_lock)
        {
            return Query($"SELECT seq, at, kind, resource, body, previous, hash FROM audit WHERE seq > $a AND ($b = '' OR resource = $b) ORDER BY seq {(newest ? "DESC" : "ASC")} LIMIT $c",
                r => new AuditRecord(Chain, r.GetInt64(0), DateTimeOffset.FromUnixTimeMilliseconds(r.GetInt64(1)), r.GetString(2), r.GetString(3), r.GetString(4), r.GetString(5), r.GetString(6)),
                afterSeq, resourceKey, limit);
        }
    }

    public void Dispose()
    {
        lock (_lock) _db.Dispose();
    }

    private void Append(string kind, string resourceKey, string body, ref long seq, ref string hash)
    {
        var next = AuditChain.Next(Chain, seq, hash, _clock.GetUtcNow(), kind, resourceKey, body);
        Run("INSERT INTO audit VALUES ($a, $b, $c, $d, $e, $f, $g)", next.Seq, next.At.ToUnixTimeMilliseconds(), kind, resourceKey, body, next.Previous, next.Hash);
        (seq, hash) = (next.Seq, next.Hash);
    }

    private void Run(string sql, params ReadOnlySpan<object> values)
    {
        using var command = Command(sql, values);
        command.ExecuteNonQuery();
    }

    private object? Scalar(string sql)
    {
        using var command = Command(sql, []);
        return command.ExecuteScalar();
    }

    private ImmutableArray<T> Query<T>(string sql, Func<SqliteDataReader, T> read, params ReadOnlySpan<object> values)
    {
        using var command = Command(sql, values);
        using var reader = command.ExecuteReader();
        var rows = ImmutableArray.CreateBuilder<T>();
        while (reader.Read()) rows.Add(read(reader));
        return rows.ToImmutable();
    }

    private SqliteCommand Command(string sql, ReadOnlySpan<object> values)
    {
        var command = _db.CreateCommand();
#pragma warning disable CA2100 // Every text is a literal of this file; values are parameters.
        command.CommandText = sql;
#pragma warning restore CA2100
        for (var i = 0; i < values.Length; i++) command.Parameters.AddWithValue("$" + (char)('a' + i), values[i]);
        return command;
    }
}
