using System.CommandLine.Completions;
using AgentMetal.Cli.CommandLine;
using AgentMetal.Proto.V1;
using Grpc.Core;

namespace AgentMetal.Cli.Completion;

/// <summary>Names from the coordinator for the shell's Tab key: 300 ms at most, and silence when it does not answer.</summary>
internal static class Suggestions
{
    private static readonly TimeSpan s_deadline = TimeSpan.FromMilliseconds(300);

    internal static Func<CompletionContext, IEnumerable<CompletionItem>> Nodes(Shell shell) => context =>
        Ask(shell, context, session => session.Client.ListNodes(new ListNodesRequest(), Quick()).Nodes.Select(n => n.Name));

    /// <param name="kind">Reads the kind that stands before the name on the line; empty = all.</param>
    internal static Func<CompletionContext, IEnumerable<CompletionItem>> Resources(Shell shell, Func<CompletionContext, string> kind) => context =>
        Ask(shell, context, session => session.Client.List(new ListRequest { Project = session.Project, Kind = Get.KindNames.Normal(kind(context) is { Length: > 0 } k ? k : "all") }, Quick())
            .Resources.Select(r => r.Metadata.Name));

    internal static Func<CompletionContext, IEnumerable<CompletionItem>> Held(Shell shell) => context =>
        Ask(shell, context, session => session.Client.ListHeld(new ListHeldRequest(), Quick()).Held.Select(h => h.Id));

    private static CallOptions Quick() => new(deadline: DateTime.UtcNow + s_deadline);

    private static IEnumerable<CompletionItem> Ask(Shell shell, CompletionContext context, Func<Session, IEnumerable<string>> names)
    {
        try
        {
            using var session = shell.Open(context.ParseResult);
            return [.. names(session).Distinct(StringComparer.Ordinal).Order(StringComparer.Ordinal).Take(200).Select(n => new CompletionItem(n))];
        }
        catch (Exception e) when (e is RpcException or CommandFailedException or IOException or UnauthorizedAccessException or InvalidOperationException)
        {
            // Tab must never print an error into somebody's half-written line.
            return [];
        }
    }
}
