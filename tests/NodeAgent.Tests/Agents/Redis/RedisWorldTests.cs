using CsCheck;

namespace AgentMetal.NodeAgent.Tests.Agents.Redis;

/// <summary>Three agents at once, in a world that fails between their plans and their steps.</summary>
public sealed class RedisWorldTests
{
    private const int Samples = 400;

    private static readonly Gen<(bool Persistent, (int Kind, int A, int B)[] Events)> Runs =
        Gen.Select(Gen.Bool, Gen.Select(Gen.Int[0, 19], Gen.Int[0, 2], Gen.Int[0, 2]).Array[5, 60], (persistent, events) => (persistent, events));

    [Fact]
    public void Fleet_AnyFaults_OnePrimaryNothingLostAndConvergedAfterwards()
    {
        var (converged, signed) = (0, 0);
        Runs.Sample(run =>
        {
            var world = new RedisWorld(run.Persistent);
            Assert.Null(world.Settle());
            world.Write();
            var deleted = false;
            foreach (var (kind, a, b) in run.Events)
            {
                var (held, up) = (world.Held, world.Leaders);
                switch (kind)
                {
                    case 0: world.Crash(a); break;
                    case 1: world.Hang(a); break;
                    case 2 when a != b: world.Cut(a, b); break;
                    case 3: world.Heal(); break;
                    case 4: world.SetPrimary(a); break;
                    case 5 when !deleted: // Once: two files deleted by hand and two servers lost leave nothing to tell by who was primary.
                        world.DeleteRoleFile(a);
                        deleted = true;
                        break;
                    case 6: world.RestartBySystemd(a); break;
                    case 7 or 8: world.Write(); break;
                    case < 13: world.Plan(a); break;
                    default: world.Run(a); break;
                }
                var said = string.Join("\n", world.Log);
                Assert.True(world.Leaders <= Math.Max(1, up), "two primaries:\n" + said);
                // A crash of the last member that held it is the fault's doing, and nobody's plan.
                if (kind > 1) Assert.True(world.Held.IsSupersetOf(held), $"lost: {string.Join(", ", held.Except(world.Held))}\n{said}");
            }
            world.Heal();
            var open = world.Settle();
            // A person does what the screens say, and signs what they show as Dangerous.
            for (var i = 0; i < 6 && open is not null; i++)
            {
                if (open.Contains(" is Dangerous", StringComparison.Ordinal)) Interlocked.Increment(ref signed);
                open = world.Settle(approved: open.Contains(" is Dangerous", StringComparison.Ordinal));
            }
            Assert.True(open is null, open + "\n--\n" + string.Join("\n", world.Log));
            Assert.Equal(1, world.Leaders);
            Interlocked.Increment(ref converged);
        }, iter: Samples);
        Assert.True(converged >= Samples && signed > 5, $"{converged} converged, {signed} by a signature: the samples show nothing");
    }
}
