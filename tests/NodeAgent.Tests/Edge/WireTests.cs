using System.Security.Cryptography;
using AgentMetal.NodeAgent.Edge;
using AgentMetal.NodeAgent.Pipeline;
using AgentMetal.Proto.V1;
using AgentMetal.Runtime.Approval;
using AgentMetal.Runtime.Store;
using AgentMetal.Runtime.Trust;
using Google.Protobuf;
using DigestSignature = AgentMetal.Proto.V1.DigestSignature;

namespace AgentMetal.NodeAgent.Tests.Edge;

public sealed class WireTests : IDisposable
{
    private static readonly DateTimeOffset s_now = new(2026, 11, 23, 12, 0, 0, TimeSpan.Zero);
    private static readonly string s_node = new('1', 32);
    private static readonly string s_digest = new('a', 64);

    private readonly ECDsa _alice = P256.Generate();

    public void Dispose() => _alice.Dispose();

    [Theory]
    [InlineData(0, true)]
    [InlineData(6379, true)]
    [InlineData(65535, true)]
    [InlineData(-1, false)]
    [InlineData(65536, false)]
    public void Read_PeerPort_IsFromZeroTo65535(int port, bool good)
    {
        var assignment = Assignment();
        assignment.Peers[0].Port = port;
        var (input, refusal) = Wire.Read(assignment, s_node);
        Assert.Equal(good, input is not null);
        Assert.Equal(good, refusal is null);
    }

    [Theory]
    [InlineData("", "10.0.0.2", 7444, true)]
    [InlineData("", "10.0.0.2", 0, false)]
    [InlineData("", "10.0.0.2", 65536, false)]
    [InlineData("", "edge-2", 7444, false)]
    [InlineData("self", "10.0.0.2", 7444, false)]
    [InlineData("../x", "10.0.0.2", 7444, false)]
    public void Read_WhereItMoves_IsAnotherHostThatCanBeReached(string uid, string address, int port, bool good)
    {
        var peer = new Peer { NodeUid = uid == "self" ? s_node : uid.Length > 0 ? uid : new string('b', 32), NodeName = "edge-2", Address = address, Port = port };
        foreach (var from in new[] { true, false })
        {
            var assignment = Assignment();
            if (from) assignment.MoveFrom = peer;
            else assignment.MoveTo = peer;
            var (input, _) = Wire.Read(assignment, s_node);
            Assert.Equal(good, input is not null);
            if (good) Assert.Equal(peer.NodeUid, (from ? input!.MoveFrom : input!.MoveTo)!.NodeUid);
        }
    }

    [Theory]
    [InlineData(0, "10.0.0.1")]
    [InlineData(6379, "10.0.0.1:6379")]
    public void ToReport_MemberWithoutAPort_HasItsHostsAddress(int port, string address)
    {
        var assignment = Assignment();
        assignment.Peers[0].Port = port;
        var view = new MemberView { Input = Wire.Read(assignment, s_node).Input!, Phase = "Converged" };
        Assert.Equal(address, Wire.ToReport(view, "edge-1").Status.Address);
    }

    [Fact]
    public void Read_ReferencesAndDigests_ArriveWhole()
    {
        var assignment = Assignment();
        assignment.References["Image/debian-12"] = ByteString.CopyFromUtf8("""{"format":"qcow2"}""");
        assignment.Digests.Add(Signed());
        var input = Wire.Read(Proto.V1.Assignment.Parser.ParseFrom(assignment.ToByteArray()), s_node).Input!;
        Assert.Equal("""{"format":"qcow2"}""", System.Text.Encoding.UTF8.GetString(input.References["Image/debian-12"].Span));
        Assert.False(input.IsTrusted("image", s_digest).IsTrusted);
        var judged = input with { DigestVerifier = new DigestVerifier(Set, new Clock()) };
        Assert.True(judged.IsTrusted("image", s_digest).IsTrusted);
        Assert.False(judged.IsTrusted("image", new('b', 64)).IsTrusted);
    }

    [Theory]
    [InlineData("Image")]
    [InlineData("Image/../x")]
    [InlineData("Image/a/b")]
    [InlineData("/a")]
    [InlineData("Image/Upper")]
    [InlineData("Im age/a")]
    public void Read_ReferenceWithAnotherName_IsRefused(string key)
    {
        var assignment = Assignment();
        assignment.References[key] = ByteString.Empty;
        Assert.Contains("a reference is not named", Wire.Read(assignment, s_node).Refusal, StringComparison.Ordinal);
    }

    [Fact]
    public void Read_MoreThanTheBounds_IsRefused()
    {
        var many = Assignment();
        for (var i = 0; i <= Wire.MaxReferences; i++) many.References[$"Image/i{i}"] = ByteString.Empty;
        Assert.Contains("references, at most", Wire.Read(many, s_node).Refusal, StringComparison.Ordinal);
        var signed = Assignment();
        signed.Digests.AddRange(Enumerable.Repeat(Signed(), Wire.MaxDigests + 1));
        Assert.Contains("signatures, at most", Wire.Read(signed, s_node).Refusal, StringComparison.Ordinal);
    }

    [Fact]
    public void Read_SignatureWithoutTheForm_IsLeftOutAndTheOthersCount()
    {
        var assignment = Assignment();
        var bad = Signed();
        bad.Sha256 = "not a digest";
        assignment.Digests.Add(bad);
        assignment.Digests.Add(Signed());
        Assert.Single(Wire.Read(assignment, s_node).Input!.Digests);
    }

    [Fact]
    public async Task Save_AssignmentWithSignatures_IsJudgedAloneAfterAReboot()
    {
        var folder = Directory.CreateTempSubdirectory("agentmetal-wire-");
        var stop = TestContext.Current.CancellationToken;
        try
        {
            var assignment = Assignment();
            assignment.References["Image/debian-12"] = ByteString.CopyFromUtf8("{}");
            assignment.Digests.Add(Signed());
            await using (var store = Open()) await store.SaveAsync([assignment], [], new("s", 1), AgentMetal.Runtime.Store.StoreMark.None, stop);
            await using var again = Open();
            var input = Wire.Read(Assert.Single(await again.AssignmentsAsync(stop)), s_node).Input! with { DigestVerifier = new DigestVerifier(Set, new Clock()) };
            Assert.True(input.IsTrusted("image", s_digest).IsTrusted);
            Assert.Equal(["Image/debian-12"], input.References.Keys);
        }
        finally { folder.Delete(recursive: true); }

        LocalStore Open() => Assert.IsType<LocalOpening.Opened>(LocalStore.Open(Path.Combine(folder.FullName, "local.db"), s_node)).Store;
    }

    [Fact]
    public void GoalHash_ReferenceChanges_IsAnotherAndSignaturesAreNot()
    {
        var assignment = Assignment();
        var plain = Hash(assignment);
        assignment.Digests.Add(Signed());
        Assert.Equal(plain, Hash(assignment));
        assignment.References["Image/debian-12"] = ByteString.CopyFromUtf8("{}");
        var referring = Hash(assignment);
        Assert.NotEqual(plain, referring);
        assignment.References["Image/debian-12"] = ByteString.CopyFromUtf8("""{"a":1}""");
        Assert.NotEqual(referring, Hash(assignment));
    }

    private static string Hash(Assignment assignment) => MemberRunner<string, string>.GoalHash(Wire.Read(assignment, s_node).Input!);

    private DigestSignature Signed()
    {
        var signature = Runtime.Trust.DigestSignature.Sign(_alice, "image", s_digest, s_now);
        return new() { Purpose = signature.Purpose, Sha256 = signature.Sha256, IssuedUnixMs = signature.IssuedUnixMs, KeyId = signature.KeyId, Signature = ByteString.CopyFrom(signature.Signature) };
    }

    private ApproverSet Set() => new()
    {
        Version = 1,
        NotAfterUnixMs = s_now.AddDays(1).ToUnixTimeMilliseconds(),
        Threshold = 1,
        Keys = [new ApproverKey { Name = "alice", Spki = _alice.ExportSubjectPublicKeyInfo() }],
    };

    private static Assignment Assignment()
    {
        var assignment = new Assignment { Key = $"{s_node}/Instance/u/0", Kind = "Instance", Project = "default", Name = "web", ResourceUid = "u", Generation = 1 };
        assignment.Peers.Add(new Peer { Ordinal = 0, NodeUid = s_node, NodeName = "edge-1", Address = "10.0.0.1" });
        return assignment;
    }

    private sealed class Clock : TimeProvider
    {
        public override DateTimeOffset GetUtcNow() => s_now;
    }
}
