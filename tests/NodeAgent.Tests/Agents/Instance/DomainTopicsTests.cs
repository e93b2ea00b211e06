using AgentMetal.NodeAgent.Agents.Instance;
using AgentMetal.NodeAgent.Pipeline;
using AgentMetal.NodeAgent.Tests.Host.Libvirt;

namespace AgentMetal.NodeAgent.Tests.Agents.Instance;

/// <summary>With the real library and its test driver: what happens to a domain is a reason to look at whoever has it, and a watch that begins is one to look at all.</summary>
public sealed class DomainTopicsTests : IAsyncDisposable
{
    private readonly TestHost _host = new();

    public ValueTask DisposeAsync() => _host.DisposeAsync();

    [Fact]
    public async Task Watch_ADomainThatStops_NamesItAndWhoeverTookOneOverByName()
    {
        var stop = TestContext.Current.CancellationToken;
        var uuid = await _host.DefineAsync(1, "watched");
        var topics = new DomainTopics(_host.Reader);
        Assert.True(topics.Covers(DomainTopics.Of(uuid)) && topics.Covers(DomainTopics.Of("")) && !topics.Covers("unit/ssh.service"));
        using var deadline = CancellationTokenSource.CreateLinkedTokenSource(stop);
        deadline.CancelAfter(TestHost.Patience);
        await using var told = topics.WatchAsync(deadline.Token).GetAsyncEnumerator(deadline.Token);
        Assert.True(await told.MoveNextAsync());
        Assert.Equal(TopicWatches.All, told.Current);

        Assert.True((await _host.Writer.CreateAsync(uuid, TestHost.Patience, stop)).IsDone);
        Assert.True((await _host.Writer.DestroyAsync(uuid, graceful: false, TestHost.Patience, stop)).IsDone);
        foreach (var topic in (string[])[DomainTopics.Of(uuid), DomainTopics.Of("")])
        {
            Assert.True(await told.MoveNextAsync());
            Assert.Equal(topic, told.Current);
        }
    }
}
