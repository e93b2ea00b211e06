using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using System.Security.Cryptography;
using AgentMetal.NodeAgent.Edge;
using AgentMetal.NodeAgent.Edge.Identity;
using AgentMetal.NodeAgent.Host.Files;
using AgentMetal.NodeAgent.Host.Transfer;
using AgentMetal.Runtime.Trust;
using Microsoft.Extensions.Logging.Abstractions;

namespace AgentMetal.NodeAgent.Tests.Host.Transfer;

/// <summary>Hosts of one fleet on the loopback address, with real files, certificates and connections.</summary>
internal sealed class TransferRig : IAsyncDisposable
{
    public const string Machine = "0f0e0d0c-0b0a-8908-8706-050403020100";

    private static readonly DateTimeOffset s_now = DateTimeOffset.UtcNow;
    private static readonly TimeSpan Deadline = TimeSpan.FromSeconds(30);

    private readonly string _parent = Directory.CreateTempSubdirectory("agentmetal-transfer-").FullName;
    private readonly RootAuthority _root = RootAuthority.Create("lab", s_now, RandomNumberGenerator.Fill);
    private readonly CoordinatorAuthority _authority;
    private readonly List<HandOvers> _open = [];

    public TransferRig()
    {
        using var key = P256.Generate();
        var der = _root.IssueCoordinator(new CoordinatorNames { Name = "control" }, key.ExportSubjectPublicKeyInfo(), s_now, RootAuthority.IntermediateLife, RandomNumberGenerator.Fill).Value;
        _authority = CoordinatorAuthority.Load(key.ExportPkcs8PrivateKeyPem(), der).Value;
        (Source, Target, Stranger) = (Host("source"), Host("target"), Host("stranger"));
    }

    public Node Source { get; }
    public Node Target { get; }
    public Node Stranger { get; }

    public sealed class Node(TransferRig rig, string name, NodeIdentity identity, int port)
    {
        public string Uid => identity.Peer.Uid;
        public int Port => port;
        public NodeAgent.Pipeline.PeerAddress Peer => new(0, Uid, name, "127.0.0.1", port);
        public string Root => Path.Combine(rig._parent, name);
        public string Machines => Path.Combine(Root, "instances", "default-hello");
        public TransferFiles Files { get; } = new(Path.Combine(rig._parent, name, "moves"), new FileReader(), new FileWriter()) { StaysHere = NodeAgent.Agents.Instance.InstanceLayout.StaysHere };
        public PeerTransport Transport { get; } = new(() => identity, () => s_now, () => new(IPAddress.Loopback, port), NullLogger<PeerTransport>.Instance);

        /// <summary>As a daemon that starts; the one before is gone.</summary>
        public HandOvers Start(IPeerTransport? through = null)
        {
            var started = new HandOvers(Files, through ?? Transport, TimeProvider.System, NullLogger<HandOvers>.Instance);
            rig._open.Add(started);
            return started;
        }

        public string Put(string file, byte[] content)
        {
            Directory.CreateDirectory(Machines);
            File.WriteAllBytes(Path.Combine(Machines, file), content);
            return Path.Combine(Machines, file);
        }
    }

    public Offer Offered(Node? to = null) => new() { Machine = Machine, Target = (to ?? Target).Uid, TargetName = "target", Directory = Source.Machines };

    public Receipt Taken(int? port = null) => new() { Machine = Machine, Source = Source.Uid, SourceName = "source", Address = "127.0.0.1", Port = port ?? Source.Port, Directory = Target.Machines };

    public static async Task UntilAsync(Func<bool> holds, Func<string> otherwise)
    {
        var since = Stopwatch.StartNew();
        while (!holds())
        {
            Assert.True(since.Elapsed < Deadline, otherwise());
            await Task.Delay(20, TestContext.Current.CancellationToken);
        }
    }

    public async ValueTask DisposeAsync()
    {
        foreach (var open in _open) await open.DisposeAsync();
        _root.Dispose();
        _authority.Dispose();
        Directory.Delete(_parent, recursive: true);
    }

    private Node Host(string name)
    {
        var key = P256.Generate();
        var request = SigningRequest.Parse(SigningRequest.Create(key, name)).Value;
        List<byte[]> chain = [_authority.IssueNode(request, NodeUid.From(request.Spki), name, s_now, TimeSpan.FromDays(1), RandomNumberGenerator.Fill).Value, _authority.CertificateDer];
        using var free = new Socket(SocketType.Stream, ProtocolType.Tcp);
        free.Bind(new IPEndPoint(IPAddress.Loopback, 0));
        Directory.CreateDirectory(Path.Combine(_parent, name));
        return new(this, name, NodeIdentity.FromParts(key, chain, PinnedRoot.FromTrustedBytes(_root.CertificateDer).Value).Value, ((IPEndPoint)free.LocalEndPoint!).Port);
    }
}

/// <summary>A connection that does to what comes what a test wants done.</summary>
internal sealed class Meddler(IPeerTransport inner) : IPeerTransport
{
    /// <summary>Bytes that pass before the connection breaks; null = it does not.</summary>
    public long? BreaksAfter { get; set; }

    /// <summary>The read of a source's answers after which one bit is another.</summary>
    public Action<Memory<byte>>? Read { get; set; }

    public async ValueTask<Stream> DialAsync(string uid, string address, int port, CancellationToken stop) => new Meddled(this, await inner.DialAsync(uid, address, port, stop));

    public Task ServeAsync(Func<string, Stream, CancellationToken, Task> serve, CancellationToken stop) => inner.ServeAsync(serve, stop);

    private sealed class Meddled(Meddler meddler, Stream stream) : Stream
    {
        public override bool CanRead => true;
        public override bool CanSeek => false;
        public override bool CanWrite => true;
        public override long Length => throw new NotSupportedException();
        public override long Position { get => throw new NotSupportedException(); set => throw new NotSupportedException(); }

        public override async ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
        {
            var count = await stream.ReadAsync(buffer, cancellationToken);
            if (meddler.BreaksAfter is { } left)
            {
                if (left <= 0) { meddler.BreaksAfter = null; throw new IOException("it broke"); }
                meddler.BreaksAfter = left - count;
            }
            meddler.Read?.Invoke(buffer[..count]);
            return count;
        }

        public override ValueTask WriteAsync(ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken = default) => stream.WriteAsync(buffer, cancellationToken);
        public override Task FlushAsync(CancellationToken cancellationToken) => stream.FlushAsync(cancellationToken);
        public override void Flush() => stream.Flush();
        public override int Read(byte[] buffer, int offset, int count) => throw new NotSupportedException();
        public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();
        public override void SetLength(long value) => throw new NotSupportedException();
        public override void Write(byte[] buffer, int offset, int count) => throw new NotSupportedException();

        protected override void Dispose(bool disposing)
        {
            if (disposing) stream.Dispose();
            base.Dispose(disposing);
        }
    }
}
