using AgentMetal.Cli.Describe;
using AgentMetal.Cli.Nodes;
using AgentMetal.Cli.Tests.Support;
using AgentMetal.Proto.V1;
using AgentMetal.Runtime.Trust;
using Google.Protobuf;
using Xunit;
using DigestSignature = AgentMetal.Runtime.Trust.DigestSignature;

namespace AgentMetal.Cli.Tests.Apply;

public sealed class DigestSigningTests
{
    private const string Digest = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

    private const string Image = $"""
        apiVersion: agentmetal.io/v1
        kind: Image
        metadata:
          name: debian-12
        spec:
          url: https://images.example/debian.qcow2
          sha256: {Digest}
          format: qcow2
        """;

    private const string Redis = """
        apiVersion: agentmetal.io/v1
        kind: Redis
        metadata:
          name: sessions
        spec: {}
        """;

    [Theory]
    [InlineData("apply", "--no-wait")]
    [InlineData("plan", "--detailed-exitcode")]
    public async Task Command_WithAnApproversKey_SignsWhatHostsVerifyAndSaysSoInOneLine(string command, string flag)
    {
        await using var fleet = await FleetAsync(Image);
        var (code, sent, error) = await RunAsync(fleet, command, flag);
        Assert.True(code == 0, error);
        var d = Assert.Single(Assert.Single(sent!.Resources).Digests);
        var signature = new DigestSignature { Purpose = d.Purpose, Sha256 = d.Sha256, IssuedUnixMs = d.IssuedUnixMs, KeyId = d.KeyId, Signature = d.Signature.ToByteArray() };
        Assert.True(DigestRule.IsTrusted("image", Digest, [signature], Approvers(fleet), DateTimeOffset.UtcNow).IsTrusted);
        Assert.Equal("Signed as alice: image aaaaaaaaaaaa… of Image default/debian-12\n", error);
    }

    [Fact]
    public async Task Apply_KeyIsNotAnApprovers_GoesOnUnsignedAndNamesWhatWaits()
    {
        await using var fleet = await FleetAsync(Image);
        using var bob = P256.Generate();
        Replace(fleet, set => set with { Version = 2, Keys = [new ApproverKey { Name = "bob", Spki = bob.ExportSubjectPublicKeyInfo() }] });
        var (code, sent, error) = await RunAsync(fleet, "apply", "--no-wait");
        Assert.Equal(0, code);
        Assert.Empty(Assert.Single(sent!.Resources).Digests);
        Assert.Equal("warning: not signed: image aaaaaaaaaaaa… of Image default/debian-12, because your key is not in approver set 2 of this home; hosts wait with it for 1 of: bob, who applies the same files\n", error);
    }

    [Theory]
    [InlineData("apply")]
    [InlineData("plan")]
    public async Task Command_ToldNotTo_SignsNothingAndNamesWhatWaits(string command)
    {
        await using var fleet = await FleetAsync(Image);
        var (code, sent, error) = await RunAsync(fleet, command, "--no-sign", "--no-wait");
        Assert.True(code == 0, error);
        Assert.Empty(Assert.Single(sent!.Resources).Digests);
        Assert.Contains("not signed: image aaaaaaaaaaaa… of Image default/debian-12, because --no-sign was given", error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Apply_SetAsksForTwo_SaysThatOthersMustToo()
    {
        await using var fleet = await FleetAsync(Image);
        using var bob = P256.Generate();
        Replace(fleet, set => set with { Version = 2, Threshold = 2, Keys = [.. set.Keys, new ApproverKey { Name = "bob", Spki = bob.ExportSubjectPublicKeyInfo() }] });
        var (_, sent, error) = await RunAsync(fleet, "apply", "--no-wait");
        Assert.Single(Assert.Single(sent!.Resources).Digests);
        Assert.Contains("; hosts ask for 2 of: ", error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Apply_NothingThatExecutes_SaysNothing()
    {
        await using var fleet = await FleetAsync(Redis);
        var (code, sent, error) = await RunAsync(fleet, "apply", "--no-wait");
        Assert.Equal((0, ""), (code, error));
        Assert.Empty(Assert.Single(sent!.Resources).Digests);
    }

    [Fact]
    public void Describe_SaysWhoSignedAndThatNobodyDid()
    {
        var image = new Resource { Kind = "Image", Metadata = new() { Project = "default", Name = "debian-12" }, Spec = ByteString.CopyFromUtf8($$"""{"url":"https://images.example/a","sha256":"{{Digest}}","format":"raw"}""") };
        var paper = new Paper();
        new DescribeView(paper.Screen).Write(image, [], []);
        Assert.Contains("Signed     image aaaaaaaaaaaa… by nobody: hosts wait with it", paper.Out, StringComparison.Ordinal);
        image.Digests.Add(new Proto.V1.DigestSignature { Purpose = "image", Sha256 = Digest, KeyId = new('1', 64) });
        image.Digests.Add(new Proto.V1.DigestSignature { Purpose = "image", Sha256 = Digest, KeyId = new('2', 64) });
        paper = new Paper();
        new DescribeView(paper.Screen, id => id[0] == '1' ? "alice" : null).Write(image, [], []);
        Assert.Contains("Signed     image aaaaaaaaaaaa… by alice, key 22222222\n", paper.Out, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(3584L << 20, 1536L << 20, 2000, 150, "memory 1.5Gi of 3.5Gi, cores 0.15 of 2")]
    [InlineData(768L << 20, 0, 1000, 0, "memory 0 of 768Mi, cores 0 of 1")]
    [InlineData(0, 0, 0, 0, "nothing can be reserved: the host has not told its memory and cores")]
    public void Reserved_IsWhatIsLeft(long memory, long reserved, int cpu, int cpuReserved, string text) =>
        Assert.Equal(text, NodesCommand.Reserved(new Node { MemoryAllocatable = memory, MemoryReserved = reserved, CpuMillisAllocatable = cpu, CpuMillisReserved = cpuReserved }));

    private static async Task<FakeCoordinator> FleetAsync(string yaml)
    {
        var fleet = await FakeCoordinator.StartAsync();
        await File.WriteAllTextAsync(fleet.In("file.yaml"), yaml, TestContext.Current.CancellationToken);
        return fleet;
    }

    private static async Task<(int Code, ApplyRequest? Sent, string Error)> RunAsync(FakeCoordinator fleet, string command, params string[] flags)
    {
        ApplyRequest? sent = null;
        fleet.Script.OnApply = r => { sent = r; return new() { Results = { r.Resources.Select(x => new ApplyResult { Action = "created", Resource = x }) } }; };
        fleet.Script.OnPlan = r => { sent = r; return new() { Hash = "00112233" }; };
        var (code, _, error) = await fleet.RunAsync([command, "-f", fleet.In("file.yaml"), .. flags.Where(f => command == "apply" || f != "--no-wait")]);
        return (code, sent, error);
    }

    private static ApproverSet Approvers(FakeCoordinator fleet)
    {
        using var root = PinnedRoot.FromTrustedBytes(InitBundle.ReadCertificate(Read(fleet, InitBundle.RootCertificate), "root").Value).Value;
        return ApproverSet.Verify(File.ReadAllBytes(Path.Combine(fleet.Home, InitBundle.ApproverSetFile)), root.Certificate, DateTimeOffset.UtcNow, 0).Value;
    }

    private static void Replace(FakeCoordinator fleet, Func<ApproverSet, ApproverSet> change)
    {
        using var root = RootAuthority.Load(Read(fleet, InitBundle.RootKey), null, InitBundle.ReadCertificate(Read(fleet, InitBundle.RootCertificate), "root").Value).Value;
        File.WriteAllBytes(Path.Combine(fleet.Home, InitBundle.ApproverSetFile), root.Sign(change(Approvers(fleet))));
    }

    private static string Read(FakeCoordinator fleet, string name) => File.ReadAllText(Path.Combine(fleet.Home, name));
}
