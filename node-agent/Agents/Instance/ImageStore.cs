using System.Collections.Immutable;
using System.Net;
using System.Net.Http.Headers;
using System.Net.Security;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using AgentMetal.NodeAgent.Agents.Instance.Tools;

namespace AgentMetal.NodeAgent.Agents.Instance;

/// <summary>
/// The images of this host, by their digest, shared by all instances. A download goes on beside the passes and is seen in <see cref="Running"/>; what it
/// fetched lies beside its place until its digest and its header are right, so that an image that is there is whole and harmless. An interrupted one goes on
/// where it was, if the server can do that.
/// </summary>
internal sealed class ImageStore(TimeProvider clock, ImageDirectories? directories = null, string authorities = "/etc/ssl/certs/ca-certificates.crt") : IDisposable
{
    private const int BufferBytes = 128 * 1024;
    private const int MaxRedirects = 5;
    private const int MaxAtOnce = 4;

    /// <summary>Bytes that a host keeps free whatever an image wants.</summary>
    private const long KeepFree = 256L << 20;

    /// <summary>A server that sends less than this in <see cref="Stall"/> only holds a place that others wait for.</summary>
    private const long LeastInAStall = 64 * 1024;

    private static readonly TimeSpan Stall = TimeSpan.FromSeconds(60);
    private static readonly TimeSpan FailureIsNews = TimeSpan.FromSeconds(30);

    private sealed record Download
    {
        public long Done;
        public long Total;
        public string Failed = "";
        public DateTimeOffset Ended;
    }

    private readonly Lock _lock = new();
    private readonly Dictionary<(string Sha256, string Url), Download> _downloads = [];
    private readonly SemaphoreSlim _slots = new(MaxAtOnce);
    private readonly CancellationTokenSource _stopping = new();

    /// <summary>Downloads that run, and those that failed a moment ago.</summary>
    public ImmutableSortedDictionary<string, DownloadState> Running(IEnumerable<string> digests)
    {
        var found = ImmutableSortedDictionary.CreateBuilder<string, DownloadState>(StringComparer.Ordinal);
        lock (_lock)
            foreach (var digest in digests)
                // Of several that fetch the same the furthest speaks for it, and one that failed only when none runs.
                if (_downloads.Where(e => e.Key.Sha256 == digest && (e.Value.Failed.Length == 0 || clock.GetUtcNow() - e.Value.Ended < FailureIsNews)).Select(e => e.Value)
                    .OrderBy(d => d.Failed.Length > 0).ThenByDescending(d => Interlocked.Read(ref d.Done)).ThenByDescending(d => d.Ended).FirstOrDefault() is { } d)
                    found[digest] = new(Interlocked.Read(ref d.Done), Interlocked.Read(ref d.Total), d.Failed);
        return found.ToImmutable();
    }

    /// <summary>Begins a download, or joins the one that runs from the same URL. From another one it is fetched beside it, so that a server that is slow holds nobody else up: what is whole first is placed, and what comes later is the same.</summary>
    /// <param name="args">What and from where.</param>
    /// <param name="path">Where it belongs; its directory exists.</param>
    public void Begin(FetchArgs args, string path)
    {
        Download download;
        string partial;
        lock (_lock)
        {
            if (_downloads.TryGetValue((args.Sha256, args.Url), out var running) && running.Failed.Length == 0) return;
            var alone = !_downloads.Any(e => e.Key.Sha256 == args.Sha256 && e.Value.Failed.Length == 0);
            partial = path + (alone ? "" : "." + Convert.ToHexStringLower(SHA256.HashData(System.Text.Encoding.UTF8.GetBytes(args.Url)))[..8]) + ".partial";
            _downloads[(args.Sha256, args.Url)] = download = new();
        }
        _ = Task.Run(() => RunAsync(args, path, partial, download, _stopping.Token));
    }

    public void Dispose()
    {
        _stopping.Cancel();
        _stopping.Dispose();
    }

    private async Task RunAsync(FetchArgs args, string path, string partial, Download download, CancellationToken stop)
    {
        var failed = "";
        try
        {
            await _slots.WaitAsync(stop);
            try { failed = await FetchAsync(args, path, partial, download, stop); }
            finally { _slots.Release(); }
        }
        catch (OperationCanceledException) when (stop.IsCancellationRequested) { failed = "the daemon stops"; }
        catch (Exception e) when (e is IOException or HttpRequestException or UnauthorizedAccessException or CryptographicException or OperationCanceledException)
        {
            failed = e is OperationCanceledException ? $"no byte came for {Stall.TotalSeconds:0} s" : e.Message + (e.InnerException is { } inner ? ": " + inner.Message : "");
        }
        // Only a download that was alone is gone on with; what came beside another one would lie there for good.
        if (failed.Length > 0 && partial != path + ".partial") File.Delete(partial);
        lock (_lock)
        {
            if (failed.Length == 0) _downloads.Remove((args.Sha256, args.Url));
            else (download.Failed, download.Ended) = (failed, clock.GetUtcNow());
        }
    }

    /// <summary>Empty when the image is in its place; else why it is not.</summary>
    private static async Task<string> PlaceAsync(FetchArgs args, string partial, string path, IncrementalHash hash, CancellationToken stop)
    {
        var digest = Convert.ToHexStringLower(hash.GetHashAndReset());
        if (digest != args.Sha256)
        {
            // Nothing of it is worth keeping: a download that goes on from wrong bytes stays wrong.
            File.Delete(partial);
            // What it has is not told: of a file that nobody was to read, its digest would tell.
            return $"what {args.Url} gives does not have the SHA-256 {args.Sha256}";
        }
        var head = new byte[DiskHeader.Length];
        int length;
        using (var file = File.OpenRead(partial)) length = await file.ReadAtLeastAsync(head, head.Length, throwOnEndOfStream: false, stop);
        if (DiskHeader.Refusal(args.Format, head.AsSpan(0, length)) is { } refusal)
        {
            File.Delete(partial);
            return refusal;
        }
        File.SetUnixFileMode(partial, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.GroupRead | UnixFileMode.OtherRead);
        File.Move(partial, path, overwrite: true);
        return "";
    }

    private async Task<string> FetchAsync(FetchArgs args, string path, string partial, Download download, CancellationToken stop)
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        var url = new Uri(args.Url);
        if (url.Scheme == "file")
        {
            using var source = (directories ?? ImageDirectories.Usual).Open(url.LocalPath, out var refusal);
            if (source is null) return refusal;
            Interlocked.Exchange(ref download.Total, source.Length);
            if (Room(path, source.Length) is { } full) return full;
            using (var target = File.Create(partial)) await CopyAsync(source, target, hash, download, stop);
            return await PlaceAsync(args, partial, path, hash, stop);
        }
        using var client = Client();
        var have = await HashWhatIsThereAsync(partial, hash, stop);
        using var request = new HttpRequestMessage(HttpMethod.Get, url);
        if (have > 0) request.Headers.Range = new RangeHeaderValue(have, null);
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(stop);
        limit.CancelAfter(Stall);
        using var response = await client.SendAsync(request, HttpCompletionOption.ResponseHeadersRead, limit.Token);
        if (response.StatusCode == HttpStatusCode.RequestedRangeNotSatisfiable)
        {
            // All of it is there, or it is another file by now: the digest decides.
            return await PlaceAsync(args, partial, path, hash, stop);
        }
        if (!response.IsSuccessStatusCode) return $"{args.Url} answers {(int)response.StatusCode} {response.ReasonPhrase}";
        var goesOn = response.StatusCode == HttpStatusCode.PartialContent;
        if (!goesOn && have > 0) { hash.GetHashAndReset(); have = 0; }
        Interlocked.Exchange(ref download.Done, have);
        Interlocked.Exchange(ref download.Total, have + (response.Content.Headers.ContentLength ?? 0));
        if (Room(path, response.Content.Headers.ContentLength ?? 0) is { } noRoom) return noRoom;
        using (var target = new FileStream(partial, goesOn ? FileMode.Append : FileMode.Create, FileAccess.Write, FileShare.Read, 1))
        using (var body = await response.Content.ReadAsStreamAsync(limit.Token))
        {
            try { await CopyAsync(body, target, hash, download, stop); }
            catch (HttpIOException e) when (e.HttpRequestError == HttpRequestError.ResponseEnded) { target.Flush(flushToDisk: true); } // What came is kept, and how far it came is told below.
        }
        if (response.Content.Headers.ContentLength is { } told && Interlocked.Read(ref download.Done) - have < told)
            return $"{args.Url} ended after {Interlocked.Read(ref download.Done)} of {have + told} bytes";
        return await PlaceAsync(args, partial, path, hash, stop);
    }

    private static async Task CopyAsync(Stream source, FileStream target, IncrementalHash hash, Download download, CancellationToken stop)
    {
        var buffer = new byte[BufferBytes];
        var (since, came) = (System.Diagnostics.Stopwatch.GetTimestamp(), 0L);
        while (true)
        {
            if (System.Diagnostics.Stopwatch.GetElapsedTime(since) >= Stall)
            {
                if (came < LeastInAStall) throw new IOException($"only {came} bytes came in {Stall.TotalSeconds:0} s");
                (since, came) = (System.Diagnostics.Stopwatch.GetTimestamp(), 0);
            }
            using var limit = CancellationTokenSource.CreateLinkedTokenSource(stop);
            limit.CancelAfter(Stall);
            var count = await source.ReadAsync(buffer, limit.Token);
            if (count == 0) break;
            came += count;
            hash.AppendData(buffer, 0, count);
            await target.WriteAsync(buffer.AsMemory(0, count), stop);
            Interlocked.Add(ref download.Done, count);
        }
        target.Flush(flushToDisk: true);
    }

    private static async Task<long> HashWhatIsThereAsync(string partial, IncrementalHash hash, CancellationToken stop)
    {
        if (!File.Exists(partial)) return 0;
        using var file = File.OpenRead(partial);
        var (buffer, total) = (new byte[BufferBytes], 0L);
        while (await file.ReadAsync(buffer, stop) is > 0 and var count)
        {
            hash.AppendData(buffer, 0, count);
            total += count;
        }
        return total;
    }

    private static string? Room(string path, long bytes)
    {
        var free = new DriveInfo(Path.GetDirectoryName(path)!).AvailableFreeSpace;
        return free < bytes + KeepFree ? $"the image has {bytes >> 20} MiB, and {free >> 20} MiB are free where images are kept ({KeepFree >> 20} MiB stay free)" : null;
    }

    /// <summary>The system's certificates are read here and nowhere else in the daemon, and only for servers of images.</summary>
    private HttpClient Client()
    {
        var roots = new X509Certificate2Collection();
        if (File.Exists(authorities)) roots.ImportFromPemFile(authorities);
        var policy = new X509ChainPolicy { TrustMode = X509ChainTrustMode.CustomRootTrust, RevocationMode = X509RevocationMode.NoCheck, DisableCertificateDownloads = true };
        policy.CustomTrustStore.AddRange(roots);
        var handler = new SocketsHttpHandler
        {
            MaxAutomaticRedirections = MaxRedirects,
            ConnectTimeout = TimeSpan.FromSeconds(20),
            SslOptions = new SslClientAuthenticationOptions { CertificateChainPolicy = policy },
        };
        return new(handler) { Timeout = Timeout.InfiniteTimeSpan };
    }
}
