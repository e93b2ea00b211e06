using AgentMetal.Runtime.Trust;

namespace AgentMetal.Coordinator.Identity;

/// <summary>What <c>agentmetal init</c> made for this coordinator, read from its directory and checked as a whole.</summary>
internal sealed class IdentityBundle : IDisposable
{
    private const UnixFileMode Others = UnixFileMode.GroupRead | UnixFileMode.GroupWrite | UnixFileMode.GroupExecute
        | UnixFileMode.OtherRead | UnixFileMode.OtherWrite | UnixFileMode.OtherExecute;

    private IdentityBundle()
    {
    }

    public required PinnedRoot Root { get; init; }

    public required CoordinatorAuthority Authority { get; init; }

    public required CoordinatorNames Names { get; init; }

    /// <summary>As it goes to the hosts, which verify it themselves.</summary>
    public required byte[] ApproverSet { get; init; }

    /// <summary>See <see cref="SecretBox"/>. Never stored with what it encrypts.</summary>
    public required byte[] KeyEncryptionKey { get; init; }

    /// <summary>Reads the directory. The problem names the file and the fix.</summary>
    public static Verdict<IdentityBundle> Load(string directory, DateTimeOffset now)
    {
        PinnedRoot? root = null;
        CoordinatorAuthority? authority = null;
        var kept = false;
        try
        {
            var rootDer = InitBundle.ReadCertificate(Text(directory, InitBundle.RootCertificate), InitBundle.RootCertificate);
            if (rootDer.Problem is { } noRoot)
                return noRoot;
            var pinned = PinnedRoot.FromTrustedBytes(rootDer.Value);
            if (pinned.Problem is { } badRoot)
                return badRoot;
            root = pinned.Value;
            var intermediate = InitBundle.ReadCertificate(Text(directory, InitBundle.IntermediateCertificate), InitBundle.IntermediateCertificate);
            if (intermediate.Problem is { } noIntermediate)
                return noIntermediate;
            var loaded = CoordinatorAuthority.Load(SecretText(directory, InitBundle.IntermediateKey), intermediate.Value);
            if (loaded.Problem is { } badIntermediate)
                return badIntermediate;
            authority = loaded.Value;
            var names = InitBundle.ReadNames(Text(directory, InitBundle.NamesFile));
            if (names.Problem is { } badNames)
                return badNames;
            var set = File.ReadAllBytes(Path.Combine(directory, InitBundle.ApproverSetFile));
            // An ended set is still passed on: the hosts refuse approvals by themselves, and everything else goes on.
            if (Runtime.Trust.ApproverSet.Verify(set, root.Certificate, now, 0).Problem is { Code: not TrustProblemCode.Expired } badSet)
                return badSet;
            var keyEncryptionKey = new byte[SecretBox.KeyLength];
            if (!Convert.TryFromBase64String(SecretText(directory, InitBundle.KeyEncryptionKey).Trim(), keyEncryptionKey, out var length) || length != SecretBox.KeyLength)
                return Verdict<IdentityBundle>.Refuse(TrustProblemCode.Malformed, $"{InitBundle.KeyEncryptionKey}: not {SecretBox.KeyLength} bytes in base64");
            kept = true;
            return new IdentityBundle { Root = root, Authority = authority, Names = names.Value, ApproverSet = set, KeyEncryptionKey = keyEncryptionKey };
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return Verdict<IdentityBundle>.Refuse(TrustProblemCode.Malformed, $"the identity in {directory} cannot be read ({e.Message}); copy the coordinator's files that `agentmetal init` wrote");
        }
        finally
        {
            if (!kept)
            {
                root?.Dispose();
                authority?.Dispose();
            }
        }
    }

    public void Dispose()
    {
        Root.Dispose();
        Authority.Dispose();
    }

    private static string Text(string directory, string name) => File.ReadAllText(Path.Combine(directory, name));

    private static string SecretText(string directory, string name)
    {
        var path = Path.Combine(directory, name);
        if (!OperatingSystem.IsWindows() && (File.GetUnixFileMode(path) & Others) != 0)
            throw new IOException($"{name} is open to others than its owner; chmod 600 it");
        return File.ReadAllText(path);
    }
}
