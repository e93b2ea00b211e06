using AgentMetal.NodeAgent.Pipeline;
using AgentMetal.Runtime.Planning;
using AgentMetal.Runtime.Trust;
using Google.Protobuf;
using Grpc.Core;
using Microsoft.Extensions.Logging;
using V1 = AgentMetal.Proto.V1;

namespace AgentMetal.NodeAgent.Edge;

/// <summary>
/// This host was struck off and is not gone: what it had is made anew elsewhere, so here it is stopped in order, once, and left alone from then on. Nothing is deleted, and what would lose
/// data by its stop runs on until a person stops it.
/// </summary>
internal sealed partial class OwnStrikeOff(Controller controller, FleetWords words, TimeProvider clock, ILogger<OwnStrikeOff> log)
{
    private static readonly TimeSpan s_again = TimeSpan.FromSeconds(30);

    private int _holding;

    /// <summary>What a coordinator says beside its refusal to serve this host; null = nothing that can be read.</summary>
    public static V1.CoordinatorMessage? Read(Metadata trailers, string nodeUid)
    {
        if (trailers.GetValueBytes(StrikeOff.Trailer) is not { } bytes) return null;
        V1.CoordinatorMessage said;
        try { said = V1.CoordinatorMessage.Parser.ParseFrom(bytes); }
        catch (InvalidProtocolBufferException) { return null; }
        var farewell = new V1.CoordinatorMessage { ApproverSet = said.ApproverSet };
        // Whoever refuses to serve this host has no say in anything else.
        farewell.Statements.AddRange(said.Statements.Where(s => s.Purpose == StatementPurpose.StrikeOff && s.Fields.Count > 0 && s.Fields[0] == nodeUid));
        return farewell;
    }

    /// <summary>Does nothing while this host was not struck off; else ends when everything that can be stopped was.</summary>
    public async Task HoldAsync(CancellationToken stop)
    {
        if (words.Own is not { } why || Interlocked.Exchange(ref _holding, 1) != 0) return;
        LogStruckOff(log, why);
        controller.HoldAll(new(clock.GetUtcNow(), 0, "operators", "", true) { StruckOff = why });
        var open = controller.Members.Where(m => !m.Gone).Select(m => m.Input.Key).ToHashSet(StringComparer.Ordinal);
        var told = new HashSet<string>(StringComparer.Ordinal);
        try
        {
            while (true)
            {
                foreach (var key in open.ToList())
                    if (await IsDoneAsync(key, told, stop)) open.Remove(key);
                if (open.Count == 0) return;
                await Task.Delay(s_again, clock, stop);
            }
        }
        catch (OperationCanceledException) when (stop.IsCancellationRequested) { /* The next daemon goes on. */ }
    }

    private async Task<bool> IsDoneAsync(string key, HashSet<string> told, CancellationToken stop)
    {
        MemberStop? how;
        try { how = await controller.StopOfAsync(key, stop); }
        catch (Exception e) when (e is WorldException or IOException)
        {
            LogUnseen(log, key, e.Message);
            return false;
        }
        if (how is not { Runs: true }) return true;
        if (how.Lost.Length == 0) return await controller.StopAsync(key, how, stop);
        if (told.Add(key)) controller.Note(key, new("StillRuns", $"it runs on although this host was struck off, because {how.Lost}; when that is saved or not needed: agentmetal local stop, on this host", warning: true));
        return true;
    }

    [LoggerMessage(EventId = 1461, Level = LogLevel.Error, Message = "{Why}")]
    private static partial void LogStruckOff(ILogger log, string why);

    [LoggerMessage(EventId = 1462, Level = LogLevel.Warning, Message = "whether {Member} runs cannot be seen: {Why}; looked at again in 30 s")]
    private static partial void LogUnseen(ILogger log, string member, string why);
}
