using AgentMetal.Runtime.Store;

namespace AgentMetal.Coordinator.Tests.Store;

public sealed class MemoryStoreTests : StoreConformance
{
    private int made;

    protected override IStore Make(int historyLimit) => new MemoryStore($"memory-{++made}", Time, historyLimit);
}
