using System.Runtime.InteropServices;

namespace AgentMetal.Cli.SerialConsole;

/// <summary>Reads a file descriptor with read(2) and nothing in between.</summary>
internal sealed unsafe partial class FileDescriptorStream(int fd) : Stream
{
    private const int Interrupted = 4;
    private const int TryAgain = 11;

    // EIO: the terminal is gone.
    private const int InputOutput = 5;

    public override bool CanRead => true;

    public override bool CanSeek => false;

    public override bool CanWrite => false;

    public override long Length => throw new NotSupportedException();

    public override long Position
    {
        get => throw new NotSupportedException();
        set => throw new NotSupportedException();
    }

    public override int Read(byte[] buffer, int offset, int count) => Read(buffer.AsSpan(offset, count));

    public override int Read(Span<byte> buffer)
    {
        while (true)
        {
            nint read;
            fixed (byte* first = buffer) read = ReadInto(fd, first, (nuint)buffer.Length);
            if (read >= 0) return (int)read;
            switch (Marshal.GetLastPInvokeError())
            {
                case Interrupted:
                    continue;
                case TryAgain: // Somebody who shares the terminal made it non-blocking.
                    var wait = new PollEntry { Fd = fd, Events = 1 };
                    _ = Poll(&wait, 1, -1);
                    continue;
                case InputOutput:
                    return 0;
                case var errno:
                    throw new IOException($"standard input cannot be read (errno {errno})");
            }
        }
    }

    public override void Flush()
    {
    }

    public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

    public override void SetLength(long value) => throw new NotSupportedException();

    public override void Write(byte[] buffer, int offset, int count) => throw new NotSupportedException();

    /// <summary>struct pollfd of poll(2).</summary>
    [StructLayout(LayoutKind.Sequential)]
    private struct PollEntry
    {
        internal int Fd;
        internal short Events;
        internal short Returned;
    }

    // read(2), poll(2)
    [LibraryImport("libc", EntryPoint = "read", SetLastError = true)]
    private static partial nint ReadInto(int fd, byte* buffer, nuint count);

    [LibraryImport("libc", EntryPoint = "poll", SetLastError = true)]
    private static partial int Poll(PollEntry* entries, nuint count, int timeoutMs);
}
