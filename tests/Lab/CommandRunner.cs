using System.Buffers;
using System.Diagnostics;
using System.Text;

namespace AgentMetal.Testing;

/// <summary>Runs a program of this machine to its end, or to a deadline at which its whole process tree is killed.</summary>
public static class CommandRunner
{
    private const int MaxOutputBytes = 4 * 1024 * 1024;

    // How long the streams may stay open after the program has ended: a daemon that it started may hold them for ever.
    private static readonly TimeSpan StreamGrace = TimeSpan.FromSeconds(2);

    /// <param name="command">The program, looked up in PATH, and its arguments; no shell is between.</param>
    /// <param name="timeout">From the start of the program to its end.</param>
    /// <param name="stdin">What the program reads; it then sees the end of its input. Nothing: it sees the end at once.</param>
    /// <param name="environment">Added to this process's own environment.</param>
    /// <exception cref="LabException">The program could not be started, or ran past the deadline and was killed.</exception>
    public static async Task<CommandResult> RunAsync(
        IReadOnlyList<string> command,
        TimeSpan timeout,
        ReadOnlyMemory<byte> stdin = default,
        IReadOnlyDictionary<string, string>? environment = null,
        CancellationToken cancellationToken = default)
    {
        using var process = Start(command, environment);
        using var deadline = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        deadline.CancelAfter(timeout);
        using var streams = new CancellationTokenSource();
        var stdout = ReadAsync(process.StandardOutput.BaseStream, streams.Token);
        var stderr = ReadAsync(process.StandardError.BaseStream, streams.Token);
        var written = WriteAsync(process, stdin, deadline.Token);
        var timedOut = false;
        try
        {
            await process.WaitForExitAsync(deadline.Token);
        }
        catch (OperationCanceledException)
        {
            timedOut = true;
            process.Kill(entireProcessTree: true);
        }

        streams.CancelAfter(StreamGrace);
        var result = new CommandResult
        {
            Command = command,
            ExitCode = timedOut ? -1 : process.ExitCode,
            Stdout = await stdout,
            Stderr = await stderr,
        };
        await written;
        cancellationToken.ThrowIfCancellationRequested();
        return timedOut
            ? throw new LabException($"`{string.Join(' ', command)}` did not end within {timeout.TotalSeconds:0.###} s and was killed: {CommandResult.Tail(result.Stderr.Trim())}\n{CommandResult.Tail(result.Stdout.Trim())}")
            : result;
    }

    private static Process Start(IReadOnlyList<string> command, IReadOnlyDictionary<string, string>? environment)
    {
        var start = new ProcessStartInfo(command[0])
        {
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            UseShellExecute = false,
        };
        foreach (var argument in command.Skip(1))
            start.ArgumentList.Add(argument);
        foreach (var (name, value) in environment ?? new Dictionary<string, string>())
            start.Environment[name] = value;
        try
        {
            return Process.Start(start) ?? throw new LabException($"`{command[0]}` could not be started");
        }
        catch (System.ComponentModel.Win32Exception exception)
        {
            throw new LabException($"`{command[0]}` could not be started: {exception.Message}", exception);
        }
    }

    private static async Task WriteAsync(Process process, ReadOnlyMemory<byte> stdin, CancellationToken cancellationToken)
    {
        try
        {
            await process.StandardInput.BaseStream.WriteAsync(stdin, cancellationToken);
            process.StandardInput.Close();
        }
        catch (Exception exception) when (exception is IOException or OperationCanceledException)
        {
            // A program may end without reading its input; its exit code says whether that was well.
        }
    }

    private static async Task<string> ReadAsync(Stream stream, CancellationToken cancellationToken)
    {
        using var kept = new MemoryStream();
        var buffer = ArrayPool<byte>.Shared.Rent(64 * 1024);
        try
        {
            // What exceeds the cap is read and dropped, so that the program does not block on a full pipe.
            while (await stream.ReadAsync(buffer, cancellationToken) is var count and > 0)
                kept.Write(buffer, 0, (int)Math.Min(count, MaxOutputBytes - kept.Length));
        }
        catch (OperationCanceledException)
        {
            // The grace is over: what has arrived is the output.
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(buffer);
        }

        return Encoding.UTF8.GetString(kept.GetBuffer(), 0, (int)kept.Length);
    }
}
