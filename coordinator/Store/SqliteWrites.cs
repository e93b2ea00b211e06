using System.Globalization;
using AgentMetal.Runtime.Store;
using Microsoft.Data.Sqlite;

namespace AgentMetal.Coordinator.Store;

/// <summary>
/// The changes themselves, made on the writer's thread inside its transaction. The head is kept here between commits and read anew after a rollback.
/// </summary>
internal sealed class SqliteWrites
{
    private readonly string storeId;
    private readonly TimeProvider time;
    private readonly int historyLimit;
    private readonly SqliteStatement modified, put, remove, log, setMeta, head, lease, setLease, compact, putBlob;
    // How far a lease was renewed. Only in memory: the file is this process's alone, so whoever opens it next knows that the holder is gone, and a leader that
    // has nothing to do writes nothing.
    private readonly Dictionary<string, (long Token, long Until)> renewed = new(StringComparer.Ordinal);
    private long? current;
    private bool moved;

    public SqliteWrites(SqliteConnection connection, string storeId, TimeProvider time, int historyLimit)
    {
        (this.storeId, this.time, this.historyLimit) = (storeId, time, historyLimit);
        modified = new(connection, "SELECT modified, created FROM entries WHERE key = $0");
        put = new(connection, "INSERT INTO entries VALUES($0, $1, $2, $3) ON CONFLICT DO UPDATE SET value = $1, created = $2, modified = $3");
        remove = new(connection, "DELETE FROM entries WHERE key = $0");
        log = new(connection, "INSERT INTO changes VALUES($0, $1, $2, $3)");
        setMeta = new(connection, "UPDATE meta SET value = $1 WHERE name = $0");
        head = new(connection, "SELECT value FROM meta WHERE name = 'head'");
        lease = new(connection, "SELECT holder, token, until FROM leases WHERE name = $0");
        setLease = new(connection, "INSERT INTO leases VALUES($0, $1, $2, $3) ON CONFLICT DO UPDATE SET holder = $1, token = $2, until = $3");
        compact = new(connection, "DELETE FROM changes WHERE revision <= $0");
        putBlob = new(connection, "INSERT INTO blobs VALUES($0, $1) ON CONFLICT DO NOTHING");
    }

    public StoreResult Apply(StoreTxn txn, IReadOnlyList<(string Key, byte[]? Value)> values)
    {
        if (txn.Leader is { } leader && Fence(leader) is { } fenced) return fenced;
        foreach (var compare in txn.Compares)
        {
            var actual = Modified(compare.Key)?.At ?? 0;
            if (actual != compare.ModifiedAt) return new StoreResult.Conflict(compare.Key, compare.ModifiedAt, actual);
        }
        var next = Head + 1;
        var changed = false;
        foreach (var (key, value) in values)
        {
            var before = Modified(key);
            if (value is null && before is null) continue;
            var created = before?.Created ?? next;
            if (value is null) remove.Run(key);
            else put.Run(key, value, created, next);
            log.Run(next, key, value, created);
            changed = true;
        }
        if (changed) (current, moved) = (next, true);
        return new StoreResult.Committed(new Revision(storeId, Head));
    }

    public LeaseResult Acquire(string name, string holder, TimeSpan timeToLive)
    {
        var held = Lease(name);
        if (held is not null && IsLive(held) && held.Holder != holder) return new LeaseResult.HeldBy(held.Holder, held.Token, held.Until);
        return Grant(name, holder, (held?.Token ?? 0) + 1, timeToLive);
    }

    public LeaseResult Renew(LeaderProof proof, TimeSpan timeToLive)
    {
        if (Fence(proof) is { } fenced) return new LeaseResult.Lost(fenced.CurrentToken, fenced.Holder);
        var until = Until(timeToLive);
        renewed[proof.Lease] = (proof.Token, until.ToUnixTimeMilliseconds());
        return new LeaseResult.Granted(proof with { Until = until });
    }

    /// <summary>The row stays, expired: its token must never be given out again.</summary>
    public bool Release(LeaderProof proof)
    {
        if (Fence(proof) is not null) return false;
        renewed.Remove(proof.Lease);
        setLease.Run(proof.Lease, proof.Holder, proof.Token, 0L);
        return true;
    }

    public string PutBlob(string hash, byte[] bytes)
    {
        putBlob.Run(hash, bytes);
        return hash;
    }

    /// <summary>The last thing before the commit: where the history now ends and begins.</summary>
    public void Finish()
    {
        if (!moved) return;
        moved = false;
        setMeta.Run("head", Text(Head));
        var compacted = Head - historyLimit;
        if (compacted <= 0) return;
        compact.Run(compacted);
        setMeta.Run("compacted", Text(compacted));
    }

    /// <summary>After a rollback: nothing that was counted in memory is true.</summary>
    public void Forget() => (current, moved) = (null, false);

    private long Head => current ??= long.Parse((string)head.Row()![0], CultureInfo.InvariantCulture);

    private static string Text(long number) => number.ToString(CultureInfo.InvariantCulture);

    private (long At, long Created)? Modified(string key) => modified.Row(key) is { } row ? ((long)row[0], (long)row[1]) : null;

    private LeaderProof? Lease(string name)
    {
        if (lease.Row(name) is not { } row) return null;
        var (token, until) = ((long)row[1], (long)row[2]);
        if (renewed.TryGetValue(name, out var later) && later.Token == token) until = later.Until;
        return new() { Lease = name, Holder = (string)row[0], Token = token, Until = DateTimeOffset.FromUnixTimeMilliseconds(until) };
    }

    private bool IsLive(LeaderProof held) => time.GetUtcNow() < held.Until;

    private StoreResult.Fenced? Fence(LeaderProof proof)
    {
        var held = Lease(proof.Lease);
        if (held is not null && held.Token == proof.Token && held.Holder == proof.Holder && IsLive(held)) return null;
        return new StoreResult.Fenced(proof.Lease, proof.Token, held?.Token ?? 0, held is not null && IsLive(held) ? held.Holder : null);
    }

    /// <summary>In whole milliseconds, as it is stored.</summary>
    private DateTimeOffset Until(TimeSpan timeToLive) => DateTimeOffset.FromUnixTimeMilliseconds((time.GetUtcNow() + timeToLive).ToUnixTimeMilliseconds());

    private LeaseResult.Granted Grant(string name, string holder, long token, TimeSpan timeToLive)
    {
        var until = Until(timeToLive);
        setLease.Run(name, holder, token, until.ToUnixTimeMilliseconds());
        return new(new LeaderProof { Lease = name, Holder = holder, Token = token, Until = until });
    }
}

/// <summary>A prepared statement with positional parameters $0, $1, …; used by one thread at a time.</summary>
internal sealed class SqliteStatement
{
    private readonly SqliteCommand command;

    public SqliteStatement(SqliteConnection connection, string sql)
    {
        command = connection.CreateCommand();
        command.CommandText = sql;
        for (var i = 0; sql.Contains($"${i}", StringComparison.Ordinal); i++) command.Parameters.Add(new SqliteParameter { ParameterName = $"${i}" });
        command.Prepare();
    }

    public void Run(params ReadOnlySpan<object?> values)
    {
        Bind(values);
        command.ExecuteNonQuery();
    }

    /// <summary>The first row, or null.</summary>
    public object[]? Row(params ReadOnlySpan<object?> values)
    {
        Bind(values);
        using var reader = command.ExecuteReader();
        if (!reader.Read()) return null;
        var row = new object[reader.FieldCount];
        reader.GetValues(row);
        return row;
    }

    public SqliteDataReader Rows(params ReadOnlySpan<object?> values)
    {
        Bind(values);
        return command.ExecuteReader();
    }

    private void Bind(ReadOnlySpan<object?> values)
    {
        for (var i = 0; i < values.Length; i++) command.Parameters[i].Value = values[i] ?? DBNull.Value;
    }
}
