using System.Globalization;
using AgentMetal.Runtime.Store;
using Microsoft.Data.Sqlite;

namespace AgentMetal.Coordinator.Store;

/// <summary>One read connection. Each call reads within one transaction, so head, entries and history are of the same moment.</summary>
internal sealed class SqliteReads : IDisposable
{
    /// <summary>Rows read at a time by a watch; above the writes one transaction may hold, so that each read gets on by a revision at least.</summary>
    private const int WatchRows = 1_024;

    private readonly SqliteConnection connection;
    private readonly string storeId;
    private readonly SqliteStatement begin, end, head, get, list, changes, blob;

    public SqliteReads(string path, string storeId)
    {
        this.storeId = storeId;
        connection = SqliteFile.Connect(path, write: false);
        begin = new(connection, "BEGIN");
        end = new(connection, "COMMIT");
        head = new(connection, "SELECT (SELECT value FROM meta WHERE name = 'head'), (SELECT value FROM meta WHERE name = 'compacted')");
        get = new(connection, "SELECT value, created, modified FROM entries WHERE key = $0");
        list = new(connection, "SELECT key, value, created, modified FROM entries WHERE key >= $0 AND key < $1 ORDER BY key");
        changes = new(connection, $"SELECT revision, key, value, created FROM changes WHERE revision > $0 AND key >= $1 AND key < $2 ORDER BY revision, key LIMIT {WatchRows}");
        blob = new(connection, "SELECT bytes FROM blobs WHERE hash = $0");
    }

    public StoreRead Get(string key) => Snapshot(at =>
        new StoreRead(at.Head, get.Row(key) is { } row ? Entry(key, (byte[])row[0], (long)row[1], (long)row[2]) : null));

    public StoreListing List(string prefix) => Snapshot(at =>
    {
        var entries = new List<StoreEntry>();
        using var rows = list.Rows(prefix, Above(prefix));
        while (rows.Read()) entries.Add(Entry(rows.GetString(0), rows.GetFieldValue<byte[]>(1), rows.GetInt64(2), rows.GetInt64(3)));
        return new StoreListing(at.Head, entries);
    });

    /// <summary>The next events after a revision, and up to where the history was looked at: past changes under other prefixes too.</summary>
    public (List<WatchEvent> Events, Revision Seen) ChangesAfter(string prefix, Revision after) => Snapshot<(List<WatchEvent>, Revision)>(at =>
    {
        if (after.StoreId != storeId) return ([new WatchEvent.ReList(ReListReason.ForeignStore, at.Head)], after);
        if (after.Number > at.Head.Number) return ([new WatchEvent.ReList(ReListReason.AheadOfStore, at.Head)], after);
        if (after.Number < at.Compacted) return ([new WatchEvent.ReList(ReListReason.Compacted, at.Head)], after);
        var events = new List<WatchEvent>();
        var rowCount = 0;
        using (var rows = changes.Rows(after.Number, prefix, Above(prefix)))
        {
            while (rows.Read())
            {
                rowCount++;
                Add(events, new Revision(storeId, rows.GetInt64(0)), new StoreChange(rows.GetString(1), rows.IsDBNull(2) ? default(ReadOnlyMemory<byte>?) : rows.GetFieldValue<byte[]>(2), rows.GetInt64(3)));
            }
        }
        if (rowCount < WatchRows) return (events, at.Head);
        // The last revision may be cut off by the limit; it is read whole the next time.
        events.RemoveAt(events.Count - 1);
        return (events, ((WatchEvent.Changed)events[^1]).At);
    });

    public byte[]? Blob(string hash) => blob.Row(hash) is { } row ? (byte[])row[0] : null;

    public void Dispose() => connection.Dispose();

    private static void Add(List<WatchEvent> events, Revision at, StoreChange change)
    {
        if (events.Count > 0 && events[^1] is WatchEvent.Changed last && last.At == at) ((List<StoreChange>)last.Changes).Add(change);
        else events.Add(new WatchEvent.Changed(at, new List<StoreChange> { change }));
    }

    /// <summary>The first string after all that begin with the prefix: keys are ASCII below U+007F.</summary>
    private static string Above(string prefix) => prefix + "\u007f";

    private static StoreEntry Entry(string key, byte[] value, long created, long modified) => new() { Key = key, Value = value, CreatedAt = created, ModifiedAt = modified };

    private T Snapshot<T>(Func<(Revision Head, long Compacted), T> read)
    {
        begin.Run();
        try
        {
            var row = head.Row()!;
            var at = (new Revision(storeId, long.Parse((string)row[0], CultureInfo.InvariantCulture)), long.Parse((string)row[1], CultureInfo.InvariantCulture));
            return read(at);
        }
        finally
        {
            end.Run();
        }
    }
}
