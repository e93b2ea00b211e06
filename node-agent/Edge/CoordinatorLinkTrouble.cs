using Microsoft.Extensions.Logging;

namespace AgentMetal.NodeAgent.Edge;

internal sealed partial class CoordinatorLink
{
    private static readonly TimeSpan FirstRewrite = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan LongestRewrite = TimeSpan.FromSeconds(30);

    private volatile string _trouble = "";
    private Task _writing = Task.CompletedTask;

    /// <summary>
    /// What cannot be written is tried again with a growing pause, while the stream stands and the heartbeat says why: a host whose disk is full is here, and says so,
    /// and does not come and go.
    /// </summary>
    private async Task KeptAsync(Func<Task> write, CancellationToken stop)
    {
        for (var pause = FirstRewrite; ; pause = pause * 2 < LongestRewrite ? pause * 2 : LongestRewrite)
        {
            try
            {
                await write();
                if (_trouble.Length > 0) { _trouble = ""; _outbox.Wake(); }
                return;
            }
            catch (LocalStoreException e)
            {
                if (_trouble != e.Message) LogNotKept(_log, e.Message);
                _trouble = e.Message;
                _outbox.Wake();
            }
            // Nobody reads the stream meanwhile: that it ended, the writer finds out.
            if (await Task.WhenAny(_writing, Task.Delay(pause, _clock, stop)) == _writing) throw new IOException("the stream ended while what it said could not be kept");
            stop.ThrowIfCancellationRequested();
        }
    }

    [LoggerMessage(EventId = 1109, Level = LogLevel.Warning, Message = "what the coordinator said cannot be kept: {Why}; it is tried again until it can")]
    private static partial void LogNotKept(ILogger log, string why);
}
