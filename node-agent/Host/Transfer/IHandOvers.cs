namespace AgentMetal.NodeAgent.Host.Transfer;

/// <param name="Record">As it is on the disk.</param>
/// <param name="IsHeld">The target has said since this daemon started that it holds every file of the manifest.</param>
/// <param name="Done">Bytes that the target has asked for, or that were read for the manifest while there is none.</param>
/// <param name="Total">Bytes; 0 = not known yet.</param>
/// <param name="IsReading">The manifest is still being made.</param>
/// <param name="Problem">Why it does not go on; empty when it does.</param>
internal sealed record OfferView(Offer Record, bool IsHeld, long Done, long Total, bool IsReading, string Problem);

/// <param name="Record">As it is on the disk.</param>
/// <param name="IsReleased">The source has said since this daemon started that it has let go.</param>
/// <param name="IsDeclined">The source has said that it does not let go of what is held here, and that cannot change.</param>
/// <param name="Done">Bytes that are here.</param>
/// <param name="Total">Bytes; 0 = not known yet.</param>
/// <param name="BytesPerSecond">Since this daemon began.</param>
/// <param name="Problem">Why it does not go on; empty when it does.</param>
internal sealed record ReceiptView(Receipt Record, bool IsReleased, bool IsDeclined, long Done, long Total, long BytesPerSecond, string Problem);

/// <summary>Looks at what is handed over and received.</summary>
internal interface IHandOverReader
{
    /// <exception cref="Runtime.Planning.WorldException">There is a record that cannot be read.</exception>
    OfferView? Offer(string machine);

    /// <exception cref="Runtime.Planning.WorldException">There is a record that cannot be read.</exception>
    ReceiptView? Receipt(string machine);
}

/// <summary>
/// Hands machines over and receives them. Every call is durable when it returns, and refuses what the record does not allow: whose a machine is, is
/// decided by one write on its source (<see cref="Release"/>), which <see cref="Withdraw"/> makes impossible.
/// </summary>
internal interface IHandOverWriter
{
    /// <summary>Lets one host read the machine, which is off.</summary>
    void Open(Offer offer);

    /// <summary>Gives it away for good. Only while the target holds every file, and those are as they were when it read them.</summary>
    void Release(string machine);

    /// <summary>Ends an offer in this phase, and no other.</summary>
    void Withdraw(string machine, OfferPhase phase);

    /// <summary>Begins to take the machine from its source, or goes on.</summary>
    void Receive(Receipt receipt);

    /// <summary>Notes that it is this host's; only when the source has said so.</summary>
    void Own(string machine);

    /// <summary>Ends the receiving in this phase, and no other; what has come is removed unless it has its name already.</summary>
    ValueTask DropAsync(string machine, ReceiptPhase phase, CancellationToken stop);

    /// <summary>Removes the record of a receiving that is over.</summary>
    void Close(string machine);
}

/// <summary>A host that hands nothing over.</summary>
internal sealed class NoHandOvers : IHandOverReader, IHandOverWriter
{
    public static NoHandOvers It { get; } = new();

    public OfferView? Offer(string machine) => null;

    public ReceiptView? Receipt(string machine) => null;

    public void Open(Offer offer) => throw Refused();

    public void Release(string machine) => throw Refused();

    public void Withdraw(string machine, OfferPhase phase) => throw Refused();

    public void Receive(Receipt receipt) => throw Refused();

    public void Own(string machine) => throw Refused();

    public ValueTask DropAsync(string machine, ReceiptPhase phase, CancellationToken stop) => throw Refused();

    public void Close(string machine) => throw Refused();

    private static Runtime.Planning.WorldException Refused() => new("this host hands no machines over");
}

/// <summary>Connections between hosts, each end authenticated by the certificate that its fleet gave it.</summary>
internal interface IPeerTransport
{
    /// <summary>To the host with this uid, and no other.</summary>
    /// <exception cref="IOException">It cannot be reached, or is another one.</exception>
    ValueTask<Stream> DialAsync(string uid, string address, int port, CancellationToken stop);

    /// <summary>Serves hosts of the fleet until stopped, a bounded number at a time.</summary>
    /// <param name="serve">Is given the peer's uid, as its certificate says.</param>
    /// <param name="stop">Ends it.</param>
    /// <exception cref="IOException">The address cannot be listened at.</exception>
    Task ServeAsync(Func<string, Stream, CancellationToken, Task> serve, CancellationToken stop);
}
