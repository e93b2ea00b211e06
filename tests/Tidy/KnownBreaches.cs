namespace AgentMetal.Tidy;

/// <summary>A file that uses a room which its row does not allow, and how many namespaces and types of that room it names.</summary>
internal sealed record Known(string File, string Room, int Count);

/// <summary>
/// Arrows that are wanted otherwise and are not so yet. The counts are exact, so they can only become fewer: one name more fails,
/// and so does a count that is too high or an entry that is no longer needed. A new entry needs the reason why it cannot be avoided.
/// </summary>
internal static class KnownBreaches
{
    /// <summary>Lines wider than 140 columns from before that was held, exact for each folder: they can only become fewer.</summary>
    public static readonly IReadOnlyList<(string Folder, int Count)> WideLines =
    [
        ("runtime", 474), ("node-agent", 2015), ("coordinator", 652), ("cli", 560), ("tests", 2235),
    ];

    public static readonly IReadOnlyList<Known> All =
    [
        // Nobody uses Api or Hosting. Build (the version) and the peer of a call lie in Hosting, Refusals in Api.
        new("coordinator/Agents/Orchestrator/AssignmentWriter.cs", "coordinator/Hosting", 1),
        new("coordinator/Api/OperatorService.cs", "coordinator/Hosting", 3),
        new("coordinator/Api/OperatorServiceFleet.cs", "coordinator/Hosting", 3),
        new("coordinator/Api/OrphanAdoption.cs", "coordinator/Hosting", 1),
        new("coordinator/Consoles/ConsoleBridge.cs", "coordinator/Api", 2),
        new("coordinator/Consoles/ConsoleRelay.cs", "coordinator/Api", 1),
        new("coordinator/Nodes/HostBoard.cs", "coordinator/Hosting", 1),
        new("coordinator/Nodes/NodeLinkService.cs", "coordinator/Hosting", 2),
        // A fleet agent uses the model and runtime alone. Placement came first and reaches further than the others.
        new("coordinator/Agents/Orchestrator/AssignmentWriter.cs", "coordinator/Nodes", 2),
        new("coordinator/Agents/Orchestrator/AssignmentWriter.cs", "proto", 4),
        new("coordinator/Agents/Orchestrator/AssignmentWriter.cs", "coordinator", 1),
        new("coordinator/Agents/Orchestrator/FleetJournal.cs", "coordinator/Store", 1),
        new("coordinator/Agents/Orchestrator/Orchestrator.cs", "coordinator/Events", 2),
        new("coordinator/Agents/Orchestrator/Orchestrator.cs", "proto", 2),
        new("coordinator/Agents/Orchestrator/PlacementWorld.cs", "coordinator/Nodes", 3),
        new("coordinator/Agents/Orchestrator/PlacementWorld.cs", "proto", 3),
        new("coordinator/Agents/Orchestrator/PlacementWorld.cs", "coordinator", 1),
        new("coordinator/Agents/Orchestrator/PlanReservations.cs", "coordinator/Nodes", 2),
        new("coordinator/Agents/Orchestrator/Referred.cs", "proto", 3),
        new("coordinator/Agents/Orchestrator/Referred.cs", "coordinator", 1),
        // Nodes use the model and wire alone.
        new("coordinator/Nodes/EnrollmentService.cs", "coordinator/Events", 2),
        new("coordinator/Nodes/EnrollmentService.cs", "coordinator/Identity", 5),
        new("coordinator/Nodes/HostBoard.cs", "coordinator/Agents/Orchestrator", 5),
        new("coordinator/Nodes/NodeInbox.cs", "coordinator/AuditLog", 3),
        new("coordinator/Nodes/NodeInbox.cs", "coordinator/Events", 2),
        new("coordinator/Nodes/NodeLinkService.cs", "coordinator/AuditLog", 2),
        new("coordinator/Nodes/NodeLinkService.cs", "coordinator/Consoles", 2),
        new("coordinator/Nodes/NodeLinkService.cs", "coordinator/Identity", 2),
        new("coordinator/Nodes/NodeLinkService.cs", "coordinator/Approvals", 1),
        new("coordinator/Nodes/NodeRegistry.cs", "coordinator/Agents/Orchestrator", 2),
        new("coordinator/Nodes/NodeRegistry.cs", "coordinator/Events", 2),
        new("coordinator/Nodes/NodeRegistry.cs", "coordinator/Identity", 3),
        new("coordinator/Nodes/StatementShelf.cs", "coordinator/AuditLog", 3),
        new("coordinator/Nodes/StatementShelf.cs", "coordinator/Events", 2),
        new("coordinator/Nodes/StatementShelf.cs", "coordinator/Identity", 3),
        // A resource's key is cut by a helper of placement; as a type of its own it belongs to what all share.
        new("coordinator/Approvals/ApprovalShelf.cs", "coordinator/Agents/Orchestrator", 1),
        new("coordinator/Consoles/ConsoleBridge.cs", "coordinator/Agents/Orchestrator", 2),
    ];
}
