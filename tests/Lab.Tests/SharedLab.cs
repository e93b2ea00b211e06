using AgentMetal.LabTests;
using AgentMetal.Testing;

[assembly: AssemblyFixture(typeof(SharedLab))]
// One lab of three hosts is what two cores carry; tests that count time must not share them either.
[assembly: Xunit.v3.Parallelization(Mode = Xunit.Sdk.ParallelMode.None)]

namespace AgentMetal.LabTests;

/// <summary>
/// The lab of three hosts that every test of this assembly shares: booted when the first test asks for it. A test gets it
/// with no network fault and every host running, and takes back itself what it does to a host's disk and services.
/// </summary>
public sealed class SharedLab : IAsyncDisposable
{
    private Lab? lab;

    /// <summary>The lab, in order. Skips the calling test, naming what is missing, where no lab can run.</summary>
    public async Task<Lab> GetAsync()
    {
        var cancellationToken = TestContext.Current.CancellationToken;
        await RequireCapabilityAsync();
        if (lab is null)
        {
            lab = await Lab.StartAsync(new LabOptions(), cancellationToken);
            return lab;
        }

        await lab.HealAsync(cancellationToken);
        foreach (var host in lab.Hosts)
            await host.StartAsync(cancellationToken);
        return lab;
    }

    /// <summary>For a test that makes a lab of its own. With AGENTMETAL_LAB=required a missing capability fails the test.</summary>
    public static async Task RequireCapabilityAsync()
    {
        if (await LabCapability.MissingAsync(TestContext.Current.CancellationToken) is not { } missing)
            return;
        Assert.False(Environment.GetEnvironmentVariable("AGENTMETAL_LAB") == "required", $"the lab is required and this machine lacks {missing}");
        Assert.Skip($"this machine cannot run a lab: it lacks {missing}");
    }

    public async ValueTask DisposeAsync()
    {
        if (lab is not null)
            await lab.DisposeAsync();
    }
}
