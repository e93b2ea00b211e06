using System.CommandLine;
using AgentMetal.Cli.CommandLine;
using AgentMetal.Cli.Get;
using AgentMetal.Runtime.Resources;

namespace AgentMetal.Cli.Schema;

/// <summary>The fields of a kind: documentation for people, JSON Schema for editors. Asks no coordinator.</summary>
internal static class SchemaCommand
{
    internal static Command Build(Shell shell)
    {
        var path = new Argument<string?>("KIND[.PATH]") { Description = "Such as redis or redis.spec.persistence", Arity = ArgumentArity.ZeroOrOne };
        path.CompletionSources.Add(_ => KindCatalog.All.SelectMany(Paths).Select(p => new System.CommandLine.Completions.CompletionItem(p)));
        var json = new Option<bool>("--json-schema") { Description = "The whole kind as JSON Schema (draft 2020-12)" };
        var command = new Command("schema", "The fields of a kind, what they mean and cost") { path, json };
        shell.Handle(command, (session, parsed, _) =>
        {
            if (parsed.GetValue(path) is not { } text)
            {
                foreach (var each in KindCatalog.All) session.Screen.Line($"{each.Kind.ToLowerInvariant()}  {each.Doc}");
                return Task.FromResult(ExitCode.Ok);
            }
            var (name, inside) = text.IndexOf('.', StringComparison.Ordinal) is >= 0 and var at ? (text[..at], text[(at + 1)..]) : (text, "");
            var kind = KindCatalog.Find(KindNames.Normal(name) is "all" ? "" : name)
                ?? throw new CommandFailedException(new(ExitCode.BadInput, $"\"{name}\" is not a kind", "see them: agentmetal schema"));
            if (parsed.GetValue(json) || session.Format == OutputFormat.Json)
            {
                session.Screen.Out.WriteLine(SchemaText.JsonSchema(kind));
                return Task.FromResult(ExitCode.Ok);
            }
            var explained = SchemaText.Explain(kind, inside) ?? throw new CommandFailedException(new(ExitCode.NotFound, $"{kind.Kind} has no field {inside}", $"see its fields: agentmetal schema {name}"));
            session.Screen.Out.Write(explained);
            return Task.FromResult(ExitCode.Ok);
        });
        return command;
    }

    private static IEnumerable<string> Paths(KindSchema kind)
    {
        var root = kind.Kind.ToLowerInvariant();
        return new[] { root }.Concat(Below(kind.Spec, root + ".spec"));

        static IEnumerable<string> Below(IEnumerable<Field> fields, string path) => fields.SelectMany(f => new[] { $"{path}.{f.Name}" }.Concat(Below(f.Fields, $"{path}.{f.Name}")));
    }
}
