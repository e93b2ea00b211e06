using AgentMetal.Coordinator.Fleet;
using AgentMetal.Proto.V1;

namespace AgentMetal.Coordinator.Nodes;

/// <summary>Brings assignments to the streams: the whole list where a node may have missed something, else what changed.</summary>
internal sealed class AssignmentFeed(FleetModel model, NodeRegistry registry, SecretShelf secrets, StoreBook book)
{
    private readonly Lock _lock = new();
    private readonly Dictionary<string, long> _listFrom = new(StringComparer.Ordinal);
    private long _start;

    /// <summary>What was deleted before this start is not known, so a node that has seen less than this is sent the list.</summary>
    public void Load() => _start = model.Current.At.Number;

    /// <summary>A stream begins: what it gets first.</summary>
    public void Begin(NodeSession session, Hello hello)
    {
        // The lock is that of Push: a change cannot fall between the view that is read here and the slot.
        lock (_lock)
        {
            var view = model.Current;
            var from = Math.Max(_start, _listFrom.GetValueOrDefault(session.Uid));
            // One that may refuse the store compares the whole list.
            var known = hello.Seen is null or { Epoch.Length: 0 } || book.Has(hello.Seen.Epoch, hello.Seen.Revision);
            if (!known || book.PutBack is not null || hello.StoreId != view.At.StoreId || hello.Revision < from || hello.Revision > view.At.Number)
                session.PutAll(view.OfNode(session.Uid).Select(r => Dressed(view, r.Value)), view.At.Number);
            else
                foreach (var row in view.OfNode(session.Uid).Where(r => r.ModifiedAt > hello.Revision))
                    session.Put(Dressed(view, row.Value), view.At.Number);
        }
    }

    /// <summary>The model changed.</summary>
    public void Push(FleetView view, FleetDelta delta)
    {
        lock (_lock)
        {
            foreach (var key in delta.Assignments)
            {
                var node = key[..key.IndexOf('/', StringComparison.Ordinal)];
                var session = registry.Session(node);
                if (view.Assignments.TryGetValue(key, out var row)) session?.Put(Dressed(view, row.Value), view.At.Number);
                else
                {
                    // What is no longer in the list can only be told by the list.
                    _listFrom[node] = view.At.Number;
                    session?.PutAll(view.OfNode(node).Select(r => Dressed(view, r.Value)), view.At.Number);
                }
            }
        }
    }

    /// <summary>The assignment with its secrets, which are nowhere but here and on the node.</summary>
    private Assignment Dressed(FleetView view, Assignment assignment)
    {
        if (assignment.Absent) return assignment;
        var dressed = assignment.Clone();
        foreach (var (name, value) in secrets.Open(view, assignment.ResourceUid)) dressed.Secrets[name] = value;
        return dressed;
    }
}
