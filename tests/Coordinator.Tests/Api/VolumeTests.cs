using AgentMetal.Coordinator.Tests.Kit;
using AgentMetal.Proto.V1;
using Google.Protobuf;
using Grpc.Core;
using Xunit;
using Metadata = AgentMetal.Proto.V1.Metadata;

namespace AgentMetal.Coordinator.Tests.Api;

/// <summary>A volume is where it was placed first, the instance that uses it goes there, and one instance at a time does.</summary>
public sealed class VolumeTests
{
    [Fact]
    public async Task Apply_InstanceWithAVolume_IsPlacedWhereTheVolumeIs()
    {
        await using var kit = await CoordinatorKit.StartAsync();
        await using var first = await AttachAsync(kit, "edge-1");
        await kit.ApplyAsync(Volume());
        await kit.UntilAsync("data", r => CoordinatorKit.Is(r, "Ready", "True"));
        Assert.Equal((0L, 0), (first.Assignments.Single().ReserveMemory, first.Assignments.Single().ReserveCpuMillis));
        // The new host has more room; the machine goes where its data is.
        await using var second = await AttachAsync(kit, "edge-2", 65536);
        await kit.ApplyAsync(Instance("web"));
        await kit.UntilAsync("web", r => CoordinatorKit.Is(r, "Ready", "True"));
        var assignment = first.Assignments.Single(a => a.Kind == "Instance");
        Assert.Contains("1Gi", assignment.References["Volume/data"].ToStringUtf8(), StringComparison.Ordinal);
        Assert.Empty(second.Assignments);
    }

    [Fact]
    public async Task Apply_VolumeAndInstanceInOneRequest_AreOnOneHost()
    {
        await using var kit = await CoordinatorKit.StartAsync();
        await using var first = await AttachAsync(kit, "edge-1");
        await using var second = await AttachAsync(kit, "edge-2", 65536);
        await kit.ApplyAsync(Instance("web"), Volume());
        await kit.UntilAsync("web", r => CoordinatorKit.Is(r, "Ready", "True"));
        Assert.Contains(2, new[] { first.Assignments.Count, second.Assignments.Count });
    }

    [Fact]
    public async Task Apply_VolumeThatAnotherInstanceUses_IsRefusedNamingIt()
    {
        await using var kit = await CoordinatorKit.StartAsync();
        await using var host = await AttachAsync(kit, "edge-1");
        await kit.ApplyAsync(Volume(), Instance("web"));
        await kit.UntilAsync("web", r => CoordinatorKit.Is(r, "Ready", "True"));
        var refused = await Assert.ThrowsAsync<RpcException>(async () => await kit.ApplyAsync(Instance("db")));
        Assert.StartsWith("spec.disks[0].volume: Volume default/data is used by Instance default/web, and one at a time can use it", refused.Status.Detail, StringComparison.Ordinal);
        Assert.Equal("unchanged", Assert.Single((await kit.ApplyAsync(Instance("web"))).Results).Action);

        // Two at once are refused too, and in one command it goes from one to the other.
        refused = await Assert.ThrowsAsync<RpcException>(async () => await kit.ApplyAsync(Volume("more"), Instance("a", "more"), Instance("b", "more")));
        Assert.Contains("Volume default/more is used by Instance default/a", refused.Status.Detail, StringComparison.Ordinal);
        await kit.ApplyAsync(Volume("other"));
        await kit.ApplyAsync(Instance("db"), Instance("web", "other"));

        // One that is being deleted may still have it; one that was placed nowhere yet would be gone at once.
        await kit.UntilAsync("db", r => CoordinatorKit.Is(r, "Ready", "True"));
        await host.DisposeAsync(); // Nobody says that it is gone.
        await kit.Operator.DeleteAsync(new() { Kind = "Instance", Name = "db" }, cancellationToken: CoordinatorKit.Stop);
        refused = await Assert.ThrowsAsync<RpcException>(async () => await kit.ApplyAsync(Instance("next")));
        Assert.Contains("Instance default/db, which is being deleted", refused.Status.Detail, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Delete_VolumeThatIsUsed_IsRefusedAndWithoutItsInstanceItGoes()
    {
        await using var kit = await CoordinatorKit.StartAsync();
        await using var host = await AttachAsync(kit, "edge-1");
        await kit.ApplyAsync(Volume(), Instance("web"));
        await kit.UntilAsync("web", r => CoordinatorKit.Is(r, "Ready", "True"));
        var refused = await Assert.ThrowsAsync<RpcException>(async () => await kit.Operator.DeleteAsync(new() { Kind = "Volume", Name = "data" }, cancellationToken: CoordinatorKit.Stop));
        Assert.StartsWith("Volume default/data is used by Instance default/web;", refused.Status.Detail, StringComparison.Ordinal);
        await kit.Operator.DeleteAsync(new() { Kind = "Instance", Name = "web" }, cancellationToken: CoordinatorKit.Stop);
        await kit.UntilAsync("web", r => r is null);
        Assert.False(Assert.Single(host.Assignments).Absent); // The volume's.
        await kit.Operator.DeleteAsync(new() { Kind = "Volume", Name = "data" }, cancellationToken: CoordinatorKit.Stop);
        await kit.UntilAsync("data", r => r is null);
    }

    /// <summary>A copy is made where its source is; the source is not kept by it, and the copy stays where it is without it.</summary>
    [Fact]
    public async Task Apply_InstanceFromAnother_IsPlacedFirstWhereThatIs()
    {
        await using var kit = await CoordinatorKit.StartAsync();
        await using var first = await AttachAsync(kit, "edge-1");
        await kit.ApplyAsync(Volume(), Instance("web"));
        await kit.UntilAsync("web", r => CoordinatorKit.Is(r, "Ready", "True"));
        await using var second = await AttachAsync(kit, "edge-2", 65536);
        await kit.ApplyAsync(Resource("Instance", "copy", """{"disks":[{"name":"root"}],"source":{"instance":"web"}}"""));
        await kit.UntilAsync("copy", r => CoordinatorKit.Is(r, "Ready", "True"));
        Assert.Empty(second.Assignments);
        await kit.Operator.DeleteAsync(new() { Kind = "Instance", Name = "web" }, cancellationToken: CoordinatorKit.Stop);
        await kit.UntilAsync("web", r => r is null);
        Assert.True(CoordinatorKit.Is(await kit.UntilAsync("copy", r => r is not null), "Ready", "True"));
        var changed = await Assert.ThrowsAsync<RpcException>(async () => await kit.ApplyAsync(Resource("Instance", "copy", """{"disks":[{"name":"root"}],"source":{"instance":"other"}}""")));
        Assert.StartsWith("spec.source.instance: cannot be changed", changed.Status.Detail, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("""{"disks":[{"name":"root","volume":"data","image":"debian"}]}""", "spec.disks[0].image: cannot be set together with volume")]
    [InlineData("""{"disks":[{"name":"root","volume":"data","size":"1Gi"}]}""", "spec.disks[0].size: cannot be set together with volume")]
    [InlineData("""{"disks":[{"name":"root","volume":"data","format":"raw"}]}""", "spec.disks[0].format: cannot be set together with volume")]
    [InlineData("""{"disks":[{"name":"root","volume":"data"},{"name":"more","volume":"data"}]}""", "spec.disks[1].volume: Volume data is there twice")]
    public async Task Apply_VolumeBesideWhatItBrings_IsRefusedAtTheField(string spec, string error)
    {
        await using var kit = await CoordinatorKit.StartAsync();
        var refused = await Assert.ThrowsAsync<RpcException>(async () => await kit.ApplyAsync(Resource("Instance", "web", spec)));
        Assert.StartsWith(error, refused.Status.Detail, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("{}", "spec.size: is required for a volume without an image")]
    [InlineData("""{"size":"1000"}""", "spec.size: 1000 is less than 1Mi")]
    [InlineData("""{"size":"1048577"}""", "spec.size: is not a multiple of 512 bytes")]
    public async Task Apply_VolumeWithoutASize_IsRefused(string spec, string error)
    {
        await using var kit = await CoordinatorKit.StartAsync();
        var refused = await Assert.ThrowsAsync<RpcException>(async () => await kit.ApplyAsync(Resource("Volume", "data", spec)));
        Assert.StartsWith(error, refused.Status.Detail, StringComparison.Ordinal);
    }

    private static async Task<FakeStream> AttachAsync(CoordinatorKit kit, string name, int mib = 4096)
    {
        var node = await kit.JoinAsync(name);
        return await node.AttachAsync(h =>
        {
            h.Kinds.Add("Instance");
            h.Kinds.Add("Volume");
            (h.Facts["memory_mib"], h.Facts["cpus"]) = (mib.ToString(System.Globalization.CultureInfo.InvariantCulture), "2");
        });
    }

    private static Resource Volume(string name = "data") => Resource("Volume", name, """{"size":"1Gi"}""");

    private static Resource Instance(string name, string volume = "data") => Resource("Instance", name, $$"""{"disks":[{"name":"root","volume":"{{volume}}"}]}""");

    private static Resource Resource(string kind, string name, string spec) => new()
    {
        ApiVersion = "agentmetal.io/v1",
        Kind = kind,
        Metadata = new Metadata { Name = name },
        Spec = ByteString.CopyFromUtf8(spec),
    };
}
