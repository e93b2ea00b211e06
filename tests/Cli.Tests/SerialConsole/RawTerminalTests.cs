using System.Runtime.InteropServices;
using AgentMetal.Cli.SerialConsole;
using Xunit;

namespace AgentMetal.Cli.Tests.SerialConsole;

/// <summary>A real terminal: the slave of a pair that the kernel makes.</summary>
public sealed partial class RawTerminalTests
{
    private const int ReadWrite = 2;
    private const int NoControllingTerminal = 0x100;

    // Where c_lflag stands in struct termios, and two of its bits (bits/termios-c_lflag.h).
    private const int LocalFlags = 12;
    private const int Canonical = 2;
    private const int Echo = 8;

    [Fact]
    public void Enter_ATerminal_IsRawUntilDisposedOf()
    {
        using var terminal = Slave.Open();
        Assert.Equal(Canonical | Echo, terminal.Flags & (Canonical | Echo));
        var before = terminal.Attributes;
        using (RawTerminal.Enter(terminal.Fd)) Assert.Equal(0, terminal.Flags & (Canonical | Echo));
        Assert.Equal(before, terminal.Attributes);
    }

    [Fact]
    public void Enter_NoTerminal_Throws()
    {
        var pipe = Open("/dev/null", ReadWrite);
        Assert.Contains("terminal", Assert.Throws<IOException>(() => RawTerminal.Enter(pipe)).Message, StringComparison.Ordinal);
        Assert.Equal(0, Close(pipe));
    }

    private sealed class Slave(int master, int fd) : IDisposable
    {
        public int Fd => fd;

        public byte[] Attributes
        {
            get
            {
                var termios = new byte[256];
                Assert.Equal(0, GetAttributes(fd, termios));
                return termios;
            }
        }

        public int Flags => BitConverter.ToInt32(Attributes, LocalFlags);

        public static Slave Open()
        {
            var master = OpenPair(ReadWrite | NoControllingTerminal);
            Assert.True(master >= 0 && Grant(master) == 0 && Unlock(master) == 0, "no terminal can be made");
            var name = Marshal.PtrToStringUTF8(NameOf(master))!;
            return new(master, RawTerminalTests.Open(name, ReadWrite | NoControllingTerminal));
        }

        public void Dispose()
        {
            _ = Close(fd);
            _ = Close(master);
        }
    }

    [LibraryImport("libc", EntryPoint = "posix_openpt")]
    private static partial int OpenPair(int flags);

    [LibraryImport("libc", EntryPoint = "grantpt")]
    private static partial int Grant(int fd);

    [LibraryImport("libc", EntryPoint = "unlockpt")]
    private static partial int Unlock(int fd);

    [LibraryImport("libc", EntryPoint = "ptsname")]
    private static partial nint NameOf(int fd);

    [LibraryImport("libc", EntryPoint = "open", StringMarshalling = StringMarshalling.Utf8)]
    private static partial int Open(string path, int flags);

    [LibraryImport("libc", EntryPoint = "close")]
    private static partial int Close(int fd);

    [LibraryImport("libc", EntryPoint = "tcgetattr")]
    private static partial int GetAttributes(int fd, [Out] byte[] termios);
}
