using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Text;

namespace AgentMetal.LabTests.Adversary;

/// <summary>One connection to a Redis: what it says is a text, a number, a list of these, or null. An error of the server is an <see
/// cref="RespException"/>.</summary>
internal sealed class RespConnection : IDisposable
{
    private readonly Socket socket;
    private readonly NetworkStream stream;
    private readonly BufferedStream input;

    private RespConnection(Socket socket)
    {
        this.socket = socket;
        stream = new(socket, ownsSocket: true);
        input = new(stream, 64 << 10);
    }

    /// <summary>By TCP, as clients do.</summary>
    public static RespConnection Tcp(string address, int port, TimeSpan patience) =>
        Open(new IPEndPoint(IPAddress.Parse(address), port), ProtocolType.Tcp, patience);

    /// <summary>Through the server's own socket: no partition keeps a look away.</summary>
    public static RespConnection Unix(string path, TimeSpan patience) =>
        Open(new UnixDomainSocketEndPoint(path), ProtocolType.Unspecified, patience);

    /// <exception cref="RespException">The server refuses it.</exception>
    /// <exception cref="IOException">It does not answer in time, or the connection ended.</exception>
    public object? Ask(params string[] words)
    {
        Send([words]);
        return Read();
    }

    public string Text(params string[] words) => Ask(words) as string ?? "";

    /// <summary>Many at once; what is refused is its error in the list.</summary>
    public IReadOnlyList<object?> AskAll(IReadOnlyList<string[]> commands)
    {
        List<object?> answers = [];
        foreach (var chunk in commands.Chunk(500))
        {
            Send(chunk);
            foreach (var _ in chunk)
            {
                try { answers.Add(Read()); }
                catch (RespException e) { answers.Add(e); }
            }
        }
        return answers;
    }

    public void Dispose()
    {
        input.Dispose();
        socket.Dispose();
    }

    private static RespConnection Open(EndPoint to, ProtocolType protocol, TimeSpan patience)
    {
        var socket = new Socket(to.AddressFamily, SocketType.Stream, protocol);
        try
        {
            socket.SendTimeout = socket.ReceiveTimeout = (int)patience.TotalMilliseconds;
            if (!socket.ConnectAsync(to).Wait(patience)) throw new IOException("no connection within " + patience);
            return new(socket);
        }
        catch (Exception e)
        {
            socket.Dispose();
            if (e is AggregateException { InnerException: SocketException inner }) throw new IOException(inner.Message, inner);
            throw;
        }
    }

    private void Send(IReadOnlyCollection<string[]> commands)
    {
        var text = new StringBuilder();
        foreach (var words in commands)
        {
            text.Append(CultureInfo.InvariantCulture, $"*{words.Length}\r\n");
            foreach (var word in words) text.Append(CultureInfo.InvariantCulture, $"${Encoding.UTF8.GetByteCount(word)}\r\n{word}\r\n");
        }
        stream.Write(Encoding.UTF8.GetBytes(text.ToString()));
    }

    private object? Read()
    {
        var line = Line();
        var rest = line[1..];
        switch (line[0])
        {
            case '+': return rest;
            case '-': throw new RespException(rest);
            case ':': return long.Parse(rest, CultureInfo.InvariantCulture);
            case '$':
                var length = int.Parse(rest, CultureInfo.InvariantCulture);
                if (length < 0) return null;
                var bytes = new byte[length + 2];
                input.ReadExactly(bytes);
                return Encoding.UTF8.GetString(bytes, 0, length);
            case '*':
                var count = int.Parse(rest, CultureInfo.InvariantCulture);
                List<object?> list = [];
                for (var i = 0; i < count; i++) list.Add(Read());
                return list;
            default: throw new IOException("not RESP: " + line);
        }
    }

    private string Line()
    {
        var line = new StringBuilder();
        while (true)
        {
            var b = input.ReadByte();
            if (b < 0) throw new IOException("the connection ended");
            if (b == '\n') return line.Length > 1 ? line.ToString() : throw new IOException("an empty line");
            if (b != '\r') line.Append((char)b);
        }
    }
}

/// <summary>What a server answered with "-".</summary>
internal sealed class RespException(string message) : Exception(message);
