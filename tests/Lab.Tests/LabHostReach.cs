using AgentMetal.Testing;

namespace AgentMetal.LabTests;

internal static class LabHostReach
{
    /// <summary>Whether one of ten pings comes back: after a fault it takes a moment until an address is asked for again.</summary>
    public static async Task<bool> ReachesAsync(this LabHost host, string address)
    {
        var result = await host.RunAsync(
            ["sh", "-c", """for i in 0 1 2 3 4 5 6 7 8 9; do ping -c 1 -W 1 "$1" && exit 0; sleep 0.2; done; ip neigh; exit 1""", "sh", address],
            cancellationToken: TestContext.Current.CancellationToken);
        if (!result.Succeeded)
            TestContext.Current.TestOutputHelper?.WriteLine($"{host.Name} to {address}: {result.Stdout}{result.Stderr}");
        return result.Succeeded;
    }

    /// <summary>Whether none of three pings comes back, the last of them waited for one second.</summary>
    public static async Task<bool> IsCutOffFromAsync(this LabHost host, string address) =>
        !(await host.RunAsync(["ping", "-q", "-c", "3", "-i", "0.2", "-W", "1", address], cancellationToken: TestContext.Current.CancellationToken)).Succeeded;
}
