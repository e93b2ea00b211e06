using System.Net;
using System.Net.Sockets;
using System.Text;
using AgentMetal.NodeAgent.Agents.Redis;
using CsCheck;

namespace AgentMetal.NodeAgent.Tests.Agents.Redis;

/// <summary>The client against a peer that says what the test wants.</summary>
public sealed class RespClientTests
{
    private static readonly TimeSpan Second = TimeSpan.FromSeconds(5);
    private static CancellationToken Ct => TestContext.Current.CancellationToken;

    [Theory]
    [InlineData("+OK\r\n", "Simple", "OK")]
    [InlineData("$5\r\nhello\r\n", "Bulk", "hello")]
    [InlineData("$0\r\n\r\n", "Bulk", "")]
    [InlineData("$-1\r\n", "Null", "")]
    [InlineData(":42\r\n", "Integer", "42")]
    [InlineData("-ERR no\r\n", "Error", "ERR no")]
    public async Task Call_EachType_IsRead(string wire, string kind, string text)
    {
        var reply = await AskAsync(RespCommand.Of("X"), wire);
        Assert.Equal((kind, text), (reply.Kind.ToString(), reply.Text));
    }

    [Fact]
    public async Task Call_NestedArray_IsRead()
    {
        var reply = await AskAsync(RespCommand.Of("X"), "*2\r\n*1\r\n:7\r\n$1\r\na\r\n");
        Assert.Equal(7, reply.Items[0].Items[0].Number);
        Assert.Equal("a", reply.Items[1].Text);
    }

    [Theory]
    [InlineData("$99999999\r\n")]
    [InlineData("*99999999\r\n")]
    [InlineData("*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n:1\r\n")]
    [InlineData("$x\r\n")]
    [InlineData("HTTP/1.1 400 Bad Request\r\n")]
    [InlineData("$3\r\nabcdef\r\n")]
    public async Task Call_TooLargeOrNotRedis_IsMalformed(string wire) =>
        Assert.Equal(RespFailure.Malformed, (await Assert.ThrowsAsync<RespException>(() => AskAsync(RespCommand.Of("X"), wire))).Failure);

    [Fact]
    public async Task Call_EndlessLine_IsCutOff() =>
        Assert.Equal(RespFailure.Malformed, (await Assert.ThrowsAsync<RespException>(() => AskAsync(RespCommand.Of("X"), "+" + new string('a', 100_000)))).Failure);

    [Fact]
    public async Task Call_NoAnswer_IsMuteWithinTheDeadline() =>
        Assert.Equal(RespFailure.Mute, (await Assert.ThrowsAsync<RespException>(() => AskAsync(RespCommand.Of("X"), "+half", TimeSpan.FromMilliseconds(100)))).Failure);

    [Fact]
    public async Task Call_SensitiveCommandRefused_DoesNotQuoteTheSecret()
    {
        const string Wire = "-ERR unknown command 'CONFIG', with args beginning with: 'SET' 'requirepass' 'hunter2'\r\n";
        Assert.Equal("ERR", (await AskAsync(RespCommand.Secret("CONFIG", "SET", "requirepass", "hunter2"), Wire)).Text);
        Assert.Contains("hunter2", (await AskAsync(RespCommand.Of("CONFIG", "SET", "requirepass", "hunter2"), Wire)).Text, StringComparison.Ordinal);
        Assert.DoesNotContain("hunter2", RespCommand.Secret("AUTH", "hunter2").ToString(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Limit_TimeIsOver_CountsAlsoForWhatCompletedAtOnce()
    {
        using var over = new RespLimit(TimeSpan.Zero, Ct);
        await Assert.ThrowsAnyAsync<OperationCanceledException>(async () => await over.Guard(new ValueTask<int>(1))); // One byte of a reply that never ends.
        using var running = new RespLimit(Second, Ct);
        Assert.Equal(1, await running.Guard(new ValueTask<int>(1)));
        await Assert.ThrowsAnyAsync<OperationCanceledException>(async () => await running.Guard(new ValueTask(Task.Delay(Timeout.Infinite, running.Token))));
    }

    [Fact]
    public async Task Connect_NobodyListens_IsRefused()
    {
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        var port = ((IPEndPoint)listener.LocalEndpoint).Port;
        listener.Stop();
        Assert.Equal(RespFailure.Refused, (await Assert.ThrowsAsync<RespException>(() => RespClient.ConnectAsync(new("127.0.0.1", port), Second, Ct).AsTask())).Failure);
        Assert.Equal(RespFailure.Refused, (await Assert.ThrowsAsync<RespException>(() => RespClient.ConnectAsync(RespEndpoint.Unix("/nonexistent/redis.sock"), Second, Ct).AsTask())).Failure);
    }

    [Fact]
    public void Dump_AnyBytes_AreReadWithoutThrowing() => Gen.Byte.Array[0, 200].Sample(bytes =>
    {
        RedisDataFiles.IsEmptyDump(bytes);
        RedisDataFiles.IsEmptyDump([.. "REDIS0010"u8, .. bytes]);
    }, iter: 5000);

    private static async Task<RespReply> AskAsync(RespCommand command, string wire, TimeSpan? deadline = null)
    {
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        var serving = Task.Run(async () =>
        {
            using var peer = await listener.AcceptSocketAsync(Ct);
            var buffer = new byte[1024];
            await peer.ReceiveAsync(buffer, Ct);
            // One byte at a time, so that every place to be cut in is tried.
            foreach (var b in Encoding.UTF8.GetBytes(wire)[..Math.Min(wire.Length, 200)]) await peer.SendAsync(new[] { b }, Ct);
            if (wire.Length > 200) await peer.SendAsync(Encoding.UTF8.GetBytes(wire).AsMemory(200), Ct);
            await Task.Delay(deadline is null ? 0 : 1000, Ct);
            await peer.ReceiveAsync(buffer, Ct);
        }, Ct);
        using var client = await RespClient.ConnectAsync(new("127.0.0.1", ((IPEndPoint)listener.LocalEndpoint).Port), Second, Ct);
        var reply = await client.CallAsync(command, deadline ?? Second, Ct);
        client.Dispose();
        await serving;
        return reply;
    }
}
