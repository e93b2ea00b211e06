using System.Text;
using System.Threading.Channels;
using AgentMetal.NodeAgent.Edge.Consoles;
using AgentMetal.NodeAgent.Pipeline;
using AgentMetal.Runtime.Consoles;

namespace AgentMetal.NodeAgent.Tests.Edge.Consoles;

/// <summary>A serial port that says what a test lets it say and remembers what was typed.</summary>
internal sealed class FakeGuest : Stream
{
    private readonly Channel<byte[]> _says = Channel.CreateUnbounded<byte[]>();
    private readonly Channel<string> _typed = Channel.CreateUnbounded<string>();

    private readonly TaskCompletionSource _ended = new(TaskCreationOptions.RunContinuationsAsynchronously);

    public bool Disposed { get; private set; }

    /// <summary>When its reader has been told that it is over.</summary>
    public Task Ended => _ended.Task;

    /// <summary>How often it was read from.</summary>
    public int Reads { get; private set; }

    public override bool CanRead => true;
    public override bool CanSeek => false;
    public override bool CanWrite => true;
    public override long Length => throw new NotSupportedException();
    public override long Position { get => throw new NotSupportedException(); set => throw new NotSupportedException(); }

    public void Say(string text) => _says.Writer.TryWrite(Encoding.UTF8.GetBytes(text));

    public void Stop() => _says.Writer.TryComplete();

    public async Task<string> TypedAsync() => await _typed.Reader.ReadAsync(TestContext.Current.CancellationToken).AsTask().WaitAsync(TimeSpan.FromSeconds(20), TestContext.Current.CancellationToken);

    public bool Heard(out string? text) => _typed.Reader.TryRead(out text);

    public override async ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
    {
        if (!await _says.Reader.WaitToReadAsync(cancellationToken) || !_says.Reader.TryRead(out var said))
        {
            _ended.TrySetResult();
            return 0;
        }
        said.CopyTo(buffer);
        Reads++;
        return said.Length;
    }

    public override ValueTask WriteAsync(ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken = default)
    {
        if (_says.Reader.Completion.IsCompleted) throw new IOException("the console is closed");
        _typed.Writer.TryWrite(Encoding.UTF8.GetString(buffer.Span));
        return default;
    }

    public override int Read(byte[] buffer, int offset, int count) => throw new NotSupportedException();
    public override void Write(byte[] buffer, int offset, int count) => throw new NotSupportedException();
    public override void Flush() { }
    public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();
    public override void SetLength(long value) => throw new NotSupportedException();

    protected override void Dispose(bool disposing)
    {
        Disposed = true;
        Stop();
        base.Dispose(disposing);
    }
}

/// <summary>Consoles as libvirt has them: one at a time of each machine, and by force the one before ends.</summary>
internal sealed class FakeConsoles : IMemberConsole
{
    public string Kind => "Instance";
    public OpenedConsole? Refusal { get; set; }
    public string Log { get; set; } = "";
    public List<FakeGuest> Guests { get; } = [];
    public bool LastForce { get; private set; }

    public static MemberInput Input(string name = "hello") => new()
    {
        Key = $"n0/Instance/uid-{name}/0",
        ResourceKey = "Instance default/" + name,
        Project = "default",
        Name = name,
        ResourceUid = "uid-" + name,
        Ordinal = 0,
        Generation = 1,
        Spec = "{}"u8.ToArray(),
        NodeUid = "n0",
    };

    public async ValueTask<OpenedConsole> OpenAsync(MemberInput input, bool force, CancellationToken stop)
    {
        LastForce = force;
        if (Refusal is not null) return Refusal;
        var before = Guests.LastOrDefault();
        if (before is { Disposed: false } && !force) return OpenedConsole.Not(ConsoleEnd.Busy, "the console of instance/hello is open already", "--force");
        Guests.Add(new());
        before?.Stop();
        // As with libvirt: the one before has ended, and has been seen to end, before this one is open.
        if (before is { Disposed: false }) await before.Ended.WaitAsync(TimeSpan.FromSeconds(20), stop);
        return new(Guests[^1], null);
    }

    public ReadOnlyMemory<byte> Recent(MemberInput input, int lines) => Encoding.UTF8.GetBytes(string.Join('\n', Log.Split('\n').TakeLast(lines)));
}

/// <summary>The other side of a session, in memory.</summary>
internal sealed class FakePeer : IConsolePeer
{
    private readonly Channel<ConsoleFrame?> _coming = Channel.CreateUnbounded<ConsoleFrame?>();
    private readonly Channel<ConsoleFrame> _going = Channel.CreateUnbounded<ConsoleFrame>();

    /// <summary>Never takes what is sent.</summary>
    public bool Stuck { get; set; }

    public FakePeer(int? lines = 20)
    {
        if (lines is { } n) Send(ConsoleFrame.Begin(n));
    }

    public void Send(ConsoleFrame frame) => _coming.Writer.TryWrite(frame);

    public void Type(string text) => Send(ConsoleFrame.Data(Encoding.UTF8.GetBytes(text)));

    public void Leave() => Send(ConsoleFrame.End(new(ConsoleEnd.Left, "", "")));

    public void Cut() => _coming.Writer.TryWrite(null);

    public async Task<ConsoleFrame> NextAsync() => await _going.Reader.ReadAsync(TestContext.Current.CancellationToken).AsTask().WaitAsync(TimeSpan.FromSeconds(20), TestContext.Current.CancellationToken);

    public async Task<string> SaidAsync()
    {
        var frame = await NextAsync();
        Assert.Equal(ConsoleFrameKind.Data, frame.Kind);
        return Encoding.UTF8.GetString(frame.Payload.Span);
    }

    /// <summary>The session did not wait for it to go.</summary>
    public bool BrokenOff { get; private set; }

    public async ValueTask<ConsoleFrame?> ReceiveAsync(CancellationToken stop)
    {
        try { return await _coming.Reader.ReadAsync(stop); }
        catch (OperationCanceledException)
        {
            BrokenOff = true;
            throw;
        }
    }

    public async ValueTask SendAsync(ConsoleFrame frame, CancellationToken stop)
    {
        if (Stuck) await Task.Delay(Timeout.InfiniteTimeSpan, stop);
        _going.Writer.TryWrite(frame with { Payload = frame.Payload.ToArray() });
    }
}
