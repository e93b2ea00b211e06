using System.Net;
using System.Net.Sockets;

namespace AgentMetal.LabTests.Instances;

/// <summary>A web server of the files in one directory, on an address of the lab's bridge, until it is disposed of.</summary>
internal sealed class FileServer : IDisposable
{
    private readonly string _directory;
    private readonly HttpListener _listener;

    public FileServer(string directory, string address)
    {
        _directory = directory;
        using var probe = new TcpListener(IPAddress.Parse(address), 0);
        probe.Start();
        Url = $"http://{address}:{((IPEndPoint)probe.LocalEndpoint).Port}/";
        probe.Stop();
        _listener = new() { Prefixes = { Url } };
        _listener.Start();
        _ = Task.Run(ServeAsync);
    }

    /// <summary>Ends with a slash.</summary>
    public string Url { get; }

    public void Dispose() => _listener.Close();

    private async Task ServeAsync()
    {
        while (true)
        {
            HttpListenerContext context;
            try { context = await _listener.GetContextAsync(); }
            catch (Exception e) when (e is HttpListenerException or ObjectDisposedException) { return; }
            try
            {
                await using var stream = File.OpenRead(Path.Combine(_directory, Path.GetFileName(context.Request.Url!.AbsolutePath)));
                context.Response.ContentLength64 = stream.Length;
                await stream.CopyToAsync(context.Response.OutputStream);
                context.Response.Close();
            }
            catch (Exception e) when (e is FileNotFoundException or UnauthorizedAccessException)
            {
                context.Response.StatusCode = (int)HttpStatusCode.NotFound;
                context.Response.Close();
            }
            catch (HttpListenerException) { context.Response.Abort(); } // Who asked has gone.
        }
    }
}
