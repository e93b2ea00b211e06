using System.CommandLine;
using AgentMetal.Cli.CommandLine;
using AgentMetal.Cli.Completion;
using AgentMetal.Proto.V1;

namespace AgentMetal.Cli.Get;

/// <summary>KIND and NAME, or KIND/NAME, as every command about one resource takes them.</summary>
internal sealed class OneResource
{
    private readonly Argument<string> _kind = new("KIND") { Description = "A kind such as redis" };
    private readonly Argument<string?> _name;

    internal OneResource(Shell shell, string what)
    {
        _name = new("NAME") { Description = what, Arity = ArgumentArity.ZeroOrOne };
        _kind.CompletionSources.Add(KindNames.Known);
        _name.CompletionSources.Add(Suggestions.Resources(shell, c => c.ParseResult.GetValue(_kind) ?? ""));
    }

    internal void AddTo(Command command)
    {
        command.Add(_kind);
        command.Add(_name);
    }

    /// <summary>In the project of the session.</summary>
    internal GetRequest Of(Session session, ParseResult parsed)
    {
        var (kind, name) = KindNames.One(parsed.GetRequiredValue(_kind), parsed.GetValue(_name));
        return new() { Project = session.Project, Kind = kind, Name = name };
    }

    internal static DeleteRequest ToDelete(GetRequest one) => new() { Project = one.Project, Kind = one.Kind, Name = one.Name };
}
