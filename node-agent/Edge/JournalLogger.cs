using Microsoft.Extensions.Logging;

namespace AgentMetal.NodeAgent.Edge;

/// <summary>
/// Lines to standard error with the priority prefix of sd-daemon(3), which journald understands. The framework's console logger brings an
/// options system and a background queue that a daemon of this size does not need.
/// </summary>
internal sealed class JournalLoggerProvider(LogLevel minimum) : ILoggerProvider
{
    private readonly Lock _lock = new();

    public ILogger CreateLogger(string categoryName) => new JournalLogger(this, categoryName[(categoryName.LastIndexOf('.') + 1)..]);

    public void Dispose() { }

    private sealed class JournalLogger(JournalLoggerProvider provider, string category) : ILogger
    {
        public IDisposable? BeginScope<TState>(TState state) where TState : notnull => null;

        public bool IsEnabled(LogLevel logLevel) => logLevel >= provider.Minimum && logLevel != LogLevel.None;

        public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter)
        {
            if (!IsEnabled(logLevel)) return;
            var priority = logLevel switch { LogLevel.Critical => 2, LogLevel.Error => 3, LogLevel.Warning => 4, LogLevel.Information => 6, _ => 7 };
            // One event is one line: what comes from the world may hold line breaks.
            var text = formatter(state, exception).ReplaceLineEndings(" ");
            lock (provider._lock)
            {
                Console.Error.WriteLine($"<{priority}>{category}[{eventId.Id}]: {text}");
                if (exception is not null) Console.Error.WriteLine($"<{priority}>{exception.ToString().ReplaceLineEndings(" | ")}");
            }
        }
    }

    private LogLevel Minimum => minimum;
}
