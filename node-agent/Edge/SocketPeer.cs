using System.Globalization;
using System.Net.Sockets;
using System.Runtime.InteropServices;

namespace AgentMetal.NodeAgent.Edge;

/// <summary>Who is behind the host's own socket, as the kernel says (SO_PEERCRED, unix(7)), and who logged in (proc(5), loginuid): sudo makes root of everybody.</summary>
internal sealed record SocketPeer(int Pid, uint Uid, string Text)
{
    private const int SolSocket = 1, SoPeerCred = 17;
    private const uint Nobody = uint.MaxValue;

    public static SocketPeer Of(Socket client)
    {
        Span<int> credentials = stackalloc int[3];
        client.GetRawSocketOption(SolSocket, SoPeerCred, MemoryMarshal.AsBytes(credentials));
        var (pid, uid) = (credentials[0], (uint)credentials[1]);
        var login = LoginOf(pid);
        return new(pid, uid, $"{NameOf(uid)} (uid {uid}){(login != Nobody && login != uid ? $", logged in as {NameOf(login)} (uid {login})" : "")}");
    }

    private static uint LoginOf(int pid)
    {
        try { return uint.Parse(File.ReadAllText($"/proc/{pid.ToString(CultureInfo.InvariantCulture)}/loginuid").Trim(), CultureInfo.InvariantCulture); }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or FormatException or OverflowException) { return Nobody; }
    }

    /// <summary>Of /etc/passwd; a directory service is not asked, which could hang where the network is what is broken.</summary>
    private static string NameOf(uint uid)
    {
        try
        {
            foreach (var line in File.ReadLines("/etc/passwd").Take(10_000))
                if (line.Split(':') is [var name, _, var number, ..] && number == uid.ToString(CultureInfo.InvariantCulture)) return name;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException) { /* Its number says it. */ }
        return "somebody";
    }
}
