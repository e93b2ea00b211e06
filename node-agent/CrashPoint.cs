using AgentMetal.NodeAgent.Pipeline;

namespace AgentMetal.NodeAgent;

/// <summary>
/// Ends the process, as kill -9 would, at one journal boundary: AGENTMETAL_CRASH_AT=N means the N-th boundary (two a commit: before and after
/// it is durable) since the start. The file named by AGENTMETAL_CRASH_ONCE, if given, is removed first and must exist, so that a restarted daemon
/// lives. It exists because a crash that is aimed cannot be made from outside; without the variable it is not installed.
/// </summary>
internal static class CrashPoint
{
    private static long _passed;

    public static void Install(Controller controller)
    {
        if (!long.TryParse(Environment.GetEnvironmentVariable("AGENTMETAL_CRASH_AT"), out var at) || at <= 0) return;
        var once = Environment.GetEnvironmentVariable("AGENTMETAL_CRASH_ONCE");
        controller.Boundary = (_, _) =>
        {
            if (Interlocked.Increment(ref _passed) != at) return ValueTask.CompletedTask;
            if (once is { Length: > 0 })
            {
                if (!File.Exists(once)) return ValueTask.CompletedTask;
                File.Delete(once);
            }
            System.Diagnostics.Process.GetCurrentProcess().Kill();
            return ValueTask.CompletedTask;
        };
    }
}
