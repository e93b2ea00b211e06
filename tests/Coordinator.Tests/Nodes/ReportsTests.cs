using AgentMetal.Coordinator.Nodes;
using AgentMetal.Proto.V1;
using Microsoft.Extensions.Time.Testing;
using Xunit;

namespace AgentMetal.Coordinator.Tests.Nodes;

public sealed class ReportsTests
{
    private readonly Reports _reports = new(new FakeTimeProvider());

    private static MemberReport Report(string cpu, string phase = "Converged", long at = 0) => new()
    {
        Assignment = "n0/Instance/u/0",
        Generation = 1,
        Status = new() { Phase = phase, Summary = "running", ReportedUnixMs = at, Details = { ["cpuPercent"] = cpu } },
    };

    [Fact]
    public void Put_OnlyDetailsMoved_SaysNothingNewAndKeepsThem()
    {
        Assert.True(_reports.Put(Report("1")));
        Assert.False(_reports.Put(Report("90", at: 15_000)));
        Assert.Equal("90", _reports.Find("n0/Instance/u/0")!.Report.Status.Details["cpuPercent"]);
        Assert.True(_reports.Put(Report("1", "Converging")));
    }

    [Fact]
    public void Put_SameReportAgain_IsNews()
    {
        _reports.Put(Report("1"));
        Assert.True(_reports.Put(Report("1", at: 9)));
    }

    [Fact]
    public void Put_DetailsWithoutEnd_AreCut()
    {
        var report = Report("1");
        report.Status.Details["console"] = new string('x', 100_000);
        for (var i = 0; i < 1000; i++) report.Status.Details[$"k{i}"] = "";
        report.Status.Details[new string('k', 1000)] = "";
        _reports.Put(report);
        var kept = _reports.Find("n0/Instance/u/0")!.Report.Status.Details;
        Assert.InRange(kept.Count, 1, 32);
        Assert.All(kept, d => Assert.True(d.Key.Length <= 64 && d.Value.Length <= 2048));
    }
}
