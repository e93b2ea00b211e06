using System.Globalization;

namespace AgentMetal.Coordinator.Fleet;

/// <summary>Where things are in the store.</summary>
internal static class StoreKeys
{
    public const string Resources = "resources/";
    public const string Assignments = "assignments/";
    public const string Nodes = "nodes/";
    public const string Approvals = "approvals/";
    public const string Secrets = "secrets/";
    public const string Turns = "turns/";
    public const string Intents = "intents/";
    public const string Epochs = "meta/epochs/";
    public const string Statements = "statements/";
    public const string Lease = "meta/coordinator-lease";

    public static string Resource(string project, string kind, string name) => $"{Resources}{project}/{kind}/{name}";

    /// <param name="assignment">{node-uid}/{kind}/{resource-uid}/{ordinal}.</param>
    public static string Assignment(string assignment) => Assignments + assignment;

    public static string AssignmentKey(string node, string kind, string resource, int ordinal) =>
        string.Create(CultureInfo.InvariantCulture, $"{node}/{kind}/{resource}/{ordinal}");

    public static string Node(string uid) => Nodes + uid;

    public static string Approval(string node, string hash) => $"{Approvals}{node}/{hash}";

    public static string Epoch(long number) => string.Create(CultureInfo.InvariantCulture, $"{Epochs}{number:D10}");

    public static string Statement(string purpose, string nonce) => $"{Statements}{purpose}/{nonce}";

    public static string SecretsOf(string resource) => $"{Secrets}{resource}/";

    public static string Secret(string resource, string name) => $"{Secrets}{resource}/{name}";
}
