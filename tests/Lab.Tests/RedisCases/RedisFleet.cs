using AgentMetal.LabTests.Adversary;
using AgentMetal.LabTests.Fleets;
using AgentMetal.Testing;

namespace AgentMetal.LabTests.RedisCases;

/// <summary>Three hosts for the cases of Redis and for the adversary: gone when the last of them has run, so that nothing of theirs is
/// in another test's way.</summary>
public sealed class RedisFleet : IAsyncDisposable
{
    private Fleet? fleet;
    private int nextPort = 6600;

    public static bool Soak => Environment.GetEnvironmentVariable("AGENTMETAL_SOAK") == "1";

    /// <summary>Healed, every host and the coordinator running, every daemon up.</summary>
    public async Task<Fleet> GetAsync()
    {
        await SharedLab.RequireCapabilityAsync();
        var stop = TestContext.Current.CancellationToken;
        if (fleet is null) return fleet = await Fleet.StartAsync(stop);
        await fleet.Lab.HealAsync(stop);
        foreach (var host in fleet.Lab.Hosts)
        {
            await host.StartAsync(stop);
            await host.ShellAsync("systemctl start agentmetald", stop);
        }
        await fleet.WaitAttachedAsync(fleet.Lab.Hosts.Count, stop);
        return fleet;
    }

    internal async Task<RedisGroup> GroupAsync(string name, string spec) => new(await GetAsync(), name + nextPort, nextPort++, spec);

    public async ValueTask DisposeAsync()
    {
        if (fleet is not null) await fleet.DisposeAsync();
    }
}

[CollectionDefinition(Name)]
public sealed class RedisFleetCollection : ICollectionFixture<RedisFleet>
{
    public const string Name = "redis, what must hold";
}
