using System.Text;
using AgentMetal.Cli.CommandLine;
using AgentMetal.Cli.Rendering;
using AgentMetal.Cli.SerialConsole;

namespace AgentMetal.Cli.Tests.Support;

/// <summary>A screen that can be read afterwards.</summary>
internal sealed class Paper
{
    private readonly StringBuilder _out = new();
    private readonly StringBuilder _error = new();

    internal Paper(int width = Screen.Unbounded, bool color = false, string input = "", bool canAsk = false, TimeProvider? clock = null, Func<TerminalPort>? port = null) => Screen = new Screen
    {
        Out = new StringWriter(_out) { NewLine = "\n" },
        Error = new StringWriter(_error) { NewLine = "\n" },
        In = new StringReader(input),
        Width = width,
        Color = color,
        CanAsk = canAsk,
        Port = port ?? TerminalPort.Real,
        Clock = clock ?? new FixedClock(FixedClock.Noon),
    };

    internal Screen Screen { get; }

    internal string Out => _out.ToString();

    internal string Error => _error.ToString();

    internal Task<int> RunAsync(params string[] args) => Root.RunAsync(Screen, args, Xunit.TestContext.Current.CancellationToken);
}
