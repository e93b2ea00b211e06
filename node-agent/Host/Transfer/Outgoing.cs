using System.Collections.Immutable;
using System.Security.Cryptography;
using AgentMetal.Runtime.Planning;

namespace AgentMetal.NodeAgent.Host.Transfer;

/// <summary>One machine that is offered to a host: its manifest is made once, ranges of its files are read, and what the target says is kept.</summary>
internal sealed class Outgoing(Offer offer, TransferFiles files)
{
    private const int BufferBytes = 256 * 1024;

    private readonly Lock _lock = new();
    private Manifest? _manifest = offer.Phase == OfferPhase.Offered ? files.Manifest(offer.Machine) : null;
    private long _done;
    private long _total;
    private bool _held;
    private string _problem = "";

    public Offer Offer { get; private set; } = offer;

    public OfferView View { get { lock (_lock) return new(Offer, _held, _done, _total, Offer.Phase == OfferPhase.Offered && _manifest is null, _problem); } }

    /// <summary>Reads every file once and keeps what it found; what changes after that voids it.</summary>
    public async Task MakeManifestAsync(CancellationToken stop)
    {
        if (Manifest is not null || Offer.Phase != OfferPhase.Offered) return;
        try
        {
            var found = Found();
            lock (_lock) (_done, _total, _problem) = (0, found.Sum(f => f.Length), "");
            var made = ImmutableArray.CreateBuilder<ManifestFile>();
            foreach (var file in found) made.Add(new(file.Name, file.Length, await DigestAsync(file.FullName, stop), file.LastWriteTimeUtc.Ticks));
            var manifest = new Manifest(Convert.ToHexStringLower(RandomNumberGenerator.GetBytes(16)), made.DrainToImmutable());
            if (Changed(manifest) is { } changed) throw new WorldException(changed);
            if (Offer.Phase != OfferPhase.Offered) return;
            files.Save(Offer.Machine, manifest);
            lock (_lock) (_manifest, _done, _total, _held) = (manifest, 0, manifest.Bytes, false);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or WorldException)
        {
            lock (_lock) _problem = "its files cannot be read: " + e.Message;
        }
    }

    public Manifest? Manifest { get { lock (_lock) return _manifest; } }

    public int Percent { get { lock (_lock) return _total == 0 ? 0 : (int)Math.Min(99, 100 * _done / _total); } }

    /// <summary>Bytes of a file of the manifest; null when the request does not fit it.</summary>
    public async ValueTask<int?> ReadAsync(string manifest, int file, long offset, Memory<byte> into, CancellationToken stop)
    {
        if (Manifest is not { } m || m.Id != manifest || file >= m.Files.Length || offset < 0 || offset > m.Files[file].Size - into.Length || into.Length == 0) return null;
        // The name is the manifest's own, made by this host; a link that somebody put there meanwhile is not followed.
        var path = Path.Combine(Offer.Directory, m.Files[file].Name);
        if (new FileInfo(path) is not { Exists: true, LinkTarget: null }) return null;
        using var handle = File.OpenHandle(path);
        var got = 0;
        while (got < into.Length)
        {
            var read = await RandomAccess.ReadAsync(handle, into[got..], offset + got, stop);
            if (read == 0) return null;
            got += read;
        }
        lock (_lock) _done = Math.Min(_total, m.Files.Take(file).Sum(f => f.Size) + offset + got);
        return got;
    }

    /// <summary>The target holds all of this manifest.</summary>
    /// <returns>Whether it is the target's by now; null = there is no such manifest.</returns>
    public bool? Held(string manifest)
    {
        lock (_lock)
        {
            if (Offer.Phase is OfferPhase.Released or OfferPhase.Settled) return Offer.Manifest == manifest ? true : null;
            if (Offer.Phase == OfferPhase.Withdrawn || _manifest?.Id != manifest) return null;
            (_held, _done) = (true, _total);
            return false;
        }
    }

    /// <summary>Only while the target holds every file as it is now.</summary>
    public void Release()
    {
        var manifest = Manifest;
        if (Offer.Phase is OfferPhase.Released or OfferPhase.Settled) return;
        if (Offer.Phase == OfferPhase.Withdrawn) throw new WorldException("it is not offered any more");
        if (manifest is null || !View.IsHeld) throw new WorldException($"{Offer.TargetName} has not said that it has everything");
        if (Changed(manifest) is { } changed)
        {
            lock (_lock) (_manifest, _held) = (null, false);
            files.RemoveManifest(Offer.Machine);
            throw new WorldException($"{changed} after it was read: it is read anew");
        }
        Save(Offer with { Phase = OfferPhase.Released, Manifest = manifest.Id });
    }

    /// <summary>It stays here. What the target was told is only that it may read.</summary>
    public void Withdraw() => Save(Offer with { Phase = OfferPhase.Withdrawn });

    public bool Settle(string manifest)
    {
        if (Offer.Manifest != manifest || Offer.Phase is OfferPhase.Offered or OfferPhase.Withdrawn) return false;
        if (Offer.Phase == OfferPhase.Released) Save(Offer with { Phase = OfferPhase.Settled });
        return true;
    }

    /// <summary>What belongs to the machine, in the order of names.</summary>
    private List<FileInfo> Found()
    {
        var directory = Offer.Directory;
        if (!Directory.Exists(directory)) return [];
        var found = new List<FileInfo>();
        foreach (var entry in new DirectoryInfo(directory).EnumerateFileSystemInfos())
        {
            if (files.StaysHere(entry.Name)) continue;
            if (entry is not FileInfo file || entry.LinkTarget is not null || !Transfer.Manifest.IsName(entry.Name)) throw new WorldException($"{entry.FullName} is nothing that can be handed over");
            found.Add(file);
            if (found.Count > Transfer.Manifest.MaxFiles) throw new WorldException($"{directory} holds more than {Transfer.Manifest.MaxFiles} files");
        }
        found.Sort(static (a, b) => string.CompareOrdinal(a.Name, b.Name));
        return found;
    }

    private string? Changed(Manifest manifest)
    {
        var now = Found();
        if (!now.Select(f => f.Name).SequenceEqual(manifest.Files.Select(f => f.Name))) return "its files are others than they were";
        for (var i = 0; i < now.Count; i++)
            if (now[i].Length != manifest.Files[i].Size || now[i].LastWriteTimeUtc.Ticks != manifest.Files[i].Written) return $"{now[i].Name} was written";
        return null;
    }

    private async Task<string> DigestAsync(string path, CancellationToken stop)
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        using var file = new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite, 1, FileOptions.SequentialScan | FileOptions.Asynchronous);
        var buffer = new byte[BufferBytes];
        while (await file.ReadAsync(buffer, stop) is > 0 and var count)
        {
            hash.AppendData(buffer, 0, count);
            lock (_lock) _done += count;
        }
        return Convert.ToHexStringLower(hash.GetHashAndReset());
    }

    private void Save(Offer next)
    {
        files.Save(next);
        lock (_lock) Offer = next;
    }
}
