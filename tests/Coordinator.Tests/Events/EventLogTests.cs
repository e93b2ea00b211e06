using AgentMetal.Coordinator.Events;
using Microsoft.Extensions.Logging.Abstractions;
using Xunit;

namespace AgentMetal.Coordinator.Tests.Events;

public sealed class EventLogTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("agentmetal-events-").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public void Log_OverItsCapacity_KeepsTheNewestAlsoAfterARestart()
    {
        using (var log = Open())
            for (var i = 1; i <= EventLog.Capacity + 500; i++) log.Note("edge-1", "", "Happened", $"no {i}");
        File.AppendAllText(Path.Combine(_folder, "events.jsonl"), "{\"seq\":");
        using var again = Open();
        Assert.Equal(EventLog.Capacity + 500, again.Last);
        Assert.Equal(EventLog.Capacity, again.List(0, 0, "", "").Count);
        Assert.Equal("no 501", again.List(0, 0, "", "")[0].Message);
        again.Warn("", "Redis default/x", "Next", "after");
        Assert.Equal(EventLog.Capacity + 501, again.Last);
        Assert.Equal("after", Assert.Single(again.List(0, 5, "Redis default/x", "")).Message);
    }

    [Fact]
    public async Task Watch_FromASequenceNumber_GivesWhatWasAndWhatComes()
    {
        using var log = Open();
        for (var i = 1; i <= 3; i++) log.Note("", "", "Happened", $"no {i}");
        var seen = new List<string>();
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(TestContext.Current.CancellationToken);
        await foreach (var e in log.WatchAsync(1, "", "", stop.Token))
        {
            seen.Add(e.Message);
            if (seen.Count == 2) log.Note("", "", "Happened", "no 4");
            if (seen.Count == 3) break;
        }
        Assert.Equal(["no 2", "no 3", "no 4"], seen);
    }

    private EventLog Open() => new(_folder, TimeProvider.System, NullLogger<EventLog>.Instance);
}
