using AgentMetal.Runtime.Planning;
using Xunit;

namespace AgentMetal.Runtime.Tests.Engine;

public sealed class AttemptsTests
{
    private static readonly DateTimeOffset s_now = new(2030, 1, 1, 0, 0, 0, TimeSpan.Zero);

    [Fact]
    public void Exhausted_TwoFailuresOfOneRemedy_UntilTheWindowHasPassed()
    {
        var tried = Attempts.None(s_now).Add("d", "restart", false, s_now);
        Assert.False(tried.Exhausted("d", "restart"));
        tried = tried.Add("d", "restart", false, s_now.AddMinutes(10));
        Assert.True(tried.Exhausted("d", "restart"));
        Assert.False(tried.Exhausted("d", "reload") || tried.Exhausted("e", "restart") || tried.Flapping("d"));
        Assert.Equal(s_now.AddHours(1), tried.OpensAt("d"));
        Assert.True((tried with { Now = s_now.AddMinutes(59) }).Exhausted("d", "restart"));
        Assert.False((tried with { Now = s_now.AddMinutes(60) }).Exhausted("d", "restart"));
    }

    [Fact]
    public void Exhausted_WithARest_IsTriedOnceMoreAfterEachAndSaysWhen()
    {
        var tried = (Attempts.None(s_now) with { Rest = TimeSpan.FromMinutes(5) }).Add("d", "start", false, s_now).Add("d", "start", false, s_now.AddMinutes(1));
        Assert.Equal(s_now.AddMinutes(6), tried.Resting("d", "start")!.Value.Until);
        Assert.True((tried with { Now = s_now.AddMinutes(5.9) }).Exhausted("d", "start"));
        Assert.False((tried with { Now = s_now.AddMinutes(6) }).Exhausted("d", "start"));
        // One more failure, and it rests again.
        tried = tried.Add("d", "start", false, s_now.AddMinutes(6));
        Assert.Equal(s_now.AddMinutes(11), tried.Resting("d", "start")!.Value.Until);
    }

    [Fact]
    public void Exhausted_SuccessesBetween_DoNotCount() =>
        Assert.False(Attempts.None(s_now).Add("d", "restart", false, s_now).Add("d", "restart", true, s_now).Exhausted("d", "restart"));

    [Fact]
    public void Flapping_EightSuccessesForOneDifference_IsSomebodyElse()
    {
        var tried = Attempts.None(s_now);
        for (var i = 0; i < 7; i++) tried = tried.Add("d", "x" + i, true, s_now);
        Assert.False(tried.Flapping("d"));
        tried = tried.Add("d", "y", true, s_now);
        Assert.True(tried.Flapping("d"));
        Assert.False(tried.Flapping("e"));
        Assert.Null(tried.OpensAt("e"));
    }

    [Fact]
    public void Flapping_WithARest_IsPutRightOnceMoreAfterEachAndSaysHowOften()
    {
        var tried = Attempts.None(s_now) with { Rest = TimeSpan.FromMinutes(5) };
        for (var i = 0; i < 8; i++) tried = tried.Add("d", "set", true, s_now.AddSeconds(10 * i));
        Assert.Equal((8, s_now.AddSeconds(70).AddMinutes(5)), tried.Returns("d"));
        Assert.True((tried with { Now = s_now.AddMinutes(6) }).Flapping("d"));
        Assert.False((tried with { Now = s_now.AddMinutes(7) }).Flapping("d"));
        Assert.True(tried.Add("d", "set", true, s_now.AddMinutes(7)).Flapping("d"));
    }

    [Fact]
    public void Add_ManyAttempts_KeepsTheNewestAndDropsTheOld()
    {
        var tried = Attempts.None(s_now);
        for (var i = 0; i < 1000; i++) tried = tried.Add("d", "k" + i, false, s_now.AddSeconds(i));
        Assert.Equal((Attempts.Capacity, "k999"), (tried.Log.Length, tried.Log[^1].StepKey));
        Assert.Single(tried.Add("d", "later", true, s_now.AddHours(3)).Log);
    }
}
