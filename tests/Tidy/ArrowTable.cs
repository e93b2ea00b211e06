namespace AgentMetal.Tidy;

/// <summary>
/// One room and what it may use beside itself. Room is a folder; "x/*" is each folder in x that has no row of its own.
/// "x/..." in Uses is x and all below it. Planted is a line of code that this row must not let through, and Caught the room it reaches for.
/// </summary>
internal sealed record Row(string Room, string[] Uses, string Why, string Planted, string Caught)
{
    public bool Allows(string room) => Uses.Any(u => Means(u, room));

    public static bool Means(string use, string room) =>
        use == room || (use.EndsWith("/...", StringComparison.Ordinal) && (room + "/").StartsWith(use[..^3], StringComparison.Ordinal));
}

/// <summary>Who may use whom, for all programs and their tests. CONTRIBUTING.md says how to add a row.</summary>
internal static class ArrowTable
{
    public static readonly IReadOnlyList<Row> Rows =
    [
        // What programs share.
        new("proto", [], "The contract on the wire stands alone.", "using AgentMetal.Runtime.Planning;", "runtime"),
        new("runtime", [], "Rules that every program computes alike, without knowing how they travel.",
            "using AgentMetal.Proto.V1;", "proto"),
        new("wire", ["proto", "runtime"], "Maps the one to the other, for any program.",
            "using AgentMetal.NodeAgent.Host;", "node-agent/Host"),

        // agentmetald.
        new("node-agent", ["node-agent/...", "proto", "runtime", "wire"],
            "Puts the daemon together; so it sees all of it, and nothing else in the daemon sees this.",
            "using AgentMetal.Coordinator.Fleet;", "coordinator/Fleet"),
        new("node-agent/Agents/*", ["node-agent/Host", "node-agent/Pipeline", "runtime"],
            "An agent can be written, read and taken out without another agent, and works without a coordinator.",
            "using AgentMetal.NodeAgent.Agents.Redis;", "node-agent/Agents/Redis"),
        new("node-agent/Pipeline", ["node-agent/Host", "runtime"], "Carries out what any agent gives it, and knows none.",
            "using static AgentMetal.NodeAgent.Agents.Instance.InstanceNames;", "node-agent/Agents/Instance"),
        new("node-agent/Host", ["runtime"], "The machine as it is; what it is looked at for is not its business.",
            "using Turn = AgentMetal.NodeAgent.Pipeline.Controller;", "node-agent/Pipeline"),
        new("node-agent/Edge", ["node-agent/Host", "node-agent/Pipeline", "proto", "runtime", "wire"],
            "Link, store and local server are the same for every agent.",
            "_ = new Agents.Redis.RedisAgent();", "node-agent/Agents/Redis"),

        // agentmetal-coordinator.
        new("coordinator", ["coordinator/...", "proto", "runtime", "wire"], "The entry and the catalogue of agents; so it sees all of it.",
            "using AgentMetal.NodeAgent.Host;", "node-agent/Host"),
        new("coordinator/Agents", ["runtime"], "What a fleet agent is asked, whatever the agent.",
            "using AgentMetal.Coordinator.Fleet;", "coordinator/Fleet"),
        new("coordinator/Agents/*", ["coordinator/Agents", "coordinator/Fleet", "runtime"],
            "A fleet agent decides from the fleet's model; who is connected and who asks are other rooms' business.",
            "using AgentMetal.Coordinator.Nodes;", "coordinator/Nodes"),
        new("coordinator/Nodes", ["coordinator/Fleet", "proto", "runtime", "wire"],
            "Brings the fleet's model to hosts and their answers back.",
            "using AgentMetal.Coordinator.Api;", "coordinator/Api"),
        new("coordinator/Fleet", ["coordinator/Identity", "proto", "runtime"], "The model; everything else stands on it.",
            "using AgentMetal.Coordinator.Nodes;", "coordinator/Nodes"),
        new("coordinator/Approvals", ["coordinator/Events", "coordinator/Fleet", "coordinator/Nodes", "proto", "runtime", "wire"],
            "Keeps signatures for hosts, whoever brought them.",
            "using AgentMetal.Coordinator.Api;", "coordinator/Api"),
        new("coordinator/Consoles", ["coordinator/Events", "coordinator/Fleet", "coordinator/Nodes", "proto", "runtime"],
            "Passes sealed bytes between an operator and a host.",
            "using AgentMetal.Coordinator.Hosting;", "coordinator/Hosting"),
        new("coordinator/AuditLog", ["proto", "runtime"], "Writes down what it is told.",
            "using AgentMetal.Coordinator.Nodes;", "coordinator/Nodes"),
        new("coordinator/Events", ["proto"], "Keeps lines for people.", "using AgentMetal.Coordinator.Fleet;", "coordinator/Fleet"),
        new("coordinator/Identity", ["runtime"], "Certificates and who may call.",
            "using AgentMetal.Coordinator.Nodes;", "coordinator/Nodes"),
        new("coordinator/Store", ["runtime"], "Keeps bytes by key.", "using AgentMetal.Coordinator.Fleet;", "coordinator/Fleet"),
        new("coordinator/Api",
            ["coordinator", "coordinator/Agents/...", "coordinator/Approvals", "coordinator/AuditLog", "coordinator/Consoles",
                "coordinator/Events", "coordinator/Fleet", "coordinator/Identity", "coordinator/Nodes", "proto", "runtime", "wire"],
            "Answers operators from all rooms; nobody uses it.",
            "using AgentMetal.Coordinator.Hosting;", "coordinator/Hosting"),
        new("coordinator/Hosting", ["coordinator/...", "proto", "runtime", "wire"], "Opens the rooms and serves them; nobody uses it.",
            "using AgentMetal.Cli.Link;", "cli"),

        // agentmetal.
        new("cli", ["proto", "runtime", "wire"], "Speaks to a coordinator or a host's socket and knows neither from within.",
            "using AgentMetal.Coordinator.Api;", "coordinator/Api"),

        // Tests: each sees its own subject and what many subjects share.
        new("tests/TestKit", ["runtime"], "Serves tests of any program.", "using AgentMetal.NodeAgent.Pipeline;", "node-agent/Pipeline"),
        new("tests/Lab", [], "Hosts for whatever is shipped, seen from outside.", "using AgentMetal.Runtime.Trust;", "runtime"),
        new("tests/Runtime.Tests", ["runtime", "tests/TestKit"], "Mirror of runtime.", "using AgentMetal.Proto.V1;", "proto"),
        new("tests/Simulation", ["runtime", "tests/TestKit"], "The engine alone, in a world made up.",
            "using AgentMetal.NodeAgent.Pipeline;", "node-agent/Pipeline"),
        new("tests/NodeAgent.Tests", ["node-agent/...", "proto", "runtime", "wire"], "Mirror of agentmetald.",
            "using AgentMetal.Coordinator.Fleet;", "coordinator/Fleet"),
        new("tests/Coordinator.Tests", ["coordinator/...", "proto", "runtime", "wire"], "Mirror of agentmetal-coordinator.",
            "using AgentMetal.NodeAgent.Edge;", "node-agent/Edge"),
        new("tests/Cli.Tests", ["cli", "proto", "runtime", "wire"], "Mirror of agentmetal.",
            "using AgentMetal.Coordinator.Api;", "coordinator/Api"),
        new("tests/Conformance",
            ["coordinator/Agents/...", "node-agent/Agents/...", "node-agent/Pipeline", "runtime", "tests/NodeAgent.Tests", "tests/TestKit"],
            "What every agent keeps, with the samples of the agents' own tests.",
            "using AgentMetal.NodeAgent.Edge;", "node-agent/Edge"),
        new("tests/Lab.Tests", ["proto", "runtime", "tests/Lab", "tests/TestKit"],
            "What is shipped, seen from outside; contracts only to forge what a liar would send.",
            "using AgentMetal.NodeAgent.Edge;", "node-agent/Edge"),
        new("tests/Benchmarks", ["node-agent/Edge", "proto", "runtime", "tests/Lab", "tests/Lab.Tests"],
            "Measures what is shipped; its stand-in hosts join as the real one does.",
            "using AgentMetal.Coordinator.Nodes;", "coordinator/Nodes"),
        new("tests/Tidy", [], "Reads sources as text.", "using AgentMetal.Runtime.Planning;", "runtime"),
    ];
}
