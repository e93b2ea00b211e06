using System.Security.Cryptography;
using AgentMetal.Coordinator.Tests.Kit;
using AgentMetal.Proto.V1;
using AgentMetal.Runtime.Trust;
using Google.Protobuf;
using Grpc.Core;
using Xunit;
using DigestSignature = AgentMetal.Proto.V1.DigestSignature;
using Metadata = AgentMetal.Proto.V1.Metadata;

namespace AgentMetal.Coordinator.Tests.Api;

/// <summary>Kinds without ports, without members, with references, reservations and signatures, through the whole coordinator.</summary>
public sealed class InstanceTests : IDisposable
{
    private static readonly string s_digest = new('a', 64);

    private readonly ECDsa _alice = P256.Generate();
    private readonly ECDsa _bob = P256.Generate();

    public void Dispose()
    {
        _alice.Dispose();
        _bob.Dispose();
    }

    [Fact]
    public async Task Apply_Image_IsReadyAtOnceWithoutAHostAndGoesAtOnce()
    {
        await using var kit = await CoordinatorKit.StartAsync();
        await kit.ApplyAsync(Image());
        var image = await kit.UntilAsync("debian-12", r => CoordinatorKit.Is(r, "Ready", "True"));
        Assert.Equal("not used", CoordinatorKit.Condition(image, "Ready").Message);
        Assert.Equal(["Ready"], image!.Status.Conditions.Select(c => c.Type));
        Assert.Equal(1, image.Status.ObservedGeneration);
        await kit.Operator.DeleteAsync(Named("Image", "debian-12"), cancellationToken: CoordinatorKit.Stop);
        await kit.UntilAsync("debian-12", r => r is null);
    }

    [Fact]
    public async Task Apply_InstanceBeforeItsImage_WaitsSaysSoAndGoesOnByItself()
    {
        await using var kit = await CoordinatorKit.StartAsync();
        await using var host = await AttachAsync(kit);
        await kit.ApplyAsync(Instance());
        var waiting = await kit.UntilAsync("web", r => CoordinatorKit.Is(r, "Placed", "False") && CoordinatorKit.Condition(r, "Placed").Reason == "WaitsForReference");
        Assert.Equal("spec.disks[0].image: Image default/debian-12 does not exist: apply it first", CoordinatorKit.Condition(waiting, "Ready").Message);
        Assert.Equal("agentmetal get image", CoordinatorKit.Condition(waiting, "Ready").NextCommand);
        Assert.Empty(host.Assignments);

        await kit.ApplyAsync(Image());
        var ready = await kit.UntilAsync("web", r => CoordinatorKit.Is(r, "Ready", "True"));
        var assignment = Assert.Single(host.Assignments);
        Assert.Contains(s_digest, assignment.References["Image/debian-12"].ToStringUtf8(), StringComparison.Ordinal);
        Assert.Equal(0, Assert.Single(assignment.Peers).Port);
        Assert.Equal(Assert.Single(assignment.Peers).Address, Assert.Single(ready!.Status.Members).Address);
        var image = await kit.UntilAsync("debian-12", r => CoordinatorKit.Condition(r, "Ready").Message != "not used");
        Assert.Equal("used by Instance default/web", CoordinatorKit.Condition(image, "Ready").Message);
    }

    [Fact]
    public async Task Plan_ImageOfTheSameRequest_CountsInAnyOrder()
    {
        await using var kit = await CoordinatorKit.StartAsync();
        await using var host = await AttachAsync(kit);
        Assignment? asked = null;
        host.Plans = a => { asked = a; return new() { Outcome = "Ready", Hash = "h" }; };
        var plan = await kit.Operator.PlanAsync(Request(Instance(), Image()), cancellationToken: CoordinatorKit.Stop);
        Assert.Equal(["place on edge-1"], plan.Resources.SelectMany(r => r.FleetSteps).Select(s => s.Text));
        Assert.Contains(s_digest, asked!.References["Image/debian-12"].ToStringUtf8(), StringComparison.Ordinal);

        await kit.ApplyAsync(plan.Hash, [Instance(), Image()]);
        await kit.UntilAsync("web", r => CoordinatorKit.Is(r, "Ready", "True"));
        Assert.Equal(asked.References, Assert.Single(host.Assignments).References);
    }

    [Fact]
    public async Task Plan_ImageIsMissing_IsRefusedAtTheField()
    {
        await using var kit = await CoordinatorKit.StartAsync();
        var refused = await Assert.ThrowsAsync<RpcException>(async () => await kit.Operator.PlanAsync(Request(Instance()), cancellationToken: CoordinatorKit.Stop));
        Assert.StartsWith("spec.disks[0].image: Image default/debian-12 does not exist", refused.Status.Detail, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Plan_ImageThatOthersUse_ShowsWhatTheyDo()
    {
        await using var kit = await CoordinatorKit.StartAsync();
        await using var host = await AttachAsync(kit);
        host.Plans = _ => new() { Outcome = "Ready", Hash = "h" };
        await kit.ApplyAsync(Image(), Instance());
        await kit.UntilAsync("web", r => CoordinatorKit.Is(r, "Ready", "True"));
        var plan = await kit.Operator.PlanAsync(Request(Image(url: "https://elsewhere.example/debian.qcow2")), cancellationToken: CoordinatorKit.Stop);
        var instance = plan.Resources.Single(r => r.Resource.Kind == "Instance");
        Assert.Equal("unchanged", instance.Action);
        Assert.Equal("update-assignment", Assert.Single(instance.FleetSteps).Tool);
        Assert.Equal("edge-1", Assert.Single(instance.Members).NodeName);
    }

    [Fact]
    public async Task Apply_ImageChanges_ItsUsersAreToldAtTheirGeneration()
    {
        await using var kit = await CoordinatorKit.StartAsync();
        await using var host = await AttachAsync(kit);
        await kit.ApplyAsync(Image(), Instance());
        await kit.UntilAsync("web", r => CoordinatorKit.Is(r, "Ready", "True"));
        await kit.ApplyAsync(Image(url: "https://elsewhere.example/debian.qcow2"));
        await host.UntilAsync(s => s.Assignments.Any(a => a.References["Image/debian-12"].ToStringUtf8().Contains("elsewhere", StringComparison.Ordinal)));
        Assert.Equal(1, Assert.Single(host.Assignments).Generation);
    }

    [Fact]
    public async Task Delete_ImageThatIsUsed_IsRefusedNamingTheUsersAlsoAfterARestart()
    {
        await using var kit = await CoordinatorKit.StartAsync();
        await kit.ApplyAsync(Instance("db"), Image(), Instance());
        await RefusedAsync();
        await kit.RestartAsync();
        await RefusedAsync();
        // One that names another from now on uses it no more.
        await kit.ApplyAsync(Instance("db", image: "debian-13"));
        var left = await Assert.ThrowsAsync<RpcException>(async () => await kit.Operator.DeleteAsync(Named("Image", "debian-12"), cancellationToken: CoordinatorKit.Stop));
        Assert.StartsWith("Image default/debian-12 is used by Instance default/web;", left.Status.Detail, StringComparison.Ordinal);
        foreach (var name in new[] { "db", "web" }) await kit.Operator.DeleteAsync(Named("Instance", name), cancellationToken: CoordinatorKit.Stop);
        await kit.Operator.DeleteAsync(Named("Image", "debian-12"), cancellationToken: CoordinatorKit.Stop);
        await kit.UntilAsync("debian-12", r => r is null);

        async Task RefusedAsync()
        {
            var refused = await Assert.ThrowsAsync<RpcException>(async () => await kit.Operator.DeleteAsync(Named("Image", "debian-12"), cancellationToken: CoordinatorKit.Stop));
            Assert.Equal("Image default/debian-12 is used by Instance default/db, Instance default/web; delete them first, or let them name another", refused.Status.Detail);
        }
    }

    [Fact]
    public async Task Apply_NewSignatures_ReachTheHostAtTheSameGeneration()
    {
        await using var kit = await CoordinatorKit.StartAsync();
        await using var host = await AttachAsync(kit);
        await kit.ApplyAsync(Image(signedBy: _alice), Instance());
        await kit.UntilAsync("web", r => CoordinatorKit.Is(r, "Ready", "True"));
        Assert.Equal([P256.KeyId(_alice)], Assert.Single(host.Assignments).Digests.Select(d => d.KeyId));

        // The same key again says nothing new, and nobody's signature goes away by leaving it out.
        Assert.Equal("unchanged", Assert.Single((await kit.ApplyAsync(Image(signedBy: _alice))).Results).Action);
        Assert.Equal("unchanged", Assert.Single((await kit.ApplyAsync(Image())).Results).Action);
        var second = Assert.Single((await kit.ApplyAsync(Image(signedBy: _bob))).Results);
        Assert.Equal(("changed", 1), (second.Action, second.Resource.Metadata.Generation));
        await host.UntilAsync(s => s.Assignments.Any(a => a.Digests.Count == 2));
        var assignment = Assert.Single(host.Assignments);
        Assert.Equal(1, assignment.Generation);
        Assert.All(assignment.Digests, d => Assert.Equal((s_digest, "image", 64), (d.Sha256, d.Purpose, d.Signature.Length)));
    }

    [Fact]
    public async Task Apply_SignaturesOfWhatTheSpecDoesNotExecute_AreNotKept()
    {
        await using var kit = await CoordinatorKit.StartAsync();
        var image = Image(signedBy: _alice);
        image.Digests.Add(Signed(_alice, new('b', 64)));
        image.Digests.Add(Signed(_alice, s_digest, "cloud-init"));
        var kept = Assert.Single((await kit.ApplyAsync(image)).Results).Resource.Digests;
        Assert.Equal([("image", s_digest)], kept.Select(d => (d.Purpose, d.Sha256)));
        // Another content: what was signed for the old one goes.
        Assert.Empty(Assert.Single((await kit.ApplyAsync(Image(sha256: new('b', 64)))).Results).Resource.Digests);
    }

    [Fact]
    public async Task Apply_SignatureWithoutTheForm_IsRefusedAtItsPlace()
    {
        await using var kit = await CoordinatorKit.StartAsync();
        var image = Image(signedBy: _alice);
        image.Digests.Add(new DigestSignature { Purpose = "image", Sha256 = "x" });
        var refused = await Assert.ThrowsAsync<RpcException>(async () => await kit.ApplyAsync(image));
        Assert.StartsWith("digests[1]: sha256: not 64 lower-case hex characters", refused.Status.Detail, StringComparison.Ordinal);
        image.Digests.Clear();
        image.Digests.AddRange(Enumerable.Repeat(Signed(_alice, s_digest), 65));
        refused = await Assert.ThrowsAsync<RpcException>(async () => await kit.ApplyAsync(image));
        Assert.Contains("has 65 signatures; at most 64", refused.Status.Detail, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Apply_WithThePlanOfFilesThatWereSignedAnew_IsThePlanThatWasShown()
    {
        await using var kit = await CoordinatorKit.StartAsync();
        await using var host = await AttachAsync(kit);
        host.Plans = _ => new() { Outcome = "Ready", Hash = "h" };
        var plan = await kit.Operator.PlanAsync(Request(Image(signedBy: _alice), Instance()), cancellationToken: CoordinatorKit.Stop);
        await kit.ApplyAsync(plan.Hash, [Image(signedBy: _alice), Instance()]);
        await kit.UntilAsync("web", r => CoordinatorKit.Is(r, "Ready", "True"));
    }

    [Fact]
    public async Task Apply_MoreThanHostsCanReserve_IsNotPlacedAndTheNodeSaysWhatIsLeft()
    {
        await using var kit = await CoordinatorKit.StartAsync();
        await using var host = await AttachAsync(kit, mib: 4096);
        await kit.ApplyAsync(Image(), Instance(memory: "2Gi"));
        await kit.UntilAsync("web", r => CoordinatorKit.Is(r, "Ready", "True"));
        await kit.ApplyAsync(Instance("db", memory: "2Gi"));
        var waiting = await kit.UntilAsync("db", r => CoordinatorKit.Is(r, "Placed", "False") && CoordinatorKit.Condition(r, "Placed").Reason == "NotPlaced");
        Assert.Equal("member 0 has no host: edge-1: 1.5Gi free of 3.5Gi, wants 2Gi", CoordinatorKit.Condition(waiting, "Placed").Message);
        var node = Assert.Single((await kit.Operator.ListNodesAsync(new(), cancellationToken: CoordinatorKit.Stop)).Nodes);
        Assert.Equal((3584L << 20, 2L << 30, 2000, 100), (node.MemoryAllocatable, node.MemoryReserved, node.CpuMillisAllocatable, node.CpuMillisReserved));
        // Growing it beyond the host is refused in a plan, and applied it stays as it was.
        var refused = await Assert.ThrowsAsync<RpcException>(async () => await kit.Operator.PlanAsync(Request(Instance(memory: "8Gi")), cancellationToken: CoordinatorKit.Stop));
        Assert.Contains("member 0 stays as it is: edge-1: 1.5Gi free of 3.5Gi, wants 6Gi more", refused.Status.Detail, StringComparison.Ordinal);
        await kit.ApplyAsync(Instance(memory: "8Gi"));
        await kit.UntilAsync("web", r => CoordinatorKit.Is(r, "Placed", "False") && CoordinatorKit.Condition(r, "Placed").Message.Contains("stays as it is", StringComparison.Ordinal));
        Assert.Equal(1, Assert.Single(host.Assignments).Generation);
        // What it gives back is the other's: smaller again, both fit.
        await kit.ApplyAsync(Instance(memory: "1Gi"));
        await kit.ApplyAsync(Instance("db", memory: "1Gi"));
        await kit.UntilAsync("db", r => CoordinatorKit.Is(r, "Ready", "True"));
        await kit.UntilAsync("web", r => CoordinatorKit.Is(r, "Ready", "True"));
    }

    [Fact]
    public async Task Delete_OfWhatTookTheRoom_WakesTheOneThatWaitsForIt()
    {
        await using var kit = await CoordinatorKit.StartAsync();
        await using var host = await AttachAsync(kit, mib: 4096);
        await kit.ApplyAsync(Image(), Instance(memory: "3Gi"));
        await kit.UntilAsync("web", r => CoordinatorKit.Is(r, "Ready", "True"));
        await kit.ApplyAsync(Instance("db", memory: "3Gi"));
        await kit.UntilAsync("db", r => CoordinatorKit.Is(r, "Placed", "False") && CoordinatorKit.Condition(r, "Placed").Reason == "NotPlaced");
        var asked = DateTimeOffset.UtcNow;
        await kit.Operator.DeleteAsync(Named("Instance", "web"), cancellationToken: CoordinatorKit.Stop);
        await kit.UntilAsync("db", r => CoordinatorKit.Is(r, "Ready", "True"));
        Assert.True(DateTimeOffset.UtcNow - asked < TimeSpan.FromSeconds(20), "it waited for the next look, half a minute later");
    }

    [Fact]
    public async Task Apply_MoreThanAnAssignmentCanHold_SaysSo()
    {
        await using var kit = await CoordinatorKit.StartAsync();
        await using var host = await AttachAsync(kit);
        var keys = Enumerable.Range(0, 14).Select(_ => P256.Generate()).ToList();
        var images = Enumerable.Range(0, 8).Select(i =>
        {
            var image = Resource("Image", $"i{i}", $$"""{"url":"https://images.example/{{new string('x', 980)}}","sha256":"{{s_digest}}","format":"qcow2"}""");
            image.Spec = ByteString.CopyFromUtf8(image.Spec.ToStringUtf8().Replace(s_digest, new string((char)('0' + i), 64), StringComparison.Ordinal));
            image.Digests.AddRange(keys.Select(k => Signed(k, new string((char)('0' + i), 64))));
            return image;
        }).ToArray();
        var disks = string.Join(',', Enumerable.Range(0, 8).Select(i => $$"""{"name":"d{{i}}","image":"i{{i}}"}"""));
        var data = "#!" + string.Concat(Enumerable.Repeat("\\\"", 16_000));
        await kit.ApplyAsync([.. images, Resource("Instance", "web", $$$"""{"disks":[{{{disks}}}],"cloudInit":{"enabled":true,"userData":"{{{data}}}"}}""")]);
        var stuck = await kit.UntilAsync("web", r => CoordinatorKit.Is(r, "Placed", "False") && CoordinatorKit.Condition(r, "Placed").Message.Contains("at most 57344", StringComparison.Ordinal));
        Assert.Empty(host.Assignments);
        Assert.NotNull(stuck);
        keys.ForEach(k => k.Dispose());
    }

    private static async Task<FakeStream> AttachAsync(CoordinatorKit kit, int mib = 65536)
    {
        var node = await kit.JoinAsync("edge-1");
        return await node.AttachAsync(h =>
        {
            h.Kinds.Add("Instance");
            (h.Facts["memory_mib"], h.Facts["cpus"]) = (mib.ToString(System.Globalization.CultureInfo.InvariantCulture), "2");
        });
    }

    private Resource Image(string url = "https://images.example/debian.qcow2", string? sha256 = null, ECDsa? signedBy = null)
    {
        var image = Resource("Image", "debian-12", $$"""{"url":"{{url}}","sha256":"{{sha256 ?? s_digest}}","format":"qcow2"}""");
        if (signedBy is not null) image.Digests.Add(Signed(signedBy, sha256 ?? s_digest));
        return image;
    }

    private static Resource Instance(string name = "web", string memory = "256Mi", string image = "debian-12") =>
        Resource("Instance", name, $$"""{"memory":"{{memory}}","disks":[{"name":"root","image":"{{image}}"}]}""");

    private static Resource Resource(string kind, string name, string spec) => new()
    {
        ApiVersion = "agentmetal.io/v1",
        Kind = kind,
        Metadata = new Metadata { Name = name },
        Spec = ByteString.CopyFromUtf8(spec),
    };

    private static DigestSignature Signed(ECDsa key, string sha256, string purpose = "image")
    {
        var s = Runtime.Trust.DigestSignature.Sign(key, purpose, sha256, DateTimeOffset.UtcNow);
        return new() { Purpose = s.Purpose, Sha256 = s.Sha256, IssuedUnixMs = s.IssuedUnixMs, KeyId = s.KeyId, Signature = ByteString.CopyFrom(s.Signature) };
    }

    private static ApplyRequest Request(params Resource[] resources)
    {
        var request = new ApplyRequest();
        request.Resources.AddRange(resources);
        return request;
    }

    private static DeleteRequest Named(string kind, string name) => new() { Kind = kind, Name = name };
}
