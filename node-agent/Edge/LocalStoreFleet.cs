using AgentMetal.Runtime.Trust;
using Google.Protobuf;
using V1 = AgentMetal.Proto.V1;

namespace AgentMetal.NodeAgent.Edge;

/// <summary>What operators said about the fleet, as far as this host has judged it: it holds also when the coordinator's store forgets it.</summary>
internal sealed partial class LocalStore
{
    /// <summary>Hosts that operators struck off, as this host judged it then.</summary>
    public ValueTask<IReadOnlyList<SignedStatement>> StruckOffAsync(CancellationToken stop) => thread.ReadAsync<IReadOnlyList<SignedStatement>>(() =>
        [.. Rows("SELECT body FROM struck ORDER BY at", r => r.GetFieldValue<byte[]>(0)).Select(b => Wire.Read(V1.Statement.Parser.ParseFrom(b)))], stop);

    /// <summary>Whether a signature has served here.</summary>
    public ValueTask<bool> IsSpentAsync(string nonce, CancellationToken stop) => thread.ReadAsync(() => Rows("SELECT 1 FROM spent WHERE nonce = $0", r => r.GetInt64(0), nonce).Count > 0, stop);

    /// <summary>One transaction: the host is struck off, the signatures have served, and the audit says by whom.</summary>
    public async ValueTask StrikeOffAsync(StatementOutcome outcome, StrikeOff struck, DateTimeOffset at, string audit) => await thread.WriteAsync(() =>
    {
        Spend(outcome, at);
        Append(at, "NodeStruckOff", "", audit);
        return Run("INSERT INTO struck VALUES($0, $1, $2) ON CONFLICT DO NOTHING", struck.NodeUid, Wire.ToProto(outcome.Counted[0]).ToByteArray(), Ms(at));
    }, CancellationToken.None).ConfigureAwait(false);

    private void Spend(StatementOutcome outcome, DateTimeOffset at)
    {
        foreach (var statement in outcome.Counted) Run("INSERT INTO spent VALUES($0, $1) ON CONFLICT DO NOTHING", statement.Nonce, Ms(at));
    }
}
