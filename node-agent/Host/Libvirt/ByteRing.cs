namespace AgentMetal.NodeAgent.Host.Libvirt;

/// <summary>So many bytes at most, first in, first out. Not safe for two threads.</summary>
internal sealed class ByteRing(int capacity)
{
    private readonly byte[] _bytes = new byte[capacity];
    private int _start;

    /// <summary>Bytes that wait.</summary>
    internal int Count { get; private set; }

    /// <summary>Adds bytes for which there is room.</summary>
    /// <exception cref="ArgumentException">There is not.</exception>
    internal void Add(ReadOnlySpan<byte> bytes)
    {
        if (bytes.Length > capacity - Count)
            throw new ArgumentException($"{bytes.Length} bytes do not fit beside {Count}.", nameof(bytes));

        var end = (_start + Count) % capacity;
        var first = Math.Min(bytes.Length, capacity - end);
        bytes[..first].CopyTo(_bytes.AsSpan(end));
        bytes[first..].CopyTo(_bytes);
        Count += bytes.Length;
    }

    /// <summary>Adds bytes and drops the oldest where there is no room.</summary>
    internal void AddNewest(ReadOnlySpan<byte> bytes)
    {
        if (bytes.Length > capacity)
            bytes = bytes[^capacity..];
        Drop(Math.Max(0, Count + bytes.Length - capacity));
        Add(bytes);
    }

    /// <summary>Copies the oldest bytes, as many as there are and fit.</summary>
    internal int Peek(Span<byte> into)
    {
        var count = Math.Min(into.Length, Count);
        var first = Math.Min(count, capacity - _start);
        _bytes.AsSpan(_start, first).CopyTo(into);
        _bytes.AsSpan(0, count - first).CopyTo(into[first..]);
        return count;
    }

    /// <summary>Forgets the oldest bytes.</summary>
    internal void Drop(int count)
    {
        _start = (_start + count) % capacity;
        Count -= count;
    }

    /// <summary>Copies the oldest bytes and forgets them.</summary>
    internal int Take(Span<byte> into)
    {
        var count = Peek(into);
        Drop(count);
        return count;
    }
}
