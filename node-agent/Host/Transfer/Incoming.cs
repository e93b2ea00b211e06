using System.Buffers.Binary;
using System.Security.Cryptography;
using System.Text.Json;
using AgentMetal.NodeAgent.Host.Files;
using AgentMetal.Runtime.Planning;

namespace AgentMetal.NodeAgent.Host.Transfer;

/// <summary>
/// One machine that comes from another host. Files lie apart until each has the digest of the manifest and all are on the disk; then they take their names,
/// then the source is told. Whatever breaks is begun again where it was.
/// </summary>
internal sealed class Incoming : IAsyncDisposable
{
    /// <summary>Bytes that a host keeps free whatever comes.</summary>
    private const long KeepFree = 256L << 20;

    private static readonly TimeSpan AskAgain = TimeSpan.FromMilliseconds(500);
    private static readonly TimeSpan FirstPause = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan LongestPause = TimeSpan.FromSeconds(15);

    private readonly Lock _lock = new();
    private readonly TransferFiles _files;
    private readonly IPeerTransport _transport;
    private readonly TimeProvider _clock;
    private readonly CancellationTokenSource _stopping = new();
    private readonly Task _running;
    private long _done;
    private long _total;
    private long _moved;
    private long _since;
    private bool _released;
    private bool _declined;
    private string _problem = "";

    public Incoming(Receipt receipt, TransferFiles files, IPeerTransport transport, TimeProvider clock)
    {
        (Receipt, _files, _transport, _clock) = (receipt, files, transport, clock);
        _running = Task.Run(() => RunAsync(_stopping.Token));
    }

    public Receipt Receipt { get; private set; }

    public ReceiptView View
    {
        get
        {
            lock (_lock)
            {
                var took = _since == 0 ? 0 : _clock.GetElapsedTime(_since).TotalSeconds;
                return new(Receipt, _released, _declined, _done, _total, took > 0.5 ? (long)(_moved / took) : 0, _problem);
            }
        }
    }

    public void Own()
    {
        lock (_lock)
        {
            if (Receipt.Phase == ReceiptPhase.Owned) return;
            if (Receipt.Phase != ReceiptPhase.Held || !_released) throw new WorldException($"{Receipt.SourceName} has not said that it has let go");
            Save(Receipt with { Phase = ReceiptPhase.Owned });
        }
    }

    /// <summary>Ends it; nothing is told to the source any more.</summary>
    public async ValueTask DropAsync(ReceiptPhase phase, CancellationToken stop)
    {
        lock (_lock)
        {
            // The same lock as that of "all is here": what was confirmed is no longer only received.
            if (Receipt.Phase == ReceiptPhase.Dropped) return;
            if (Receipt.Phase != phase || phase == ReceiptPhase.Owned) throw new WorldException($"what came from {Receipt.SourceName} is {Receipt.Phase} by now, not {phase}");
            Save(Receipt with { Phase = ReceiptPhase.Dropped });
            (_released, _declined) = (false, false);
        }
        await EndAsync().WaitAsync(stop);
        _files.RemoveIncoming(Receipt.Machine);
    }

    public async ValueTask DisposeAsync()
    {
        await EndAsync();
        _stopping.Dispose();
    }

    public async Task EndAsync()
    {
        await _stopping.CancelAsync();
        await _running;
    }

    private async Task RunAsync(CancellationToken stop)
    {
        var pause = FirstPause;
        while (!stop.IsCancellationRequested && !IsOver)
        {
            try
            {
                await using var stream = await _transport.DialAsync(Receipt.Source, Receipt.Address, Receipt.Port, stop);
                pause = FirstPause;
                await ConverseAsync(stream, stop);
            }
            catch (OperationCanceledException) when (stop.IsCancellationRequested) { return; }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException or WorldException or OperationCanceledException or JsonException)
            {
                Tell(e is OperationCanceledException ? $"{Receipt.SourceName} said nothing for {Frames.Stall.TotalSeconds:0} s" : e.Message);
            }
            try { await Task.Delay(pause, _clock, stop); }
            catch (OperationCanceledException) { return; }
            pause = pause * 2 < LongestPause ? pause * 2 : LongestPause;
        }
    }

    private bool IsOver { get { lock (_lock) return Receipt.Phase is ReceiptPhase.Dropped || Receipt.Settled; } }

    private async Task ConverseAsync(Stream stream, CancellationToken stop)
    {
        var buffer = new byte[Frames.MaxAnswer];
        while (!IsOver)
        {
            var phase = View.Record.Phase;
            var went = phase switch
            {
                ReceiptPhase.Receiving => await FetchAsync(stream, buffer, stop),
                ReceiptPhase.Held => await AskWhetherReleasedAsync(stream, buffer, stop),
                _ => await TellThatOwnedAsync(stream, buffer, stop),
            };
            if (!went) await Task.Delay(AskAgain, _clock, stop);
        }
    }

    /// <summary>True when every file has its name and the source may be told so.</summary>
    private async Task<bool> FetchAsync(Stream stream, byte[] buffer, CancellationToken stop)
    {
        var (answer, length) = await AskAsync(stream, Ask.Manifest, Frames.Request(Ask.Manifest, Receipt.Machine), buffer, stop);
        if (answer == Answer.Wait)
        {
            Tell($"{Receipt.SourceName} reads its files, {(length == 1 ? buffer[0] : 0)}%");
            return false;
        }
        if (answer != Answer.Yes)
        {
            Tell($"{Receipt.SourceName} has not let this host read it yet");
            return false;
        }
        var manifest = JsonSerializer.Deserialize(buffer.AsSpan(0, length), TransferJson.Default.Manifest) ?? throw new IOException($"{Receipt.SourceName} sent no manifest");
        if (manifest.Error() is { } error) throw new IOException($"what {Receipt.SourceName} sent is no manifest: {error}");
        Begin(manifest);
        for (var i = 0; i < manifest.Files.Length; i++) await FetchAsync(stream, manifest, i, buffer, stop);
        Place(manifest);
        return true;
    }

    /// <summary>Files of another manifest are of another state of the machine.</summary>
    private void Begin(Manifest manifest)
    {
        lock (_lock)
        {
            (_total, _problem) = (manifest.Bytes, "");
            if (_since == 0) _since = _clock.GetTimestamp();
            if (Receipt.Manifest != manifest.Id)
            {
                if (Receipt.Manifest.Length == 0 && manifest.Files.FirstOrDefault(f => File.Exists(Final(f.Name))) is { } there) throw new IOException($"{Final(there.Name)} is here already, and did not come from {Receipt.SourceName}");
                _files.RemoveIncoming(Receipt.Machine);
                // Ours are those of the manifest before: nothing else was here when the receiving began.
                if (Receipt.Manifest.Length > 0 && Directory.Exists(Receipt.Directory)) Directory.Delete(Receipt.Directory, recursive: true);
                Save(Receipt with { Manifest = manifest.Id });
                _done = 0;
            }
        }
        _files.MakeIncoming(Receipt.Machine);
        var free = new DriveInfo(_files.Incoming(Receipt.Machine)).AvailableFreeSpace;
        var have = manifest.Files.Sum(f => new FileInfo(Partial(f.Name)) is { Exists: true } there ? there.Length : File.Exists(Final(f.Name)) ? f.Size : 0);
        if (free < manifest.Bytes - have + KeepFree) throw new IOException($"it has {manifest.Bytes >> 20} MiB, and {free >> 20} MiB are free here ({KeepFree >> 20} MiB stay free)");
        lock (_lock) _done = Math.Min(have, manifest.Bytes);
    }

    private async Task FetchAsync(Stream stream, Manifest manifest, int index, byte[] buffer, CancellationToken stop)
    {
        var wanted = manifest.Files[index];
        if (File.Exists(Final(wanted.Name))) return; // Only what is right has its name.
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        using (var file = new FileStream(Partial(wanted.Name), FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.Read, 1, FileOptions.Asynchronous))
        {
            File.SetUnixFileMode(file.SafeFileHandle, UnixFileMode.UserRead | UnixFileMode.UserWrite);
            if (file.Length > wanted.Size) file.SetLength(0);
            var at = await HashWhatIsThereAsync(file, hash, stop);
            while (at < wanted.Size)
            {
                var count = (int)Math.Min(Frames.MaxRead, wanted.Size - at);
                var (answer, length) = await AskAsync(stream, Ask.Read, Frames.Request(Ask.Read, Receipt.Machine, manifest.Id, index, at, count), buffer, stop);
                if (answer == Answer.Zeros && length == 4 && BinaryPrimitives.ReadInt32BigEndian(buffer) == count)
                {
                    Array.Clear(buffer, 0, count);
                    file.SetLength(at + count); // A hole, which reads as zeros.
                }
                else if (answer == Answer.Yes && length == count) await RandomAccess.WriteAsync(file.SafeFileHandle, buffer.AsMemory(0, count), at, stop);
                else throw new IOException($"{Receipt.SourceName} does not offer {wanted.Name} as it did: it is asked anew");
                hash.AppendData(buffer, 0, count);
                at += count;
                lock (_lock) (_done, _moved) = (Math.Min(_total, _done + count), _moved + count);
            }
            file.Flush(flushToDisk: true);
            RandomAccess.FlushToDisk(file.SafeFileHandle);
        }
        var digest = Convert.ToHexStringLower(hash.GetHashAndReset());
        if (digest == wanted.Sha256) return;
        // A file that goes on from wrong bytes stays wrong.
        File.Delete(Partial(wanted.Name));
        throw new IOException($"{wanted.Name} came with SHA-256 {digest[..12]}…, not {wanted.Sha256[..12]}…: refused, and fetched again");
    }

    /// <summary>All or nothing would need a rename of the directory, which may be there; a part of them is found and finished.</summary>
    private void Place(Manifest manifest)
    {
        lock (_lock)
        {
            if (Receipt.Phase != ReceiptPhase.Receiving) return;
            if (!Directory.Exists(Receipt.Directory))
            {
                Directory.CreateDirectory(Path.GetDirectoryName(Receipt.Directory)!, Passable);
                Directory.CreateDirectory(Receipt.Directory, Passable);
            }
            foreach (var f in manifest.Files)
                if (!File.Exists(Final(f.Name))) File.Move(Partial(f.Name), Final(f.Name));
            DirectorySync.Of(Receipt.Directory);
            DirectorySync.Of(Path.GetDirectoryName(Receipt.Directory)!);
            Save(Receipt with { Phase = ReceiptPhase.Held });
        }
    }

    private async Task<bool> AskWhetherReleasedAsync(Stream stream, byte[] buffer, CancellationToken stop)
    {
        var (answer, _) = await AskAsync(stream, Ask.Held, Frames.Request(Ask.Held, Receipt.Machine, Receipt.Manifest), buffer, stop);
        lock (_lock)
        {
            if (Receipt.Phase != ReceiptPhase.Held) return true;
            _problem = "";
            if (answer == Answer.Yes) _released = true;
            // The offer is withdrawn, or has another manifest: it has not let go of this one and never will.
            if (answer == Answer.No) (_declined, _problem) = (!_released, $"{Receipt.SourceName} offers it no longer as it came");
        }
        if (answer != Answer.No) return false;
        var (offered, length) = await AskAsync(stream, Ask.Manifest, Frames.Request(Ask.Manifest, Receipt.Machine), buffer, stop);
        if (offered == Answer.Yes && JsonSerializer.Deserialize(buffer.AsSpan(0, length), TransferJson.Default.Manifest) is { } other && other.Error() is null && other.Id != Receipt.Manifest)
            lock (_lock)
                if (Receipt.Phase == ReceiptPhase.Held && !_released)
                {
                    Save(Receipt with { Phase = ReceiptPhase.Receiving });
                    _declined = false;
                }
        return false;
    }

    private async Task<bool> TellThatOwnedAsync(Stream stream, byte[] buffer, CancellationToken stop)
    {
        var (answer, _) = await AskAsync(stream, Ask.Settled, Frames.Request(Ask.Settled, Receipt.Machine, Receipt.Manifest), buffer, stop);
        if (answer == Answer.Yes)
            lock (_lock)
                if (Receipt.Phase == ReceiptPhase.Owned) Save(Receipt with { Settled = true });
        return answer == Answer.Yes;
    }

    private static async ValueTask<(Answer Answer, int Length)> AskAsync(Stream stream, Ask ask, byte[] body, byte[] buffer, CancellationToken stop)
    {
        await Frames.WriteAsync(stream, (byte)ask, body, stop);
        return await Frames.ReadAsync(stream, buffer, stop) is var (what, length) ? ((Answer)what, length) : throw new IOException("the other host ended the connection");
    }

    private static async Task<long> HashWhatIsThereAsync(FileStream file, IncrementalHash hash, CancellationToken stop)
    {
        var (buffer, total) = (new byte[Frames.MaxRead], 0L);
        while (await file.ReadAsync(buffer, stop) is > 0 and var count)
        {
            hash.AppendData(buffer, 0, count);
            total += count;
        }
        return total;
    }

    private const UnixFileMode Passable = UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute | UnixFileMode.GroupExecute | UnixFileMode.OtherExecute;

    private string Partial(string name) => Path.Combine(_files.Incoming(Receipt.Machine), name);

    private string Final(string name) => Path.Combine(Receipt.Directory, name);

    private void Tell(string problem)
    {
        lock (_lock) _problem = problem;
    }

    private void Save(Receipt next)
    {
        _files.Save(next);
        Receipt = next;
    }
}
