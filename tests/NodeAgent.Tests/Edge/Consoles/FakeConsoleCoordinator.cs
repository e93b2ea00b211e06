using System.Buffers.Binary;
using System.IO.Pipelines;
using System.Net;
using System.Threading.Channels;
using AgentMetal.Proto.V1;
using Google.Protobuf;

namespace AgentMetal.NodeAgent.Tests.Edge.Consoles;

/// <summary>The coordinator's end of a console stream, below gRPC: five bytes of prefix and a message (the gRPC wire protocol over HTTP/2). It may do with messages what it likes.</summary>
internal sealed class FakeConsoleCoordinator : HttpMessageHandler
{
    private readonly Channel<ConsoleMessage> _heard = Channel.CreateUnbounded<ConsoleMessage>();
    private readonly Pipe _down = new();

    /// <summary>Streams that were opened.</summary>
    public int Calls => Volatile.Read(ref _calls);

    private int _calls;

    public async Task SayAsync(ConsoleMessage message)
    {
        var body = message.ToByteArray();
        var frame = new byte[5 + body.Length];
        BinaryPrimitives.WriteInt32BigEndian(frame.AsSpan(1), body.Length);
        body.CopyTo(frame, 5);
        await _down.Writer.WriteAsync(frame, TestContext.Current.CancellationToken);
    }

    public void HangUp() => _down.Writer.Complete(new IOException("cut"));

    public async Task<ConsoleMessage> NextAsync() =>
        await _heard.Reader.ReadAsync(TestContext.Current.CancellationToken).AsTask().WaitAsync(TimeSpan.FromSeconds(20), TestContext.Current.CancellationToken);

    protected override async Task<HttpResponseMessage> SendAsync(HttpRequestMessage request, CancellationToken cancellationToken)
    {
        // Two readers of one pipe would end each other's streams: only the first call is spoken to.
        var down = Interlocked.Increment(ref _calls) == 1 ? _down : new Pipe();
        var up = new Pipe();
        _ = request.Content!.CopyToAsync(up.Writer.AsStream(), CancellationToken.None);
        _ = ListenAsync(up.Reader.AsStream());
        await Task.Yield();
        var response = new HttpResponseMessage(HttpStatusCode.OK) { Version = HttpVersion.Version20, RequestMessage = request, Content = new StreamContent(down.Reader.AsStream()) };
        response.Content.Headers.ContentType = new("application/grpc");
        return response;
    }

    private async Task ListenAsync(System.IO.Stream stream)
    {
        var prefix = new byte[5];
        try
        {
            while (true)
            {
                await stream.ReadExactlyAsync(prefix);
                var body = new byte[BinaryPrimitives.ReadInt32BigEndian(prefix.AsSpan(1))];
                await stream.ReadExactlyAsync(body);
                _heard.Writer.TryWrite(ConsoleMessage.Parser.ParseFrom(body));
            }
        }
        catch (Exception e) when (e is IOException or OperationCanceledException) { _heard.Writer.TryComplete(); }
    }
}
