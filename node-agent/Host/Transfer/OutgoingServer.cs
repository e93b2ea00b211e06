using System.Buffers.Binary;
using System.Text.Json;

namespace AgentMetal.NodeAgent.Host.Transfer;

/// <summary>Answers one host. What is not offered to exactly that host is not there for it.</summary>
internal sealed class OutgoingServer(Func<string, Outgoing?> find)
{
    public async Task ServeAsync(string peer, Stream stream, CancellationToken stop)
    {
        var request = new byte[Frames.MaxRequest];
        var answer = new byte[Frames.MaxRead];
        while (await Frames.ReadAsync(stream, request, stop) is var (what, length))
        {
            if (Frames.Read((Ask)what, request.AsSpan(0, length)) is not var (machine, manifest, file, offset, count) || count is < 0 or > Frames.MaxRead) return;
            var found = find(machine) is { } outgoing && outgoing.Offer.Target == peer ? outgoing : null;
            await (found is null ? Say(stream, Answer.No, stop) : (Ask)what switch
            {
                Ask.Manifest => ManifestAsync(found, stream, stop),
                Ask.Read => ReadAsync(found, stream, manifest, file, offset, answer.AsMemory(0, count), stop),
                Ask.Held => Say(stream, found.Held(manifest) switch { true => Answer.Yes, false => Answer.Wait, null => Answer.No }, stop),
                _ => Say(stream, found.Settle(manifest) ? Answer.Yes : Answer.No, stop),
            });
        }
    }

    private static ValueTask Say(Stream stream, Answer answer, CancellationToken stop) => Frames.WriteAsync(stream, (byte)answer, default, stop);

    private static ValueTask ManifestAsync(Outgoing outgoing, Stream stream, CancellationToken stop)
    {
        if (outgoing.Offer.Phase != OfferPhase.Offered) return Say(stream, Answer.No, stop);
        return outgoing.Manifest is { } manifest ? Frames.WriteAsync(stream, (byte)Answer.Yes, JsonSerializer.SerializeToUtf8Bytes(manifest, TransferJson.Default.Manifest), stop)
            : Frames.WriteAsync(stream, (byte)Answer.Wait, new[] { (byte)outgoing.Percent }, stop);
    }

    private static async ValueTask ReadAsync(Outgoing outgoing, Stream stream, string manifest, int file, long offset, Memory<byte> into, CancellationToken stop)
    {
        if (outgoing.Offer.Phase != OfferPhase.Offered || await outgoing.ReadAsync(manifest, file, offset, into, stop) is not { } got) await Say(stream, Answer.No, stop);
        else if (into.Span[..got].IndexOfAnyExcept((byte)0) < 0)
        {
            var zeros = new byte[4];
            BinaryPrimitives.WriteInt32BigEndian(zeros, got);
            await Frames.WriteAsync(stream, (byte)Answer.Zeros, zeros, stop);
        }
        else await Frames.WriteAsync(stream, (byte)Answer.Yes, into[..got], stop);
    }
}
