using System.Runtime.InteropServices;

namespace AgentMetal.Cli.SerialConsole;

/// <summary>
/// A terminal whose bytes come as they are typed (cfmakeraw(3)). What it was is put back when this is disposed of, and before a signal ends or stops the
/// process: a shell must never be left with a terminal that shows nothing.
/// </summary>
internal sealed partial class RawTerminal : IDisposable
{
    // struct termios is 60 bytes with glibc on x86-64; nothing in it is looked at here.
    private const int TermiosBytes = 256;

    // tcsetattr(3): now, and after what was written is out.
    private const int Now = 0;
    private const int Drained = 1;

    private readonly Lock _lock = new();
    private readonly int _fd;
    private readonly byte[] _before;
    private readonly byte[] _raw;
    private readonly List<PosixSignalRegistration> _signals = [];
    private bool _over;

    private RawTerminal(int fd, byte[] before, byte[] raw)
    {
        (_fd, _before, _raw) = (fd, before, raw);
        // Not SIGINT and SIGQUIT from the keyboard, which are bytes now; from elsewhere they come as these.
        foreach (var ends in (PosixSignal[])[PosixSignal.SIGHUP, PosixSignal.SIGTERM, PosixSignal.SIGINT, PosixSignal.SIGQUIT, PosixSignal.SIGTSTP])
            _signals.Add(PosixSignalRegistration.Create(ends, _ => Set(_before, Now)));
        _signals.Add(PosixSignalRegistration.Create(PosixSignal.SIGCONT, _ => Set(_raw, Now)));
    }

    /// <exception cref="IOException">It is no terminal, or cannot be set.</exception>
    internal static RawTerminal Enter(int fd)
    {
        var (before, raw) = (new byte[TermiosBytes], new byte[TermiosBytes]);
        if (GetAttributes(fd, before) != 0) throw new IOException($"the terminal's settings cannot be read (errno {Marshal.GetLastPInvokeError()})");
        before.CopyTo(raw, 0);
        MakeRaw(raw);
        var terminal = new RawTerminal(fd, before, raw);
        if (SetAttributes(fd, Drained, raw) == 0) return terminal;
        var errno = Marshal.GetLastPInvokeError();
        terminal.Dispose();
        throw new IOException($"the terminal cannot be set to give bytes as they are typed (errno {errno})");
    }

    public void Dispose()
    {
        Set(_before, Now);
        lock (_lock) _over = true;
        foreach (var signal in _signals) signal.Dispose();
    }

    private void Set(byte[] attributes, int when)
    {
        lock (_lock)
            if (!_over) _ = SetAttributes(_fd, when, attributes);
    }

    // tcgetattr(3), cfmakeraw(3), tcsetattr(3)
    [LibraryImport("libc", EntryPoint = "tcgetattr", SetLastError = true)]
    private static partial int GetAttributes(int fd, [Out] byte[] termios);

    [LibraryImport("libc", EntryPoint = "cfmakeraw")]
    private static partial void MakeRaw([In, Out] byte[] termios);

    [LibraryImport("libc", EntryPoint = "tcsetattr", SetLastError = true)]
    private static partial int SetAttributes(int fd, int when, byte[] termios);
}
