using AgentMetal.Cli.CommandLine;
using AgentMetal.Cli.Rendering;

namespace AgentMetal.Cli.Tests.Support;

/// <summary>A screen that can be read afterwards.</summary>
internal sealed class Paper
{
    private readonly StringWriter _out = new() { NewLine = "\n" };
    private readonly StringWriter _error = new() { NewLine = "\n" };

    internal Paper(int width = Screen.Unbounded, bool color = false, string input = "", bool canAsk = false, TimeProvider? clock = null) => Screen = new Screen
    {
        Out = _out, Error = _error, In = new StringReader(input), Width = width, Color = color, CanAsk = canAsk, Clock = clock ?? new FixedClock(FixedClock.Noon),
    };

    internal Screen Screen { get; }

    internal string Out => _out.ToString();

    internal string Error => _error.ToString();

    internal Task<int> RunAsync(params string[] args) => Root.RunAsync(Screen, args, Xunit.TestContext.Current.CancellationToken);
}
