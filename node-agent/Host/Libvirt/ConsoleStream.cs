using System.Collections.Concurrent;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace AgentMetal.NodeAgent.Host.Libvirt;

/// <summary>
/// A console as a duplex stream of bytes (libvirt-stream.h, virDomainOpenConsole). libvirt's event thread only says that there is something;
/// a thread of the console's own moves the bytes. What comes is always taken, because libvirt would queue it without a bound: a reader that
/// is too slow finds the newest <see cref="Room"/> bytes. The stream has a connection of its own, for the reason that
/// <see cref="LibvirtLanes"/> tells.
/// </summary>
internal sealed class ConsoleStream : Stream
{
    /// <summary>Bytes that wait in each direction at most.</summary>
    internal const int Room = 64 * 1024;

    private const uint NonBlocking = 1;
    private const int Readable = 1 << 0;
    private const int Writable = 1 << 1;
    private const int Broken = 1 << 2;
    private const int HungUp = 1 << 3;
    private const int Chunk = 4096;

    /// <summary>Chunks that are taken before what is to be sent has its turn.</summary>
    private const int MaxChunks = 64;

    private static readonly TimeSpan CloseLimit = TimeSpan.FromSeconds(5);
    private static readonly ConcurrentDictionary<nint, ConsoleStream> Live = new();
    private static long s_lastId;

    private readonly nint _id = (nint)Interlocked.Increment(ref s_lastId);
    private readonly VirStream _stream;
    private readonly LibvirtSession _session;
    private readonly Action _onClosed;
    private readonly object _gate = new();
    private readonly ByteRing _in = new(Room);
    private readonly ByteRing _out = new(Room);
    private readonly TaskCompletionSource _ended = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private TaskCompletionSource _changed = NewSource();
    private bool _signalled;
    private bool _closing;
    private bool _isOver;

    private ConsoleStream(LibvirtSession session, VirStream stream, Action onClosed)
    {
        _session = session;
        _stream = stream;
        _onClosed = onClosed;
    }

    public override bool CanRead => true;

    public override bool CanWrite => true;

    public override bool CanSeek => false;

    public override long Length => throw new NotSupportedException();

    public override long Position
    {
        get => throw new NotSupportedException();
        set => throw new NotSupportedException();
    }

    /// <summary>Opens the first console of a domain. On a thread for calls.</summary>
    /// <param name="onClosed">Called once, when a stream that was returned has ended.</param>
    /// <exception cref="LibvirtException">libvirt said no.</exception>
    internal static ConsoleStream Open(LibvirtOptions options, string uuid, bool force, Action onClosed)
    {
        ConsoleStream? console = null;
        // Lost before the stream is there: then the next call fails.
        var session = LibvirtSession.Open(options, null, (_, _) => Volatile.Read(ref console)?.Hangup());
        try
        {
            var opened = Open(session, uuid, force, onClosed);
            Volatile.Write(ref console, opened);
            if (session.LostWhy is not null)
                opened.Hangup();
            return opened;
        }
        catch
        {
            session.Dispose();
            throw;
        }
    }

    private static unsafe ConsoleStream Open(LibvirtSession session, string uuid, bool force, Action onClosed)
    {
        using var domain = LibvirtReader.Find(session, uuid);
        var stream = LibvirtReader.Valid(Virt.StreamNew(session.Connection, NonBlocking), "virStreamNew");
        try
        {
            LibvirtReader.Check(Virt.DomainOpenConsole(domain, null, stream, force ? Virt.ConsoleForce : 0), "virDomainOpenConsole");
            var console = new ConsoleStream(session, stream, onClosed);
            Live[console._id] = console;
            if (Virt.StreamAddCallback(stream, Readable | Broken | HungUp, &OnEvent, (void*)console._id, null) < 0)
            {
                Live.TryRemove(console._id, out _);
                var error = LibvirtException.Last("virStreamEventAddCallback");
                _ = Virt.StreamAbort(stream);
                throw error;
            }

            new Thread(console.Run) { Name = "libvirt-console", IsBackground = true }.Start();
            return console;
        }
        catch
        {
            stream.Dispose();
            throw;
        }
    }

    public override int Read(byte[] buffer, int offset, int count) => ReadAsync(buffer.AsMemory(offset, count)).AsTask().GetAwaiter().GetResult();

    public override Task<int> ReadAsync(byte[] buffer, int offset, int count, CancellationToken cancellationToken) =>
        ReadAsync(buffer.AsMemory(offset, count), cancellationToken).AsTask();

    public override async ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
    {
        while (true)
        {
            Task changed;
            lock (_gate)
            {
                if (_in.Count > 0)
                    return _in.Take(buffer.Span);
                if (_isOver || _closing || buffer.IsEmpty)
                    return 0;
                changed = _changed.Task;
            }

            await changed.WaitAsync(cancellationToken).ConfigureAwait(false);
        }
    }

    public override void Write(byte[] buffer, int offset, int count) => WriteAsync(buffer.AsMemory(offset, count)).AsTask().GetAwaiter().GetResult();

    public override Task WriteAsync(byte[] buffer, int offset, int count, CancellationToken cancellationToken) =>
        WriteAsync(buffer.AsMemory(offset, count), cancellationToken).AsTask();

    public override async ValueTask WriteAsync(ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken = default)
    {
        while (!buffer.IsEmpty)
        {
            Task changed;
            lock (_gate)
            {
                if (_isOver || _closing)
                    throw new IOException("the console is closed");

                var taken = Math.Min(buffer.Length, Room - _out.Count);
                _out.Add(buffer.Span[..taken]);
                buffer = buffer[taken..];
                _signalled = true;
                Monitor.Pulse(_gate);
                changed = _changed.Task;
            }

            if (!buffer.IsEmpty)
                await changed.WaitAsync(cancellationToken).ConfigureAwait(false);
        }
    }

    /// <summary>Nothing to do: what was written is on its way.</summary>
    public override void Flush()
    {
    }

    public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

    public override void SetLength(long value) => throw new NotSupportedException();

    public override async ValueTask DisposeAsync()
    {
        Hangup();
        await _ended.Task.WaitAsync(CloseLimit).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        await base.DisposeAsync().ConfigureAwait(false);
    }

    protected override void Dispose(bool disposing)
    {
        if (disposing)
            Hangup();
        base.Dispose(disposing);
    }

    private void Hangup()
    {
        lock (_gate)
        {
            _closing = true;
            Monitor.Pulse(_gate);
        }
    }

    private void Run()
    {
        while (WaitForWork() && Receive() && Send())
        {
            int outgoing;
            lock (_gate)
                outgoing = _out.Count;
            // The event thread has switched all events off when it told us, or it would tell us again and again until we have read.
            if (Virt.StreamUpdateCallback(_stream, Readable | Broken | HungUp | (outgoing > 0 ? Writable : 0)) < 0)
                break;
        }

        Live.TryRemove(_id, out _);
        lock (_gate)
        {
            _isOver = true;
            Change();
        }

        _ = Virt.StreamRemoveCallback(_stream);
        _ = Virt.StreamAbort(_stream);
        _stream.Dispose();
        _session.Dispose();
        _onClosed();
        _ended.SetResult();
    }

    /// <summary>Sleeps until libvirt or a writer has something; false when the stream is to end.</summary>
    private bool WaitForWork()
    {
        lock (_gate)
        {
            while (!_signalled && !_closing)
                Monitor.Wait(_gate);
            _signalled = false;
            return !_closing;
        }
    }

    /// <summary>Takes what has come; false at its end.</summary>
    private unsafe bool Receive()
    {
        var buffer = stackalloc byte[Chunk];
        for (var i = 0; i < MaxChunks; i++)
        {
            var count = Virt.StreamReceive(_stream, buffer, Chunk);
            if (count == Virt.WouldBlock)
                return true;
            if (count <= 0)
                return false;

            lock (_gate)
            {
                _in.AddNewest(new ReadOnlySpan<byte>(buffer, count));
                Change();
            }
        }

        lock (_gate)
            _signalled = true;
        return true;
    }

    /// <summary>Sends what waits, as far as libvirt takes it; false where it takes nothing any more.</summary>
    private unsafe bool Send()
    {
        var buffer = stackalloc byte[Chunk];
        while (true)
        {
            int count;
            lock (_gate)
                count = _out.Peek(new Span<byte>(buffer, Chunk));
            if (count == 0)
                return true;

            var sent = Virt.StreamSend(_stream, buffer, (nuint)count);
            if (sent == Virt.WouldBlock)
                return true;
            if (sent < 0)
                return false;

            lock (_gate)
            {
                _out.Drop(sent);
                Change();
            }
        }
    }

    private void Change()
    {
        var before = _changed;
        _changed = NewSource();
        before.SetResult();
    }

    private static TaskCompletionSource NewSource() => new(TaskCreationOptions.RunContinuationsAsynchronously);

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    private static unsafe void OnEvent(nint stream, int events, void* opaque)
    {
        // No events until the console's thread has looked: it switches them on again.
        _ = Virt.StreamUpdateCallback(stream, 0);
        if (!Live.TryGetValue((nint)opaque, out var console))
            return;

        lock (console._gate)
        {
            console._signalled = true;
            Monitor.Pulse(console._gate);
        }
    }
}
