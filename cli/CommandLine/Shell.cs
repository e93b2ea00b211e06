using System.CommandLine;
using AgentMetal.Cli.Home;
using AgentMetal.Cli.Link;
using AgentMetal.Cli.Rendering;
using Grpc.Core;

namespace AgentMetal.Cli.CommandLine;

/// <summary>The options that every command has, and the one place where failures become words and exit codes.</summary>
internal sealed class Shell(Screen screen)
{
    internal Option<string?> HomeOption { get; } = new("--home")
    {
        Description = "The operator's home (default: $AGENTMETAL_HOME, else ~/.agentmetal)",
        HelpName = "DIR",
        Recursive = true,
    };

    internal Option<string?> CoordinatorOption { get; } = new("--coordinator")
    {
        Description = "The coordinator to ask: HOST or HOST:PORT (default: the home's)",
        HelpName = "HOST:PORT",
        Recursive = true,
    };

    internal Option<OutputFormat> OutputOption { get; } = new("--output", "-o")
    {
        Description = "table, wide, json, yaml, name or raw",
        HelpName = "FORMAT",
        Recursive = true,
        DefaultValueFactory = _ => OutputFormat.Table,
        CustomParser = result =>
        {
            if (Enum.TryParse<OutputFormat>(result.Tokens[0].Value, ignoreCase: true, out var format) && Enum.IsDefined(format) && !char.IsAsciiDigit(result.Tokens[0].Value[0])) return format;
            result.AddError($"-o: \"{result.Tokens[0].Value}\" is not one of table, wide, json, yaml, name, raw");
            return default;
        },
    };

    internal Option<string?> ProjectOption { get; } = new("--project", "-p")
    {
        Description = "The project (default: default)",
        HelpName = "PROJECT",
        Recursive = true,
    };

    internal Option<bool> NoColorOption { get; } = new("--no-color") { Description = "No colours (also: NO_COLOR=1)", Recursive = true };

    internal Option<TimeSpan?> TimeoutOption { get; } = LengthOption("--timeout", "How long to wait at most: 90s, 5m, 1h (default: 10s a call, 5m where a command waits)", recursive: true);

    internal Screen Screen => screen;

    internal void AddTo(RootCommand root)
    {
        OutputOption.CompletionSources.Add("table", "wide", "json", "yaml", "name", "raw");
        foreach (var option in new Option[] { HomeOption, CoordinatorOption, OutputOption, ProjectOption, NoColorOption, TimeoutOption }) root.Add(option);
    }

    /// <summary>An option that takes a duration.</summary>
    internal static Option<TimeSpan?> LengthOption(string name, string description, bool recursive = false) => new(name)
    {
        Description = description,
        HelpName = "TIME",
        Recursive = recursive,
        CustomParser = result =>
        {
            if (When.ParseLength(result.Tokens[0].Value) is { } length) return length;
            result.AddError($"{name}: \"{result.Tokens[0].Value}\" is not a time such as 90s, 5m, 1h or 7d");
            return null;
        },
    };

    /// <summary>An option that takes a whole number, 1 to <paramref name="most"/>.</summary>
    internal static Option<int> CountOption(string name, string description, int usual, int most) => new(name)
    {
        Description = description,
        HelpName = "NUMBER",
        DefaultValueFactory = _ => usual,
        CustomParser = result =>
        {
            if (int.TryParse(result.Tokens[0].Value, System.Globalization.NumberStyles.None, System.Globalization.CultureInfo.InvariantCulture, out var number) && number >= 1 && number <= most) return number;
            result.AddError($"{name}: \"{result.Tokens[0].Value}\" is not a whole number from 1 to {most}");
            return usual;
        },
    };

    /// <summary>Two options of which one at most makes sense: whoever gives both is asked which, and not obeyed in one of them.</summary>
    internal static void NotBoth(Command command, Option<bool> one, Option<bool> other) => command.Validators.Add(result =>
    {
        if (result.GetValue(one) && result.GetValue(other)) result.AddError($"{one.Name} and {other.Name} were both given: leave one of the two out");
    });

    /// <summary>Options of the form k=v, given any number of times.</summary>
    internal static Option<Dictionary<string, string>> LabelsOption(string description, params string[] names) => new(names[0], names[1..])
    {
        Description = description,
        HelpName = "KEY=VALUE",
        Arity = ArgumentArity.OneOrMore,
        DefaultValueFactory = _ => [],
        CustomParser = result =>
        {
            var labels = new Dictionary<string, string>(StringComparer.Ordinal);
            foreach (var part in result.Tokens.SelectMany(t => t.Value.Split(',')))
            {
                if (part.IndexOf('=', StringComparison.Ordinal) is > 0 and var at && labels.TryAdd(part[..at], part[(at + 1)..])) continue;
                result.AddError($"{names[0]}: \"{part}\" is not KEY=VALUE, or its key is there twice");
            }
            return labels;
        },
    };

    /// <summary>What a parsed command line asks for.</summary>
    internal Session Open(ParseResult parsed) => new(screen, OperatorHome.At(parsed.GetValue(HomeOption)))
    {
        Coordinator = parsed.GetValue(CoordinatorOption),
        Format = parsed.GetValue(OutputOption),
        ProjectGiven = parsed.GetValue(ProjectOption),
        Timeout = parsed.GetValue(TimeoutOption),
    };

    /// <summary>Makes the command do this, with every way it can fail turned into a message, a next step and an exit code.</summary>
    internal void Handle(Command command, Func<Session, ParseResult, CancellationToken, Task<ExitCode>> run) =>
        command.SetAction(async (parsed, stop) =>
        {
            if (parsed.GetValue(NoColorOption)) screen.Color = false;
            Session opened;
            try { opened = Open(parsed); }
            catch (CommandFailedException e) { return (int)e.Failure.Write(screen); }
            using var session = opened;
            try
            {
                return (int)await run(session, parsed, stop);
            }
            catch (CommandFailedException e)
            {
                return (int)e.Failure.Write(screen);
            }
            catch (OperationCanceledException) when (stop.IsCancellationRequested)
            {
                return (int)ExitCode.Interrupted;
            }
            catch (RpcException e) when (e.StatusCode == StatusCode.Cancelled && stop.IsCancellationRequested)
            {
                return (int)ExitCode.Interrupted;
            }
            catch (RpcException e)
            {
                return (int)RpcFailure.Of(e, session.Address, session.Refusal).Write(screen);
            }
            catch (Exception e) when (e is ArgumentException or InvalidOperationException or FormatException)
            {
                return (int)new Failure(ExitCode.Failed, $"agentmetal failed at something it should have told ({e.GetType().Name}): {e.Message.Split(" (Parameter ")[0]}", "this is a fault of agentmetal: report it with the command that you ran").Write(screen);
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                return (int)new Failure(ExitCode.Failed, e.Message, "check the path and its permissions").Write(screen);
            }
        });
}
