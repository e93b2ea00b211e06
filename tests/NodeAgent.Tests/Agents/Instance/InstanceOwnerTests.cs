using AgentMetal.NodeAgent.Agents.Instance;
using AgentMetal.Runtime.Planning;
using AgentMetal.Runtime.Resources.Kinds;
using AgentMetal.Runtime.Risk;
using static AgentMetal.NodeAgent.Tests.Agents.Instance.InstanceIdentityTests;
using static AgentMetal.NodeAgent.Tests.Agents.Instance.InstanceSamples;

namespace AgentMetal.NodeAgent.Tests.Agents.Instance;

/// <summary>Project and name make the directory's name, and another resource may have had both: what lies in it belongs to the uid that made it.</summary>
public sealed class InstanceOwnerTests
{
    [Fact]
    public void Delete_OfOneWhoseNameIsAnothersHere_TouchesNothing()
    {
        var others = Unnamed(Nothing(Input())) with { Dir = DirIs.Others };
        Assert.Empty(InstanceDifferences.Of(null, others));
        Assert.True(Member.IsGone(others));
        Assert.Empty(Plan(Input(absent: true), others).Steps);
    }

    [Fact]
    public void Apply_OfOneWhoseNameIsAnothersHere_IsToldAndNotFoughtOver()
    {
        foreach (var state in (InstanceState[])[Converged(Input()) with { Dir = DirIs.Others, Domain = FactValue.Absent }, Nothing(Input()) with { Domain = Owner.Foreign, Dir = DirIs.Others }, Nothing(Input()) with { Domain = Owner.Foreign }])
        {
            var plan = Plan(Input(FromDisk.Replace("4Gi", "8Gi", StringComparison.Ordinal)), state);
            Assert.Empty(plan.Steps);
            Assert.Contains("leaves it alone", Assert.Single(plan.Blocked).Reasons[0], StringComparison.Ordinal);
        }
    }

    [Fact]
    public void Delete_WhileAnotherDomainUsesItsFiles_WaitsAndSaysWhich()
    {
        var state = Unnamed(Converged(Input())) with { Users = "by-hand" };
        var plan = Plan(Input(absent: true), state);
        Assert.DoesNotContain(plan.Steps, s => s.Tool is "remove-disks" or "remove-files");
        Assert.Contains(plan.Blocked, b => b.Reasons.Any(r => r.Contains("domain by-hand of libvirt uses files in", StringComparison.Ordinal)));
    }

    [Fact]
    public void Directory_OfTheCommitBefore_IsMarkedUnasked()
    {
        var plan = Plan(Input(), Converged(Input()) with { Dir = DirIs.Unmarked });
        var step = Assert.Single(plan.Steps);
        Assert.Equal(("create-dir", RiskLevel.Safe), (step.Tool, step.Risk.Level));
        Assert.Contains("write down that", step.Text, StringComparison.Ordinal);
    }

    /// <summary>After libvirt has forgotten the machine nothing would say whose the disks are, and what was signed for them would be void.</summary>
    [Fact]
    public void Delete_OfADirectoryThatDoesNotSayWhose_MarksItFirst()
    {
        var plan = Plan(Input(absent: true), Unnamed(Converged(Input())) with { Dir = DirIs.Unmarked });
        Assert.Equal(("create-dir", RiskLevel.Safe), (plan.Steps[0].Tool, plan.Steps[0].Risk.Level));
        Assert.Equal(["shut-down", "undefine", "remove-disks", "remove-files"], plan.Steps.Skip(1).Select(s => s.Tool));
        Assert.All(plan.Steps, s => Assert.Equal(plan.Steps[0].Group, s.Group));
        Assert.Contains(plan.Steps.Single(s => s.Tool == "remove-disks").Basis, f => f is { Key: InstanceFacts.Dir, Value: Present.It });
    }

    [Fact]
    public void Directory_WithDisksThatNothingClaims_IsTakenOverBySignature()
    {
        var state = Nothing(Input()) with { Dir = DirIs.Unclaimed, Data = Stored.Some, Disks = Converged(Input()).Disks, DiskStates = Converged(Input()).DiskStates };
        var step = Assert.Single(Plan(Input(), state).Steps, s => s.Tool == "create-dir");
        Assert.Equal(RiskLevel.Dangerous, step.Risk.Level);
        Assert.Contains("root (qcow2, 4Gi)", step.Text, StringComparison.Ordinal);
    }

    /// <summary>A file system mounted over the directory of instances, or one that is not mounted any more.</summary>
    [Fact]
    public void Directory_ThatIsGoneUnderADefinedMachine_IsNotMadeAnewUnasked()
    {
        var state = Converged(Input()) with { Dir = FactValue.Absent, Data = Stored.None, Disks = Nothing(Input()).Disks, DiskStates = Nothing(Input()).DiskStates };
        var plan = Plan(Input(), state);
        Assert.Contains(plan.Differences, d => d.Text.Contains("is the file system that held it not mounted", StringComparison.Ordinal));
        Assert.All(plan.Steps.Where(s => s.Tool is "create-dir" or "create-disk"), s => Assert.Equal(RiskLevel.Dangerous, s.Risk.Level));
        Assert.Contains(plan.Steps, s => s.Tool == "create-dir");
    }

    [Theory]
    [InlineData("8Gi", "4Gi", true)]
    [InlineData("4Gi", "8Gi", false)]
    [InlineData("4Gi", "0", false)]
    public void Shrink_IsRefusedAtAdmission(string before, string after, bool refused)
    {
        var (was, now) = (Valid(InstanceKind.Schema, FromDisk.Replace("4Gi", before, StringComparison.Ordinal)), Valid(InstanceKind.Schema, FromDisk.Replace("4Gi", after, StringComparison.Ordinal)));
        var errors = InstanceKind.Schema.DeclaredRules(was, now).ToList();
        if (refused) Assert.Contains("a disk never shrinks", Assert.Single(errors).Message, StringComparison.Ordinal);
        else Assert.Empty(errors);
    }
}
