using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using AgentMetal.Proto.V1;
using AgentMetal.Testing;
using Google.Protobuf;

namespace AgentMetal.LabTests.Fleets;

/// <summary>A coordinator whose database was edited, or that forges approvals, gets no Dangerous step executed: the host judges by itself.</summary>
[Story("fleet", 20)]
public sealed class TamperTests(SharedFleet shared)
{
    private const int Port = 6441;

    private static readonly string[] Names = ["spent", "vault", "guarded", "durable"];

    private static string Yaml(string name, string more = "", string spec = "") => $$"""
        apiVersion: agentmetal.io/v1
        kind: Redis
        metadata: { name: {{name}}{{more}} }
        spec: { port: {{PortOf(name)}}{{spec}} }
        """;

    private static int PortOf(string name) => Port + Array.IndexOf(Names, name);

    [Fact]
    public async Task Coordinator_WithEditedStoreAndForgedApprovals_GetsNothingDangerousDone()
    {
        var stop = TestContext.Current.CancellationToken;
        var fleet = await shared.GetAsync();
        var documents = string.Join("\n---\n", Yaml("spent"), Yaml("vault"), Yaml("guarded", ", protect: true"), Yaml("durable"));
        (await fleet.ApplyAsync(documents, stop)).OrThrow();
        var members = new Dictionary<string, (LabHost Host, string Unit, int Pid)>(StringComparer.Ordinal);
        foreach (var name in Names)
        {
            var (host, unit) = (await fleet.MembersAsync(name, stop))[0];
            await Fleet.RedisAsync(host, PortOf(name), $"SET kept {name}", stop);
            members[name] = (host, unit, await host.MainPidAsync(unit, stop));
        }
        // A real approval, given for this and used up; the coordinator still has it.
        var spentUid = (await fleet.GetAsync("spent", stop)).GetProperty("metadata").GetProperty("uid").GetString()!;
        await HeldAsync(fleet, "spent", stop, delete: true);
        (await fleet.CliAsync(stop, "approve", "redis/spent", "--yes", "--reason", "done with it")).OrThrow();
        await Fleet.EventuallyAsync("spent is gone", TimeSpan.FromSeconds(60), async () => !(await fleet.CliAsync(stop, "get", "redis", "spent")).Succeeded, stop);
        var asked = await HeldAsync(fleet, "vault", stop, delete: true);

        await fleet.KillCoordinatorAsync();
        try
        {
            using var store = new TamperedStore(fleet.CoordinatorData);
            Forge(store, asked, Assert.Single(store.Approvals(spentUid)));
            // Protection taken away and deletion asked for, and a change that would lose the data in a restart: in the rows, behind everybody's back.
            store.EditResource("guarded", r =>
            {
                r.Metadata.Protect = false;
                r.Metadata.DeletedUnixMs = DateTimeOffset.UtcNow.ToUnixTimeMilliseconds();
                r.Metadata.Generation++;
            });
            store.EditResource("durable", r =>
            {
                var spec = Encoding.UTF8.GetString(r.Spec.Span);
                var edited = spec.Replace("\"appendonly\":true", "\"appendonly\":false", StringComparison.Ordinal).Replace("\"databases\":16", "\"databases\":17", StringComparison.Ordinal);
                edited = System.Text.RegularExpressions.Regex.Replace(edited, "\"save\":\\[[^\\]]*\\]", "\"save\":[]");
                Assert.NotEqual(spec, edited);
                r.Spec = ByteString.CopyFromUtf8(edited);
                r.Metadata.Generation++;
            });
        }
        finally { await fleet.StartCoordinatorAsync(stop); }
        await fleet.WaitAttachedAsync(3, stop);

        // The host says what is wrong with each forgery once it has them, so from here they were judged.
        var vault = members["vault"];
        await Fleet.EventuallyAsync(vault.Host, "the host of vault names every forgery", TimeSpan.FromSeconds(90), async () =>
            await vault.Host.ShellAsync("journalctl -u agentmetald -o cat --no-pager | grep 'does not count here' || true", stop) is var said && said.Contains("is not in the approver set", StringComparison.Ordinal)
            && said.Contains("the signature is not", StringComparison.Ordinal), stop);
        await HeldAsync(fleet, "guarded", stop);
        await HeldAsync(fleet, "durable", stop);
        await Task.Delay(TimeSpan.FromSeconds(3), stop); // A step that ran in spite of all would have begun by now.
        foreach (var name in Names.Skip(1))
        {
            var (host, unit, pid) = members[name];
            Assert.Equal(pid, await host.MainPidAsync(unit, stop));
            Assert.Equal(name, await Fleet.RedisAsync(host, PortOf(name), "GET kept", stop));
            Assert.Equal("", await host.ShellAsync($"journalctl -u agentmetald -o cat | grep 'default/{name}#' | grep -E 'StepStarted: (stop|delete|remove|write redis.conf and restart)' || true", stop));
        }

        // The operator's own signature, and nothing else, was missing all the time.
        (await fleet.CliAsync(stop, "approve", "redis/vault", "--yes", "--reason", "now really")).OrThrow();
        await Fleet.EventuallyAsync(vault.Host, "vault is gone", TimeSpan.FromSeconds(60), async () => !(await fleet.CliAsync(stop, "get", "redis", "vault")).Succeeded, stop);
        foreach (var name in Names.Skip(2)) await fleet.RemoveAsync(name, stop);
    }

    private static void Forge(TamperedStore store, (string Node, string Uid, string[] Hashes) asked, Approval real)
    {
        // An approver of the forger's own making.
        using var own = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var forged = TamperedStore.Sign(own, asked.Hashes, asked.Uid, asked.Node);
        store.Insert(forged);
        // The same under the operator's name.
        var renamed = forged.Clone();
        renamed.KeyId = real.KeyId;
        store.Insert(renamed);
        // The operator's own signature, over other steps: with the steps exchanged, and as it is.
        var exchanged = real.Clone();
        exchanged.StepHashes.Clear();
        exchanged.StepHashes.AddRange(asked.Hashes.Order(StringComparer.Ordinal));
        exchanged.ResourceUid = asked.Uid;
        exchanged.NodeUid = asked.Node;
        store.Insert(exchanged);
        var replayed = real.Clone();
        replayed.NodeUid = asked.Node;
        replayed.ResourceUid = asked.Uid;
        store.Insert(replayed);
    }

    /// <summary>Waits until a host asks for signatures for this resource; who asks, and for which steps.</summary>
    private static async Task<(string Node, string Uid, string[] Hashes)> HeldAsync(Fleet fleet, string name, CancellationToken stop, bool delete = false)
    {
        if (delete) await fleet.CliAsync(stop, "delete", "redis", name, "--yes", "--no-wait");
        (string, string, string[])? found = null;
        await Fleet.EventuallyAsync($"{name} waits for a signature", TimeSpan.FromSeconds(90), async () =>
        {
            using var list = JsonDocument.Parse((await fleet.CliAsync(stop, "approve", "--list", "-o", "json")).OrThrow().Stdout);
            foreach (var held in list.RootElement.GetProperty("items").EnumerateArray().Where(h => h.GetProperty("resource").GetString() == "Redis default/" + name))
            {
                var steps = held.GetProperty("plan").GetProperty("steps").EnumerateArray().ToArray();
                found = (steps[0].GetProperty("nodeUid").GetString()!, steps[0].GetProperty("resourceUid").GetString()!, [.. steps.Select(s => s.GetProperty("hash").GetString()!)]);
            }
            return found is not null;
        }, stop);
        return found!.Value;
    }
}
