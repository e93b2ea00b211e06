using AgentMetal.Runtime.Execution;
using CsCheck;
using Xunit;

namespace AgentMetal.Runtime.Tests.Engine;

public sealed class WorkQueueTests
{
    private static readonly DateTimeOffset s_now = new(2030, 1, 1, 0, 0, 0, TimeSpan.Zero);

    [Fact]
    public void Add_SameKeyTwice_IsHandedOutOnceAtTheEarlierTime()
    {
        var queue = new WorkQueue(new());
        queue.Add("a", At(10));
        queue.Add("a", At(5));
        queue.Add("a", At(20));
        Assert.Equal((1, At(5)), (queue.Count, queue.NextDue));
        Assert.False(queue.TryTake(At(4), out _));
        Assert.True(queue.TryTake(At(5), out var key));
        Assert.Equal("a", key);
        queue.Done("a", At(5));
        Assert.False(queue.TryTake(At(100), out _));
    }

    [Fact]
    public void Add_WhileWorkedOn_IsHandedOutAgainAfterwardsAndNotBefore()
    {
        var queue = new WorkQueue(new());
        queue.Add("a", At(0));
        queue.TryTake(At(0), out _);
        queue.Add("a", At(1));
        Assert.False(queue.TryTake(At(9), out _));
        queue.Done("a", At(9), TimeSpan.FromHours(1));
        Assert.True(queue.TryTake(At(9), out _));
        queue.Add("a", At(9));
        queue.Retry("a", At(9), 1);
        Assert.True(queue.TryTake(At(9), out _));
    }

    [Fact]
    public void Add_Full_IsRefusedAndCounted()
    {
        var queue = new WorkQueue(new(2));
        Assert.True(queue.Add("a", At(0)) && queue.Add("b", At(0)) && queue.Add("a", At(-1)));
        Assert.False(queue.Add("c", At(0)));
        Assert.Equal(1, queue.Refused);
        queue.TryTake(At(0), out var key);
        queue.Done(key, At(0));
        Assert.True(queue.Add("c", At(0)));
    }

    [Fact]
    public void Retry_AgainAndAgain_BacksOffWithinItsBoundsAndDoneForgetsIt()
    {
        Gen.Double[0, 1].Array[12].Sample(jitter =>
        {
            var queue = new WorkQueue(new(8, TimeSpan.FromSeconds(1), TimeSpan.FromSeconds(60)));
            for (var i = 0; i < jitter.Length; i++)
            {
                var cap = Math.Min(60, Math.Pow(2, i));
                Assert.InRange(Round(jitter[i]), cap / 2, cap);
            }
            queue.Done("a", s_now, TimeSpan.Zero);
            Assert.InRange(Round(1), 0.999, 1);

            double Round(double random)
            {
                queue.Add("a", s_now);
                while (!queue.TryTake(queue.NextDue!.Value, out _)) { }
                return (queue.Retry("a", s_now, random) - s_now).TotalSeconds;
            }
        }, iter: 200, threads: 1);
    }

    [Fact]
    public void Remove_WhileWorkedOn_IsForgottenOnceTheWorkEnds()
    {
        var queue = new WorkQueue(new());
        queue.Add("a", At(0));
        queue.TryTake(At(0), out _);
        queue.Add("a", At(0));
        queue.Remove("a");
        queue.Done("a", At(0));
        Assert.Equal((0, (DateTimeOffset?)null), (queue.Count, queue.NextDue));
    }

    [Fact]
    public void Done_LookedAtAgainLongBeforeItIsDue_KeepsNoMemoryOfWhatWasPutOff()
    {
        var queue = new WorkQueue(new(8));
        for (var i = 0; i < 10_000; i++)
        {
            queue.Add("a", At(0));
            Assert.True(queue.TryTake(At(0), out _));
            queue.Done("a", At(0), TimeSpan.FromMinutes(10));
        }
        Assert.Equal(1, queue.Count);
        Assert.InRange(queue.Entries, 1, 64);
    }

    /// <summary>Beside a model of a few lines: who waits, until when, and who is worked on.</summary>
    [Fact]
    public void AnySequence_BesideItsModel_LosesNothingAndNeverHandsOutTwice()
    {
        var taken = 0;
        Gen.Select(Gen.Int[0, 4], Gen.Int[0, 3], Gen.Int[0, 30]).Array[1, 60].Sample(ops =>
        {
            var queue = new WorkQueue(new(3));
            var (due, working, now) = (new Dictionary<string, DateTimeOffset>(), new HashSet<string>(), s_now);
            foreach (var (op, name, span) in ops)
            {
                var key = "k" + name;
                switch (op)
                {
                    case 0 or 1:
                        var at = now + TimeSpan.FromSeconds(span);
                        var known = due.ContainsKey(key) || working.Contains(key);
                        Assert.Equal(known || due.Keys.Union(working).Count() < 3, queue.Add(key, at));
                        if (known || due.Keys.Union(working).Count() < 3) due[key] = due.TryGetValue(key, out var old) && old < at ? old : at;
                        break;
                    case 2:
                        var ready = due.Where(d => !working.Contains(d.Key) && d.Value <= now).ToList();
                        Assert.Equal(ready.Count > 0, queue.TryTake(now, out var got));
                        if (ready.Count == 0) break;
                        Assert.Equal(ready.Min(r => r.Value), due[got]);
                        due.Remove(got);
                        Assert.True(working.Add(got));
                        taken++;
                        break;
                    case 3 when working.Remove(key): queue.Done(key, now); break;
                    default: now += TimeSpan.FromSeconds(span); break;
                }
                Assert.Equal(due.Count, queue.Count);
            }
        }, iter: 1000, threads: 1);
        Assert.True(taken > 1000);
    }

    private static DateTimeOffset At(int seconds) => s_now + TimeSpan.FromSeconds(seconds);
}
