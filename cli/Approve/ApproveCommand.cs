using System.CommandLine;
using AgentMetal.Cli.CommandLine;
using AgentMetal.Cli.Completion;
using AgentMetal.Cli.Output;
using AgentMetal.Cli.Plan;
using AgentMetal.Cli.Rendering;
using AgentMetal.Proto.V1;
using AgentMetal.Runtime.Trust;
using AgentMetal.WireMaps;

namespace AgentMetal.Cli.Approve;

/// <summary>Reads what hosts ask, proves that the hosts ask it, and signs the answer.</summary>
internal static class ApproveCommand
{
    internal static Command Build(Shell shell, ApprovalDecision decision)
    {
        var word = SignedApproval.Word(decision);
        var which = new Argument<string?>("ID|RESOURCE") { Description = "A held plan's id, or a resource such as redis/sessions", Arity = ArgumentArity.ZeroOrOne };
        which.CompletionSources.Add(Suggestions.Held(shell));
        var reason = new Option<string>("--reason") { Description = "Your words, for the audit", HelpName = "TEXT", DefaultValueFactory = _ => "" };
        var life = Shell.LengthOption("--valid-for", "How long the signature stands (default: 1h, at most 7d)");
        var yes = new Option<bool>("--yes", "-y") { Description = "Do not ask" };
        var list = new Option<bool>("--list") { Description = "Only show what waits" };
        var export = new Option<string?>("--export") { Description = "Write the question to a file, to sign it elsewhere", HelpName = "FILE" };
        var offline = new Option<string?>("--offline") { Description = "Sign the question in this file; no coordinator is asked", HelpName = "FILE" };
        var output = new Option<string?>("--out") { Description = "With --offline: where the signed answer goes", HelpName = "FILE" };
        var command = new Command(word, decision == ApprovalDecision.Approve ? "Sign Dangerous steps that hosts hold" : "Say no to steps that hosts hold")
        {
            which, reason, life, yes, list, export, offline, output,
        };
        shell.Handle(command, async (session, parsed, stop) =>
        {
            var request = new DecisionRequest(decision, parsed.GetRequiredValue(reason), parsed.GetValue(life) ?? TimeSpan.FromHours(1), parsed.GetValue(yes));
            if (request.Life > SignedApproval.LongestLife) throw Bad($"--valid-for: a signature stands at most {When.Length(SignedApproval.LongestLife)}, and {When.Length(request.Life)} is longer", $"agentmetal {word} --valid-for {(int)SignedApproval.LongestLife.TotalDays}d");
            if (request.Reason.Length > SignedApproval.MaxReason) throw Bad($"--reason: longer than {SignedApproval.MaxReason} characters", "say it shorter");
            if (parsed.GetValue(offline) is { } file)
                return Offline(session, file, parsed.GetValue(output) ?? throw Bad("--out is missing", $"agentmetal {word} --offline {file} --out approval.json"), request);
            return await Online(session, parsed.GetValue(which), parsed.GetValue(list), parsed.GetValue(export), request, stop);
        });
        return command;
    }

    private static async Task<ExitCode> Online(Session session, string? which, bool list, string? export, DecisionRequest request, CancellationToken stop)
    {
        var reply = await session.Client.ListHeldAsync(new ListHeldRequest { Project = session.ProjectGiven ?? "" }, session.Call(stop));
        var review = new HeldReview(session.Link.Root, [.. session.Link.Intermediates, .. session.Home.LoadIntermediates()], Now(session));
        var all = reply.Held.Select(h => (Held: h, Verdict: review.Review(h))).ToArray();
        if (list || (which is null && all.Length != 1)) return List(session, all, asked: list, request.Verb);
        var chosen = which is null ? all : [.. all.Where(h => Matches(session, h.Held, which))];
        if (chosen.Length == 0)
            throw new CommandFailedException(new(ExitCode.NotFound, $"nothing waits for a signature under {which}", $"see what waits: agentmetal {request.Verb} --list"));
        if (export is not null)
        {
            CarriedFiles.WriteHeld(export, chosen.Select(c => c.Held));
            session.Screen.Note($"Written to {export}. Where the key is: agentmetal {request.Verb} --offline {export} --out approval.json");
            return ExitCode.Ok;
        }
        var approvals = Decide(session, [.. chosen.Select(c => c.Verdict)], request);
        var wire = new DecideRequest();
        wire.Approvals.AddRange(approvals.Select(TrustWire.Write));
        var decided = await session.Client.DecideAsync(wire, session.Call(stop));
        var code = Tell(session, decided, [.. chosen.Select(c => c.Held)], request);
        if (request.Decision == ApprovalDecision.Deny && code == ExitCode.Ok && !session.ForPrograms) await OfferUndeleteAsync(session, chosen[0].Held.ResourceKey, request, stop);
        return code;
    }

    /// <summary>A denied deletion still stands, and is asked again: whoever meant to keep the thing takes it back.</summary>
    private static async Task OfferUndeleteAsync(Session session, string key, DecisionRequest request, CancellationToken stop)
    {
        try
        {
            if (key.Split(' ', '/') is not [var kind, var project, var name]) return;
            var resource = await session.Client.GetAsync(new GetRequest { Project = project, Kind = kind, Name = name }, session.Call(stop));
            if (resource.Metadata.DeletedUnixMs == 0) return;
            session.Screen.Note($"{key} is still being deleted: it is kept as it is, and asked again {When.Until((session.Screen.Clock.GetUtcNow() + request.Life).ToUnixTimeMilliseconds(), session.Screen.Clock)}.");
            session.Screen.Note($"To keep it: agentmetal undelete {kind.ToLowerInvariant()}/{name}{(project == "default" ? "" : " -p " + project)}");
        }
        catch (Grpc.Core.RpcException) { /* It was denied all the same; only the hint is missing. */ }
    }

    private static ExitCode Offline(Session session, string file, string target, DecisionRequest request)
    {
        using var root = session.Home.LoadRoot();
        var review = new HeldReview(root, session.Home.LoadIntermediates(), Now(session));
        var approvals = Decide(session, [.. CarriedFiles.ReadHeld(file).Select(review.Review)], request);
        CarriedFiles.WriteApprovals(target, approvals.Select(Signing.ToLocal));
        session.Screen.Note($"Signed into {target}. On the host: agentmetal local approve {Path.GetFileName(target)}");
        return ExitCode.Ok;
    }

    // Everything is verified before anything is shown, and everything is shown before anything is signed.
    private static List<SignedApproval> Decide(Session session, IReadOnlyList<Verdict<ReviewedPlan>> verdicts, DecisionRequest request)
    {
        if (verdicts.FirstOrDefault(v => !v.IsTrusted) is { } refused)
        {
            throw new CommandFailedException(new(ExitCode.Refused, $"{refused.Problem!.Message}; nothing was signed",
                "do not sign it by other means; on the host: agentmetal local why RESOURCE, and look at the coordinator: agentmetal audit --verify"));
        }
        ReviewedPlan[] plans = [.. verdicts.Select(v => v.Value)];
        using var root = session.Home.LoadRoot();
        var approvers = session.Home.LoadApprovers(root, Now(session));
        using var key = session.Home.LoadKey();
        var view = new HeldView(session.Screen, approvers is null ? null : new Approvers(approvers.Threshold, [.. approvers.Keys.Select(k => k.Name)]));
        if (!session.ForPrograms) foreach (var plan in plans) view.Write(plan);
        if (approvers?.Find(P256.KeyId(key)) is null && approvers is not null)
            session.Screen.Note(Piece.Warn("note: "), $"your key is not in approver set {approvers.Version} of this home; hosts with that set will not obey it");
        Signing.Confirm(session, plans, request);
        var now = session.Screen.Clock.GetUtcNow();
        var signed = plans.Select(p => Signing.Sign(key, p, request, now, session.Home.LastDecision())).ToList();
        session.Home.RememberDecision(signed.Max(s => s.IssuedUnixMs));
        return signed;
    }

    private static ExitCode List(Session session, (Held Held, Verdict<ReviewedPlan> Verdict)[] all, bool asked, string verb)
    {
        if (session.ForPrograms)
        {
            Printer.Document(session, new ListDocument<HeldDocument>([.. all.Select(h => new HeldDocument(h.Held.Id, h.Held.Assignment, h.Held.ResourceKey, When.Stamp(h.Held.CreatedUnixMs),
                When.Stamp(h.Held.ExpiresUnixMs), h.Verdict.IsTrusted, h.Verdict.Problem?.Message, h.Held.Standing, DocumentsOf.MemberPlan(h.Held.Plan)))]), DocumentJson.Default.ListDocumentHeldDocument);
            return ExitCode.Ok;
        }
        if (all.Length == 0)
        {
            session.Screen.Note("Nothing waits for a signature.");
            return ExitCode.Ok;
        }
        var table = new Table(new("ID"), new("RESOURCE"), new("ON"), new("STEPS", Overflow.Wrap, 20), new("STANDS", Overflow.Wrap, 16), new("WAITS"), new("GIVES UP"), new("SIGNED BY HOST"));
        foreach (var (held, verdict) in all)
        {
            table.Add(held.Id, held.ResourceKey, held.Plan.NodeName, string.Join("; ", held.Plan.Steps.Select(StepTable.Words)), held.Standing.Length > 0 ? held.Standing : "nobody has signed it yet", When.Age(held.CreatedUnixMs, session.Screen.Clock),
                When.Until(held.ExpiresUnixMs, session.Screen.Clock), verdict.IsTrusted ? Piece.Good("yes") : Piece.Bad("NO: " + verdict.Problem!.Message));
        }
        table.Write(session.Screen);
        if (asked) return ExitCode.Ok;
        throw Bad("several plans wait; name one", $"agentmetal {verb} {all[0].Held.Id}");
    }

    private static ExitCode Tell(Session session, DecideReply reply, IReadOnlyList<Held> held, DecisionRequest request)
    {
        if (session.ForPrograms)
        {
            Printer.Document(session, new ListDocument<DecisionDocument>([.. reply.Results.Select(r => new DecisionDocument(r.NodeUid, r.Delivered, r.Refused, r.Message))]), DocumentJson.Default.ListDocumentDecisionDocument);
            return reply.Results.Any(r => r.Refused) ? ExitCode.Refused : ExitCode.Ok;
        }
        var any = false;
        foreach (var result in reply.Results)
        {
            var refused = result.Refused || result.Message.StartsWith("refused: ", StringComparison.Ordinal);
            any |= refused;
            var node = held.FirstOrDefault(h => h.Plan.NodeUid == result.NodeUid)?.Plan.NodeName ?? result.NodeUid;
            session.Screen.Line(refused ? Piece.Bad("No effect  ") : request.Decision == ApprovalDecision.Approve ? Piece.Good("Approved  ") : Piece.Warn("Denied  "), $"{node}: ",
                result.Message.Length > 0 ? result.Message : result.Delivered ? "delivered" : "it will be delivered when the host is back");
        }
        var key = held[0].ResourceKey.Split(' ');
        session.Screen.Note(any ? $"Next: agentmetal {request.Verb} --list" : $"Next: agentmetal events --watch --for {key[0].ToLowerInvariant()}/{key[^1].Split('/')[^1]}");
        return any ? ExitCode.Refused : ExitCode.Ok;
    }

    private static bool Matches(Session session, Held held, string which) =>
        held.Id == which || (which.Length >= 8 && held.Plan.Hash.StartsWith(which, StringComparison.Ordinal)) || held.ResourceKey == which
        || (which.Contains('/', StringComparison.Ordinal) ? held.ResourceKey == Cli.Events.EventsCommand.KeyOf(session, which) : held.ResourceKey.EndsWith("/" + which, StringComparison.Ordinal));

    private static DateTimeOffset Now(Session session) => TrustedTime.Now(session.Screen.Clock.GetUtcNow(), null);

    private static CommandFailedException Bad(string message, string next) => new(new Failure(ExitCode.BadInput, message, next));
}
