using Microsoft.Data.Sqlite;

namespace AgentMetal.NodeAgent.Edge;

/// <summary>The host's file: mode 0600 before the first byte, pragmas that keep it durable and small, schema, checks.</summary>
internal static class LocalFile
{
    public const int SchemaVersion = 1;

    /// <summary>"AMho" in the file's header (PRAGMA application_id).</summary>
    private const long ApplicationId = 0x414D686F;

    private const string Schema = """
        CREATE TABLE meta(name TEXT PRIMARY KEY, value TEXT NOT NULL);
        CREATE TABLE assignments(key TEXT PRIMARY KEY, revision INTEGER NOT NULL, body BLOB NOT NULL, acked INTEGER NOT NULL);
        CREATE TABLE runs(id TEXT PRIMARY KEY, key TEXT NOT NULL, body TEXT NOT NULL);
        CREATE TABLE journal(seq INTEGER PRIMARY KEY AUTOINCREMENT, run TEXT NOT NULL REFERENCES runs(id) ON DELETE CASCADE, body TEXT NOT NULL);
        CREATE INDEX journal_run ON journal(run);
        CREATE TABLE attempts(seq INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT NOT NULL, body TEXT NOT NULL);
        CREATE INDEX attempts_key ON attempts(key);
        CREATE TABLE previews(content TEXT PRIMARY KEY, call TEXT NOT NULL, nonce TEXT NOT NULL, body TEXT NOT NULL, created INTEGER NOT NULL, expires INTEGER NOT NULL);
        CREATE INDEX previews_call ON previews(call);
        CREATE TABLE approvals(id TEXT PRIMARY KEY, body BLOB NOT NULL, expires INTEGER NOT NULL);
        CREATE TABLE approved_steps(step TEXT NOT NULL, approval TEXT NOT NULL REFERENCES approvals(id) ON DELETE CASCADE, PRIMARY KEY(step, approval));
        CREATE TABLE consumed(step TEXT PRIMARY KEY, at INTEGER NOT NULL);
        CREATE TABLE audit(seq INTEGER PRIMARY KEY, chain TEXT NOT NULL, at INTEGER NOT NULL, kind TEXT NOT NULL, resource TEXT NOT NULL, body TEXT NOT NULL, previous TEXT NOT NULL, hash TEXT NOT NULL);
        CREATE TABLE secrets(name TEXT PRIMARY KEY, value BLOB NOT NULL);
        """;

    /// <summary>Made where they are not there: a daemon of before leaves them alone, so the version of the schema stays.</summary>
    private const string Later = """
        CREATE TABLE IF NOT EXISTS struck(node TEXT PRIMARY KEY, body BLOB NOT NULL, at INTEGER NOT NULL);
        CREATE TABLE IF NOT EXISTS seen(key TEXT PRIMARY KEY, generation INTEGER NOT NULL, handed TEXT NOT NULL, handed_name TEXT NOT NULL);
        CREATE TABLE IF NOT EXISTS orphans(key TEXT PRIMARY KEY, since INTEGER NOT NULL);
        CREATE TABLE IF NOT EXISTS spent(nonce TEXT PRIMARY KEY, at INTEGER NOT NULL);
        CREATE TABLE IF NOT EXISTS asked(step TEXT PRIMARY KEY, content TEXT NOT NULL, at INTEGER NOT NULL, void INTEGER NOT NULL);
        CREATE INDEX IF NOT EXISTS asked_content ON asked(content);
        CREATE TABLE IF NOT EXISTS destroyed(key TEXT PRIMARY KEY, generation INTEGER NOT NULL, text TEXT NOT NULL, at INTEGER NOT NULL);
        CREATE TABLE IF NOT EXISTS pauses(key TEXT PRIMARY KEY, since INTEGER NOT NULL, uid INTEGER NOT NULL, by TEXT NOT NULL, reason TEXT NOT NULL, stop INTEGER NOT NULL);
        CREATE TABLE IF NOT EXISTS refused(id TEXT PRIMARY KEY, why TEXT NOT NULL, at INTEGER NOT NULL);
        """;

    public static SqliteConnection Connect(string path)
    {
        var connection = new SqliteConnection(new SqliteConnectionStringBuilder { DataSource = path, Pooling = false, DefaultTimeout = 5 }.ToString());
        try
        {
            connection.Open();
            // FULL makes every commit wait for fsync: intent must be on the disk before the effect. A cache of 256 KiB is enough for rows this small, and
            // secure_delete overwrites what is deleted, secrets among it. exclusive keeps the WAL index in this process's memory and a second daemon out.
            Run(connection, "PRAGMA locking_mode=EXCLUSIVE; PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA cache_size=-256; PRAGMA secure_delete=ON; PRAGMA foreign_keys=ON; PRAGMA wal_autocheckpoint=256; PRAGMA journal_size_limit=1048576");
            return connection;
        }
        catch
        {
            connection.Dispose();
            throw;
        }
    }

    /// <summary>The connection, or why the file cannot be used. A file that is there is never made anew: it holds what must not happen twice.</summary>
    public static (SqliteConnection? Connection, string? Problem) Open(string path)
    {
        SqliteConnection? connection = null;
        string? problem;
        try
        {
            Restrict(path);
            connection = Connect(path);
            problem = Check(connection, path);
        }
        catch (SqliteException e)
        {
            problem = e.SqliteErrorCode is 11 or 26 ? Damaged(path, e.Message) : Explain(e, path);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            problem = $"{path} cannot be opened: {e.Message} Its directory must exist and belong to root.";
        }
        if (problem is null) return (connection, null);
        connection?.Dispose();
        return (null, problem);
    }

    /// <summary>Result codes: https://www.sqlite.org/rescode.html.</summary>
    public static string Explain(SqliteException e, string path) => e.SqliteErrorCode switch
    {
        5 => $"{path} is in use by another process. Look for a second agentmetald: systemctl status agentmetald",
        8 => $"{path} cannot be written: look whether its file system is mounted read-only (findmnt -T {path})",
        10 => $"the disk that holds {path} fails ({e.Message}): look at the kernel log (journalctl -k)",
        13 => $"the disk that holds {path} is full: free space there (df {path}); nothing acknowledged is lost",
        11 or 26 => Damaged(path, e.Message),
        _ => $"{path}: {e.Message}",
    };

    public static void Run(SqliteConnection connection, string sql)
    {
        using var command = connection.CreateCommand();
        command.CommandText = sql;
        command.ExecuteNonQuery();
    }

    private static object Scalar(SqliteConnection connection, string sql)
    {
        using var command = connection.CreateCommand();
        command.CommandText = sql;
        return command.ExecuteScalar()!;
    }

    private static void Restrict(string path)
    {
        const UnixFileMode rootOnly = UnixFileMode.UserRead | UnixFileMode.UserWrite;
        // SQLite gives its -wal file the mode of the database, so that this one mode covers the secrets wherever they lie.
        using var file = new FileStream(path, new FileStreamOptions { Mode = FileMode.OpenOrCreate, Access = FileAccess.ReadWrite, Share = FileShare.ReadWrite, UnixCreateMode = rootOnly });
        File.SetUnixFileMode(file.SafeFileHandle, rootOnly);
    }

    private static string? Check(SqliteConnection connection, string path)
    {
        if ((long)Scalar(connection, "SELECT count(*) FROM sqlite_master") == 0)
        {
            // One transaction: a crash leaves either no schema, which is made anew, or all of it.
            Run(connection, $"BEGIN IMMEDIATE; PRAGMA application_id={ApplicationId}; PRAGMA user_version={SchemaVersion}; {Schema} {Later} COMMIT");
            return null;
        }
        if ((long)Scalar(connection, "PRAGMA application_id") != ApplicationId) return $"{path} is a database of another program: give agentmetald a path of its own";
        var version = (long)Scalar(connection, "PRAGMA user_version");
        if (version > SchemaVersion) return $"{path} has schema {version}, this agentmetald knows up to {SchemaVersion}: start the newer agentmetald that wrote it";
        var verdict = (string)Scalar(connection, "PRAGMA quick_check(1)");
        if (verdict != "ok") return Damaged(path, verdict);
        Run(connection, $"BEGIN IMMEDIATE; {Later} COMMIT");
        return null;
    }

    private static string Damaged(string path, string what) =>
        $"{path} is damaged: {what}. It was not changed. Keep it as evidence (mv {path} {path}.damaged), then start agentmetald: it fetches its assignments again and observes before it acts";
}
