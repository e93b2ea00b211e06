using System.Globalization;
using Microsoft.Data.Sqlite;

namespace AgentMetal.Coordinator.Store;

/// <summary>The file format: connections with the right pragmas, the schema and its version, the checks before anything is trusted.</summary>
internal static class SqliteFile
{
    /// <summary>Raised with every change of the schema; a newer file is refused, an older one migrated here.</summary>
    public const int SchemaVersion = 1;

    /// <summary>"AMst" in the file's header (PRAGMA application_id), so that no other database is taken for a store.</summary>
    private const long ApplicationId = 0x414D7374;

    private const string Schema = """
        CREATE TABLE meta(name TEXT PRIMARY KEY, value TEXT NOT NULL);
        CREATE TABLE entries(key TEXT PRIMARY KEY, value BLOB NOT NULL, created INTEGER NOT NULL, modified INTEGER NOT NULL);
        CREATE TABLE changes(revision INTEGER NOT NULL, key TEXT NOT NULL, value BLOB, created INTEGER NOT NULL, PRIMARY KEY(revision, key));
        CREATE TABLE leases(name TEXT PRIMARY KEY, holder TEXT NOT NULL, token INTEGER NOT NULL, until INTEGER NOT NULL);
        CREATE TABLE blobs(hash TEXT PRIMARY KEY, bytes BLOB NOT NULL);
        INSERT INTO meta VALUES('head', '0'), ('compacted', '0');
        """;

    public static SqliteConnection Connect(string path, bool write)
    {
        var text = new SqliteConnectionStringBuilder
        {
            DataSource = path,
            Mode = write ? SqliteOpenMode.ReadWriteCreate : SqliteOpenMode.ReadOnly,
            Pooling = false,
            DefaultTimeout = 5,
        };
        var connection = new SqliteConnection(text.ToString());
        try
        {
            connection.Open();
            // FULL makes every commit wait for fsync of the write-ahead log: what was acknowledged survives a power cut.
            if (write) Run(connection, "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA journal_size_limit=16777216; PRAGMA foreign_keys=ON");
            return connection;
        }
        catch
        {
            connection.Dispose();
            throw;
        }
    }

    /// <summary>Null if the file is a sound store of a version we know, made here if it was not there; else why not.</summary>
    public static string? Prepare(string path, bool restored)
    {
        try
        {
            using var connection = Connect(path, write: true);
            var tables = (long)Scalar(connection, "SELECT count(*) FROM sqlite_master")!;
            var application = (long)Scalar(connection, "PRAGMA application_id")!;
            var version = (long)Scalar(connection, "PRAGMA user_version")!;
            if (tables == 0) return Create(connection);
            if (application != ApplicationId) return $"{path} is a database of another program. Give the coordinator a path of its own.";
            if (version > SchemaVersion)
                return $"{path} has schema {version}, this coordinator knows up to {SchemaVersion}. Start the newer coordinator that wrote it; it was not changed.";
            var verdict = (string)Scalar(connection, "PRAGMA integrity_check(1)")!;
            if (verdict != "ok") return Damaged(path, verdict);
            if (restored) Mint(connection, forget: true);
            return null;
        }
        catch (SqliteException e) when (e.SqliteErrorCode is SqliteCode.Corrupt or SqliteCode.NotADatabase)
        {
            return Damaged(path, e.Message);
        }
        catch (SqliteException e)
        {
            return $"{path} cannot be opened: {SqliteCode.Explain(e, path)}";
        }
    }

    public static object? Scalar(SqliteConnection connection, string sql)
    {
        using var command = connection.CreateCommand();
        command.CommandText = sql;
        return command.ExecuteScalar();
    }

    public static void Run(SqliteConnection connection, string sql)
    {
        using var command = connection.CreateCommand();
        command.CommandText = sql;
        command.ExecuteNonQuery();
    }

    private static string? Create(SqliteConnection connection)
    {
        // One transaction, so that a crash leaves either no schema (made anew) or all of it.
        Run(connection, string.Create(CultureInfo.InvariantCulture, $"BEGIN IMMEDIATE; PRAGMA application_id={ApplicationId}; PRAGMA user_version={SchemaVersion}; {Schema}"));
        Mint(connection, forget: false);
        Run(connection, "COMMIT");
        return null;
    }

    private static void Mint(SqliteConnection connection, bool forget)
    {
        var id = Convert.ToHexStringLower(System.Security.Cryptography.RandomNumberGenerator.GetBytes(16));
        Run(connection, $"INSERT INTO meta VALUES('store_id', '{id}') ON CONFLICT DO UPDATE SET value = excluded.value");
        // A backup's history belongs to the old id, and so do its leases' holders; tokens stay, since they may only grow.
        if (forget) Run(connection, "DELETE FROM changes; UPDATE meta SET value = (SELECT value FROM meta WHERE name = 'head') WHERE name = 'compacted'; UPDATE leases SET until = 0, token = token + 1000000");
    }

    private static string Damaged(string path, string what) =>
        $"{path} is damaged: {what}. It was not changed. Hosts go on as they are. Move it and its -wal file aside, put the last backup in its place and start with --restored: hosts say what they have beyond it and follow it once an operator signs (agentmetal nodes accept-store).";
}

/// <summary>The result codes we tell apart (https://www.sqlite.org/rescode.html).</summary>
internal static class SqliteCode
{
    public const int ReadOnly = 8;
    public const int IoError = 10;
    public const int Corrupt = 11;
    public const int Full = 13;
    public const int CannotOpen = 14;
    public const int NotADatabase = 26;

    public static string Explain(SqliteException e, string path) => e.SqliteErrorCode switch
    {
        Full => $"the disk that holds {path} is full. Free space there; nothing that was acknowledged is lost.",
        IoError => $"the disk that holds {path} fails ({e.Message}). Look at the kernel log.",
        Corrupt or NotADatabase => $"{path} is damaged ({e.Message}). Stop the coordinator, put the last backup in its place and start with --restored; hosts go on as they are, and follow it once an operator signs (agentmetal nodes accept-store).",
        ReadOnly => $"{path} cannot be written. Check its owner, its mode and whether the file system is mounted read-only.",
        CannotOpen => $"{path} cannot be opened. Check that its directory exists and may be written.",
        _ => $"{path}: {e.Message}",
    };
}
