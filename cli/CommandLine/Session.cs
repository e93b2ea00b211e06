using AgentMetal.Cli.Home;
using AgentMetal.Cli.Link;
using AgentMetal.Cli.Rendering;
using AgentMetal.Proto.V1;
using Grpc.Core;

namespace AgentMetal.Cli.CommandLine;

/// <summary>How a result is printed.</summary>
internal enum OutputFormat
{
    Table,
    Wide,
    Json,
    Yaml,
    Name,

    /// <summary>The one value alone: a token, a password.</summary>
    Raw,
}

/// <summary>One run of one command.</summary>
internal sealed class Session(Screen screen, OperatorHome home) : IDisposable
{
    private CoordinatorLink? _link;

    internal Screen Screen => screen;

    internal OperatorHome Home => home;

    /// <summary>What --coordinator says; null = the home's.</summary>
    internal string? Coordinator { get; init; }

    internal OutputFormat Format { get; init; }

    internal string? ProjectGiven { get; init; }

    internal string Project => ProjectGiven ?? "default";

    internal TimeSpan? Timeout { get; init; }

    /// <summary>Where it talks to; empty before it does.</summary>
    internal string Address => _link?.Address ?? "";

    /// <summary>Why this side refused the coordinator's certificate; null when it did not.</summary>
    internal string? Refusal => _link?.Refusal;

    internal bool ForPrograms => Format is OutputFormat.Json or OutputFormat.Yaml;

    /// <summary>The link, opened at first use.</summary>
    internal CoordinatorLink Link => _link ??= CoordinatorLink.Open(home, Coordinator, screen.Clock);

    internal Operator.OperatorClient Client => Link.Client;

    /// <summary>A call with a deadline; every call has one. A longer --timeout stands above what the call is usually given.</summary>
    internal CallOptions Call(CancellationToken stop, TimeSpan? atMost = null) =>
        new(deadline: DateTime.UtcNow + (Timeout > atMost ? Timeout.Value : atMost ?? Timeout ?? TimeSpan.FromSeconds(10)), cancellationToken: stop);

    /// <summary>A stream that lasts as long as somebody looks.</summary>
    internal static CallOptions Stream(CancellationToken stop) => new(cancellationToken: stop);

    public void Dispose() => _link?.Dispose();
}
