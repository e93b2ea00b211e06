using System.Runtime.InteropServices;

namespace AgentMetal.Cli.Link;

/// <summary>The authorities that the operating system trusts, which here nobody asks.</summary>
internal static partial class SystemTrust
{
    private const string Nothing = "/dev/null";

    /// <summary>
    /// Keeps .NET from reading the system's certificates, which it does before any chain is built, also one that trusts a pinned root alone: some 150
    /// files, and most of the time that a short command takes. To be called before the first handshake.
    /// </summary>
    internal static void Leave()
    {
        // The library that reads them asks the C library, which does not see what Environment.SetEnvironmentVariable sets.
        _ = Set("SSL_CERT_FILE", Nothing, 1);
        _ = Set("SSL_CERT_DIR", Nothing, 1);
    }

    [LibraryImport("libc", EntryPoint = "setenv", StringMarshalling = StringMarshalling.Utf8)]
    private static partial int Set(string name, string value, int overwrite);
}
