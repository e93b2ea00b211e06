using System.CommandLine;
using AgentMetal.Cli.CommandLine;
using AgentMetal.Cli.Output;
using AgentMetal.Cli.Rendering;
using AgentMetal.Proto.V1;
using AgentMetal.Runtime.Audit;
using AgentMetal.Runtime.Trust;
using AgentMetal.WireMaps;
using WireRecord = AgentMetal.Proto.V1.AuditRecord;

namespace AgentMetal.Cli.Audit;

/// <summary>The hash-chained records; --verify computes every link here, so that nobody who holds the records is believed.</summary>
internal static class AuditCommand
{
    private const int Page = 500;

    internal static Command Build(Shell shell)
    {
        var chain = new Option<string?>("--chain") { Description = "A host's name or uid, or coordinator", HelpName = "CHAIN" };
        var verify = new Option<bool>("--verify") { Description = "Verify whole chains, link by link, on this machine" };
        var about = new Option<string?>("--for") { Description = "Only of this resource", HelpName = "KIND/NAME" };
        var limit = Shell.CountOption("--limit", "The newest so many", 50, 10_000);
        var command = new Command("audit", "What was decided, by whom, and what came of it") { chain, verify, about, limit, AcceptGapCommand.Build(shell) };
        shell.Handle(command, (session, parsed, stop) => parsed.GetValue(verify)
            ? Verify(session, parsed.GetValue(chain), stop)
            : Show(session, parsed.GetValue(chain), parsed.GetValue(about), parsed.GetValue(limit), stop));
        return command;
    }

    private static async Task<ExitCode> Show(Session session, string? chain, string? about, int limit, CancellationToken stop)
    {
        var key = about is null ? "" : Cli.Events.EventsCommand.KeyOf(session, about);
        var newest = new List<WireRecord>();
        foreach (var name in await Chains(session, chain, stop))
        {
            var records = new List<WireRecord>();
            await foreach (var record in Records(session, name, key, stop))
            {
                records.Add(record);
                if (records.Count > limit) records.RemoveAt(0);
            }
            newest.AddRange(records);
        }
        var shown = newest.OrderBy(r => r.AtUnixMs).ThenBy(r => r.Chain, StringComparer.Ordinal).ThenBy(r => r.Seq).TakeLast(limit).ToArray();
        if (session.ForPrograms) Printer.Document(session, new ListDocument<AuditDocument>([.. shown.Select(DocumentsOf.Audit)]), DocumentJson.Default.ListDocumentAuditDocument);
        else if (shown.Length == 0) session.Screen.Note("No records.");
        else
        {
            var table = new Table(new("AT"), new("CHAIN"), new("SEQ"), new("KIND"), new("RESOURCE"), new("RECORD", Overflow.Cut, 20));
            foreach (var r in shown)
                table.Add(Piece.Quiet(When.Clock(r.AtUnixMs, session.Screen.Clock)), r.Chain.Length > 12 ? r.Chain[..12] : r.Chain, $"{r.Seq}", r.Kind, r.ResourceKey, AuditText.Of(r.Body));
            table.Write(session.Screen);
            session.Screen.Note("Prove it: agentmetal audit --verify");
        }
        return ExitCode.Ok;
    }

    private static async Task<ExitCode> Verify(Session session, string? only, CancellationToken stop)
    {
        var nodes = (await session.Client.ListNodesAsync(new ListNodesRequest(), session.Call(stop))).Nodes;
        var verdicts = new List<AuditVerdictDocument>();
        // A chain is called by its host's uid, also where a person says the host's name.
        only = nodes.FirstOrDefault(n => n.Name == only)?.Uid ?? only;
        foreach (var name in await Chains(session, only, stop))
        {
            var gaps = (await session.Client.ListAuditAsync(new ListAuditRequest { Chain = name, Limit = 1 }, session.Call(stop))).Gaps;
            var known = gaps.Where(g => IsKnown(session, name, g)).Select(g => (g.From, g.To)).ToList();
            var check = new ChainCheck(name, known);
            await foreach (var record in Records(session, name, "", stop))
                if (!check.Add(record)) break;
            // A cut-off tail has no broken link; but the host was told up to where its records are kept.
            var claimed = nodes.FirstOrDefault(n => n.Uid == name)?.AuditSeq ?? 0;
            // What is here may be whole and yet not all: the coordinator knows where it lost records, and where it stopped believing the host.
            var doubted = nodes.FirstOrDefault(n => n.Uid == name)?.Conditions.FirstOrDefault(c => c.Type == "AuditWhole" && c.Status == "False");
            var problem = doubted?.Reason == "CoordinatorWentBack" ? doubted.Message
                : check.Problem ?? (claimed > check.Last ? $"the coordinator took {claimed} records from the host and shows {check.Last}: the end is missing" : null)
                ?? (doubted is null ? null : $"what is here is whole, and the coordinator takes nothing more of it: {doubted.Message}");
            verdicts.Add(new AuditVerdictDocument(name, check.Last, problem is null, problem, known.Count == 0 ? null : string.Join("; ", known.Select(g => $"records {g.From} to {g.To} are missing here, which approvers signed to know"))));
        }
        if (session.ForPrograms) Printer.Document(session, new ListDocument<AuditVerdictDocument>(verdicts), DocumentJson.Default.ListDocumentAuditVerdictDocument);
        else Print(session, verdicts, nodes);
        return verdicts.All(v => v.Intact) ? ExitCode.Ok : ExitCode.Failed;
    }

    private static void Print(Session session, List<AuditVerdictDocument> verdicts, IEnumerable<Node> nodes)
    {
        var table = new Table(new("CHAIN"), new("OF"), new("RECORDS"), new("INTACT"), new("FINDING", Overflow.Wrap, 20));
        foreach (var v in verdicts)
            table.Add(v.Chain, nodes.FirstOrDefault(n => n.Uid == v.Chain)?.Name ?? "", $"{v.Records}", v.Intact ? Piece.Good("yes") : Piece.Bad("NO"), v.Problem ?? v.Known ?? "");
        table.Write(session.Screen);
        if (verdicts.Any(v => !v.Intact))
            session.Screen.Note(Piece.Bad("error: "), "a chain is not whole: records are missing, or were changed or forged. The hosts hold their own copies: on a host, agentmetal local status");
    }

    /// <summary>The signatures are judged here: whoever holds the records could say of any gap that people know of it.</summary>
    private static bool IsKnown(Session session, string chain, AuditGap gap)
    {
        var now = session.Screen.Clock.GetUtcNow();
        using var root = session.Home.LoadRoot();
        var says = StatementPurpose.AcceptGap + "\n" + string.Join('\n', new AcceptedGap(chain, gap.From, gap.To).Fields);
        return StatementRule.Holds(says, gap.Accepted.Select(TrustWire.Read), session.Home.LoadApprovers(root, now), now) is not null;
    }

    private static async Task<IReadOnlyList<string>> Chains(Session session, string? only, CancellationToken stop)
    {
        if (only is not null) return [only];
        return (await session.Client.ListAuditAsync(new ListAuditRequest { Limit = 1 }, session.Call(stop))).Chains;
    }

    private static async IAsyncEnumerable<WireRecord> Records(Session session, string chain, string key, [System.Runtime.CompilerServices.EnumeratorCancellation] CancellationToken stop)
    {
        long after = 0;
        while (true)
        {
            var page = await session.Client.ListAuditAsync(new ListAuditRequest { Chain = chain, AfterSeq = after, Limit = Page, ResourceKey = key }, session.Call(stop));
            foreach (var record in page.Records) yield return record;
            // A page that does not go on would be asked for for ever.
            if (page.Records.Count == 0 || page.Records[^1].Seq <= after) yield break;
            after = page.Records[^1].Seq;
        }
    }
}

/// <summary>Follows one chain, record by record.</summary>
/// <param name="chain">Its name.</param>
/// <param name="known">First and last record of gaps that approvers signed to know of.</param>
internal sealed class ChainCheck(string chain, IReadOnlyList<(long From, long To)>? known = null)
{
    private string _hash = AuditChain.Genesis;

    /// <summary>The last good record; 0 before the first.</summary>
    internal long Last { get; private set; }

    /// <summary>What is wrong; null while nothing is.</summary>
    internal string? Problem { get; private set; }

    /// <summary>False when the chain is broken here; nothing after it means anything.</summary>
    internal bool Add(WireRecord r)
    {
        if (Problem is not null) return false;
        if (known?.Contains((Last + 1, r.Seq - 1)) == true) (Last, _hash) = (r.Seq - 1, r.Previous);
        Problem = r.Chain != chain ? $"record {r.Seq} belongs to chain {r.Chain}"
            : AuditChain.Verify([new Runtime.Audit.AuditRecord(r.Chain, r.Seq, DateTimeOffset.FromUnixTimeMilliseconds(Math.Clamp(r.AtUnixMs, 0, 253_402_300_799_000)), r.Kind, r.ResourceKey, r.Body, r.Previous, r.Hash)], Last, _hash);
        if (Problem is not null) return false;
        (Last, _hash) = (r.Seq, r.Hash);
        return true;
    }
}
