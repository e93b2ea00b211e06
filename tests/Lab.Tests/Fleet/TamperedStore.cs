using System.Security.Cryptography;
using AgentMetal.Proto.V1;
using AgentMetal.Runtime.Trust;
using Google.Protobuf;
using Microsoft.Data.Sqlite;

namespace AgentMetal.LabTests.Fleets;

/// <summary>The store of a coordinator that is stopped, in the hands of somebody who may write everything in it.</summary>
public sealed class TamperedStore : IDisposable
{
    private readonly SqliteConnection connection;

    public TamperedStore(string coordinatorData)
    {
        connection = new(new SqliteConnectionStringBuilder { DataSource = Path.Combine(coordinatorData, "store.db"), Pooling = false, Mode = SqliteOpenMode.ReadWrite }.ToString());
        connection.Open();
    }

    /// <summary>Rewrites a resource in place, as an edit of the row would.</summary>
    public void EditResource(string name, Action<Resource> change)
    {
        var key = "resources/default/Redis/" + name;
        var resource = Resource.Parser.ParseFrom(Read(key));
        change(resource);
        Write(key, resource.ToByteArray());
    }

    /// <summary>The approvals that the coordinator still carries for a resource.</summary>
    public IReadOnlyList<Approval> Approvals(string resourceUid)
    {
        using var command = connection.CreateCommand();
        command.CommandText = "SELECT value FROM entries WHERE key LIKE 'approvals/%'";
        using var reader = command.ExecuteReader();
        var found = new List<Approval>();
        while (reader.Read()) found.Add(Approval.Parser.ParseFrom(reader.GetFieldValue<byte[]>(0)));
        return [.. found.Where(a => a.ResourceUid == resourceUid)];
    }

    /// <summary>Puts an approval where the coordinator keeps what it sends to the host.</summary>
    public void Insert(Approval approval)
    {
        var bytes = approval.ToByteArray();
        Write($"approvals/{approval.NodeUid}/{Convert.ToHexStringLower(SHA256.HashData(bytes))}", bytes);
    }

    /// <summary>Signed, and by all forms right, with a key of the forger's own.</summary>
    public static Approval Sign(ECDsa key, IEnumerable<string> hashes, string resourceUid, string nodeUid)
    {
        var signed = SignedApproval.Sign(key, ApprovalDecision.Approve, hashes, resourceUid, nodeUid, DateTimeOffset.UtcNow + TimeSpan.FromHours(1), "forged");
        return new()
        {
            StepHashes = { signed.StepHashes },
            ResourceUid = signed.ResourceUid,
            NodeUid = signed.NodeUid,
            Decision = "approve",
            ExpiresUnixMs = signed.ExpiresUnixMs,
            Reason = signed.Reason,
            KeyId = signed.KeyId,
            Signature = ByteString.CopyFrom(signed.Signature),
        };
    }

    public void Dispose() => connection.Dispose();

    private byte[] Read(string key)
    {
        using var command = connection.CreateCommand();
        command.CommandText = "SELECT value FROM entries WHERE key = $key";
        command.Parameters.AddWithValue("$key", key);
        return (byte[]?)command.ExecuteScalar() ?? throw new InvalidOperationException("the store has no " + key);
    }

    private void Write(string key, byte[] value)
    {
        using var command = connection.CreateCommand();
        command.CommandText = """
            INSERT INTO entries SELECT $key, $value, value, value FROM meta WHERE name = 'head'
            ON CONFLICT(key) DO UPDATE SET value = excluded.value
            """;
        command.Parameters.AddWithValue("$key", key);
        command.Parameters.AddWithValue("$value", value);
        command.ExecuteNonQuery();
    }
}
