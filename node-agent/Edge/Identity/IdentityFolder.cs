using System.Security.Cryptography;
using System.Text;
using AgentMetal.Runtime.Trust;

namespace AgentMetal.NodeAgent.Edge.Identity;

/// <summary>
/// The node's identity on disk: <c>node.pem</c> (key and chain in one file, so that they change together), <c>root.crt</c> (pinned at joining, never
/// overwritten) and <c>approver-set.json</c>. While a key is new and not certified yet it waits in <c>node.next.key</c>, so that a renewal or a joining
/// that was cut off is asked for again with the same key.
/// </summary>
internal sealed class IdentityFolder(string directory)
{
    public const string NodeFile = "node.pem";
    public const string NextKeyFile = "node.next.key";

    private const UnixFileMode Secret = UnixFileMode.UserRead | UnixFileMode.UserWrite;

    /// <summary>The key to ask a certificate for: the one that waits, or a new one, which is on disk before anybody hears of it. The caller disposes it.</summary>
    public Verdict<ECDsa> NextKey()
    {
        var path = In(NextKeyFile);
        if (File.Exists(path))
            return ReadKey(File.ReadAllText(path), NextKeyFile);
        var key = P256.Generate();
        WriteAtomically(NextKeyFile, Encoding.ASCII.GetBytes(key.ExportPkcs8PrivateKeyPem() + "\n"));
        return key;
    }

    /// <summary>The pinned root; null before the first joining.</summary>
    public Verdict<PinnedRoot>? Root()
    {
        var path = In(InitBundle.RootCertificate);
        if (!File.Exists(path))
            return null;
        var der = InitBundle.ReadCertificate(File.ReadAllText(path), path);
        return der.Problem is { } problem ? (Verdict<PinnedRoot>)problem : PinnedRoot.FromTrustedBytes(der.Value);
    }

    /// <summary>Pins a root for good. A host that is pinned to another one has to be wiped: it may run what the other fleet placed on it.</summary>
    public TrustProblem? Pin(PinnedRoot root)
    {
        var pinned = Root();
        if (pinned is null)
        {
            WriteAtomically(InitBundle.RootCertificate, Encoding.ASCII.GetBytes(root.Certificate.ExportCertificatePem() + "\n"));
            return null;
        }
        if (pinned.Problem is { } unreadable)
            return unreadable;
        using var before = pinned.Value;
        return before.Sha256 == root.Sha256 ? null : new TrustProblem(TrustProblemCode.UntrustedRoot,
            $"this host belongs to the fleet with root {before.Sha256[..16]}…, the join token is for {root.Sha256[..16]}…; remove {directory} to leave the old fleet");
    }

    /// <summary>What was saved last; null before the first joining. A key that others could read is refused.</summary>
    public Verdict<NodeIdentity>? Load()
    {
        var path = In(NodeFile);
        if (!File.Exists(path))
            return null;
        if (File.GetUnixFileMode(path) != Secret)
            return Verdict<NodeIdentity>.Refuse(TrustProblemCode.Malformed, $"{path} is open to others than its owner; chmod 600 it, and renew if it was ever read");
        var text = File.ReadAllText(path);
        var key = ReadKey(text, path);
        if (key.Problem is { } badKey)
            return badKey;
        var root = Root();
        if (root?.IsTrusted != true)
        {
            key.Value.Dispose();
            return root?.Problem ?? new TrustProblem(TrustProblemCode.UntrustedRoot, $"{In(InitBundle.RootCertificate)} is missing; join again");
        }
        return NodeIdentity.FromParts(key.Value, ReadChain(text), root.Value);
    }

    /// <summary>
    /// Takes a certified key: checks that the chain is for this key and ends at the pinned root, then replaces the file in one rename. A chain that does
    /// not verify changes nothing. The key is the node's from here on.
    /// </summary>
    public Verdict<NodeIdentity> Save(ECDsa key, IReadOnlyList<byte[]> chain, DateTimeOffset now)
    {
        var root = Root();
        if (root?.IsTrusted != true)
            return root?.Problem ?? new TrustProblem(TrustProblemCode.UntrustedRoot, "no root is pinned yet");
        var identity = NodeIdentity.FromParts(key, chain, root.Value);
        if (identity.Problem is { } malformed)
            return malformed;
        if (identity.Value.Verify(now) is { } untrusted)
        {
            identity.Value.Dispose();
            return untrusted;
        }
        var text = new StringBuilder(key.ExportPkcs8PrivateKeyPem()).Append('\n');
        foreach (var der in chain)
            text.Append(PemEncoding.WriteString("CERTIFICATE", der)).Append('\n');
        WriteAtomically(NodeFile, Encoding.ASCII.GetBytes(text.ToString()));
        File.Delete(In(NextKeyFile));
        return identity;
    }

    /// <summary>The approver set as it was saved last, unverified; null when there is none.</summary>
    public byte[]? ApproverSet() => File.Exists(In(InitBundle.ApproverSetFile)) ? File.ReadAllBytes(In(InitBundle.ApproverSetFile)) : null;

    /// <summary>
    /// Takes a set from the coordinator if the pinned root signed it and it is not older than the one here. The floor is the version on disk even when
    /// that set has ended: an ended set must not make room for an older one.
    /// </summary>
    public Verdict<ApproverSet> TakeApproverSet(byte[] bytes, DateTimeOffset now)
    {
        var root = Root();
        if (root?.IsTrusted != true)
            return root?.Problem ?? new TrustProblem(TrustProblemCode.UntrustedRoot, "no root is pinned yet");
        using var pinned = root.Value;
        long floor = 0;
        if (ApproverSet() is { } before)
        {
            if (before.AsSpan().SequenceEqual(bytes))
                return Runtime.Trust.ApproverSet.Verify(bytes, pinned.Certificate, now, 0);
            // Judged at the beginning of time: only its signature and its version matter here.
            var old = Runtime.Trust.ApproverSet.Verify(before, pinned.Certificate, DateTimeOffset.UnixEpoch, 0);
            floor = old.IsTrusted ? old.Value.Version : 0;
        }
        var taken = Runtime.Trust.ApproverSet.Verify(bytes, pinned.Certificate, now, floor);
        if (taken.IsTrusted)
            WriteAtomically(InitBundle.ApproverSetFile, bytes);
        return taken;
    }

    private static Verdict<ECDsa> ReadKey(string pem, string path)
    {
        var key = ECDsa.Create();
        try
        {
            key.ImportFromPem(OnlyKey(pem));
            return key;
        }
        catch (Exception e) when (e is CryptographicException or ArgumentException)
        {
            key.Dispose();
            return Verdict<ECDsa>.Refuse(TrustProblemCode.WrongKey, $"{path} holds no private key; remove it and join again");
        }
    }

    private static ReadOnlySpan<char> OnlyKey(string pem)
    {
        var rest = pem.AsSpan();
        while (PemEncoding.TryFind(rest, out var fields))
        {
            if (rest[fields.Label] is "PRIVATE KEY")
                return rest[fields.Location];
            rest = rest[fields.Location.End..];
        }
        return [];
    }

    private static List<byte[]> ReadChain(string pem)
    {
        var chain = new List<byte[]>();
        var rest = pem.AsSpan();
        while (PemEncoding.TryFind(rest, out var fields))
        {
            if (rest[fields.Label] is "CERTIFICATE")
                chain.Add(Convert.FromBase64String(rest[fields.Base64Data].ToString()));
            rest = rest[fields.Location.End..];
        }
        return chain;
    }

    /// <summary>Mode first, then bytes, then fsync, then rename: at no moment is there half a file or a key that others may read.</summary>
    private void WriteAtomically(string name, byte[] bytes)
    {
        Directory.CreateDirectory(directory);
        var temporary = In(name + ".tmp");
        File.Delete(temporary);
        var options = new FileStreamOptions { Mode = FileMode.CreateNew, Access = FileAccess.Write, UnixCreateMode = Secret };
        using (var stream = new FileStream(temporary, options))
        {
            stream.Write(bytes);
            stream.Flush(flushToDisk: true);
        }
        File.Move(temporary, In(name), overwrite: true);
        SyncDirectory();
    }

    /// <summary>The rename itself must survive a power cut: fsync(2) of the directory.</summary>
    private void SyncDirectory()
    {
        using var handle = DirectoryHandle.Open(directory);
        handle.Sync();
    }

    private string In(string name) => Path.Combine(directory, name);
}
