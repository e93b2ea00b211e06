using AgentMetal.Cli.Plan;
using AgentMetal.Cli.Tests.Support;
using AgentMetal.Proto.V1;
using Xunit;

namespace AgentMetal.Cli.Tests.Plan;

public sealed class PlanViewTests
{
    private static readonly Approvers s_approvers = new(1, ["alice", "bob"]);

    private static string Draw(PlanReply plan, int width = Cli.Rendering.Screen.Unbounded, bool color = false)
    {
        var paper = new Paper(width, color);
        new PlanView(paper.Screen, s_approvers).Write(plan, "agentmetal apply -f sessions.yaml");
        return paper.Out;
    }

    [Fact]
    public void Write_ScaleOut_At120_IsTheSketch() => Assert.Equal(
        """
        Redis default/sessions  generation 3 -> 4                                               plan 7f3a9c21  expires in 15 min
          ~  memory.max              256Mi -> 512Mi     live
          ~  persistence.appendonly  false -> true      live
          ~  replicas                1 -> 2             live
          +  member                  replica on edge-2  spread over hosts

          #  on           step                                                    risk      undo      why
          1  coordinator  replica on edge-2                                       Safe      release   spread over hosts
          2  edge-2       install redis-server 7.0.15                             Safe      keep      package missing
          3  edge-2       write config, unit agentmetal-redis-default-sessions-2  Moderate  remove    new member
          4  edge-2       start member, follow edge-1                             Moderate  stop      resync about 40 MiB
          5  edge-1       set maxmemory=512mb, appendonly=yes                     Moderate  set back  primary last

          During: no step breaks a guard of the service.   Data: nothing deleted.   Choice points: 0 (no model needed)

        Apply with: agentmetal apply -f sessions.yaml --plan 7f3a9c21

        """, Draw(Samples.Bigger(), 120));

    [Fact]
    public void Write_NotesOfHosts_EachOnce()
    {
        var plan = Samples.Bigger();
        foreach (var member in plan.Resources[0].Members) member.Notes.Add("in a crash: up to one second of writes goes");
        Assert.Single(Draw(plan, 120).Split('\n'), l => l == "  In a crash: up to one second of writes goes");
    }

    [Theory]
    [InlineData(80)]
    [InlineData(100)]
    public void Write_NarrowScreen_NoTableLineIsWider(int width)
    {
        var lines = Draw(Samples.Bigger(), width).Split('\n').Where(l => !l.StartsWith("  During", StringComparison.Ordinal) && !l.StartsWith("Apply", StringComparison.Ordinal));
        Assert.All(lines, l => Assert.True(l.Length <= width, $"{l.Length}: {l}"));
    }

    [Fact]
    public void Write_NarrowScreen_LosesNoWord()
    {
        var text = string.Join(' ', Draw(Samples.Bigger(), 80).Split([' ', '\n'], StringSplitOptions.RemoveEmptyEntries));
        foreach (var word in new[] { "resync", "about", "MiB", "appendonly=yes", "7.0.15" }) Assert.Contains(word, text, StringComparison.Ordinal);
    }

    [Fact]
    public void Write_DangerousStep_SaysWhatIsLostWhoApprovesAndHow()
    {
        var text = Draw(Samples.Deletion());
        Assert.Contains("! step 2 is Dangerous: remove the data of sessions#0 on edge-1", text, StringComparison.Ordinal);
        Assert.Contains("data would be lost (data-loss), it cannot be taken back (irreversible)", text, StringComparison.Ordinal);
        Assert.Contains("lost      the data that this step deletes", text, StringComparison.Ordinal);
        Assert.Contains("undo      impossible: no copy is left", text, StringComparison.Ordinal);
        Assert.Contains("approval  1 of: alice, bob", text, StringComparison.Ordinal);
        Assert.Contains("agentmetal approve redis/sessions", text, StringComparison.Ordinal);
        Assert.Contains("During: step 2: the service stops answering while it runs.   Data: deleted by step 2.", text, StringComparison.Ordinal);
    }

    [Fact]
    public void Write_Unchanged_SaysNothingToChangeAndNoApplyCommand()
    {
        var plan = new PlanReply { Hash = "7f3a9c21d0a1", ExpiresUnixMs = FixedClock.Ms("14:20:12"), Resources = { new ResourcePlan { Resource = Samples.Sessions(), FromGeneration = 3, Action = "unchanged" } } };
        var text = Draw(plan);
        Assert.Contains("Nothing to change: what is declared is what runs.", text, StringComparison.Ordinal);
        Assert.DoesNotContain("Apply with", text, StringComparison.Ordinal);
    }

    [Fact]
    public void Write_HostThatCannotPlan_NamesItAndWhy()
    {
        var plan = Samples.Bigger();
        plan.Resources[0].Members.Add(new PlanSummary { NodeName = "edge-9", Error = "no answer within 10 s" });
        Assert.Contains("! edge-9 cannot plan: no answer within 10 s", Draw(plan), StringComparison.Ordinal);
    }

    [Fact]
    public void Write_NewResource_ListsWhatWasWrittenAndCountsDefaults()
    {
        var plan = Samples.Bigger();
        var resource = plan.Resources[0];
        resource.Action = "created";
        resource.Changes.Clear();
        resource.Changes.Add(new FieldChange { Path = "spec.replicas", After = "2" });
        resource.Changes.Add(new FieldChange { Path = "spec.port", After = "6379" });
        resource.Changes.Add(new FieldChange { Path = "spec.persistence.appendfsync", After = "everysec" });
        var text = Draw(plan);
        Assert.Contains("+  replicas  2", text, StringComparison.Ordinal);
        Assert.DoesNotContain("6379", text, StringComparison.Ordinal);
        Assert.Contains("2 more fields have their defaults", text, StringComparison.Ordinal);
    }

    [Fact]
    public void Write_WithoutColor_HasNoEscape() => Assert.DoesNotContain('\e', Draw(Samples.Deletion()));

    [Fact]
    public void Write_WithColor_SaysTheSameWords() =>
        Assert.Equal(Draw(Samples.Deletion()), Lines(System.Text.RegularExpressions.Regex.Replace(Draw(Samples.Deletion(), color: true), "\e\\[[0-9;]*m", "")));

    private static string Lines(string text) => string.Join('\n', text.Split('\n').Select(l => l.TrimEnd(' ')));
}
