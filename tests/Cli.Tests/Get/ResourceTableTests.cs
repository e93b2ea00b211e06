using AgentMetal.Cli.Get;
using AgentMetal.Cli.Tests.Support;
using AgentMetal.Proto.V1;
using Xunit;

namespace AgentMetal.Cli.Tests.Get;

public sealed class ResourceTableTests
{
    [Fact]
    public void Of_KindWithoutMembers_SaysWhoUsesIt()
    {
        var image = new Resource { Kind = "Image", Metadata = new() { Project = "default", Name = "debian-12", Generation = 1, CreatedUnixMs = FixedClock.Ms("12:05:11") }, Status = new() { ObservedGeneration = 1 } };
        image.Status.Conditions.Add(new Condition { Type = "Ready", Status = "True", Reason = "Declared", Message = "used by Instance default/web" });
        var paper = new Paper();
        ResourceTable.Of(paper.Screen, [image], wide: false, projects: false).Write(paper.Screen);
        Assert.Contains("Image  debian-12  True   -        used by Instance default/web", paper.Out, StringComparison.Ordinal);
    }
}
