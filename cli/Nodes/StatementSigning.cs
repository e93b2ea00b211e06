using System.CommandLine;
using System.Security.Cryptography;
using AgentMetal.Cli.CommandLine;
using AgentMetal.Cli.Output;
using AgentMetal.Cli.Rendering;
using AgentMetal.Proto.V1;
using AgentMetal.Runtime.Trust;
using AgentMetal.WireMaps;

namespace AgentMetal.Cli.Nodes;

/// <summary>Asks, signs and sends an operator's statement about the fleet. What it does was shown before.</summary>
internal static class StatementSigning
{
    internal static Option<bool> YesOption() => new("--yes", "-y") { Description = "Do not ask" };

    internal static Option<string> ReasonOption() => new("--reason") { Description = "Why; goes into the audit", HelpName = "TEXT", DefaultValueFactory = _ => "" };

    /// <summary>A person types the word that was shown; a program says --yes.</summary>
    internal static void Confirm(Session session, bool yes, string what, string word)
    {
        if (yes) return;
        var screen = session.Screen;
        if (!screen.CanAsk) throw new CommandFailedException(new(ExitCode.BadInput, "nobody can be asked: this is not a terminal", "read what is shown, then say so yourself: --yes"));
        screen.Error.Write($"Type {Plain.Clean(word)} to {what}, anything else to stop: ");
        screen.Error.Flush();
        if (screen.In.ReadLine()?.Trim() != word) throw new CommandFailedException(new(ExitCode.Failed, "stopped; nothing was signed", "agentmetal nodes list"));
    }

    /// <param name="session">The home has the key.</param>
    /// <param name="purpose">See <see cref="StatementPurpose"/>.</param>
    /// <param name="fields">As the purpose asks for.</param>
    /// <param name="life">Null = it does not end.</param>
    /// <param name="reason">For the audit.</param>
    /// <param name="stop">Ends the call.</param>
    internal static async Task<StateReply> SendAsync(Session session, string purpose, IEnumerable<string> fields, TimeSpan? life, string reason, CancellationToken stop) =>
        await session.Client.StateAsync(new StateRequest { Statement = Sign(session, purpose, fields, life, reason) }, session.Call(stop));

    internal static void Nothing(Session session, string purpose, string words)
    {
        if (session.ForPrograms) Printer.Document(session, new StatementDocument(purpose, true, [], words), DocumentJson.Default.StatementDocument);
        else session.Screen.Line(words);
    }

    /// <summary>What came of it, and what follows.</summary>
    internal static void Tell(Session session, string purpose, StateReply stated, string next, string others)
    {
        if (session.ForPrograms) Printer.Document(session, new StatementDocument(purpose, stated.Holds, stated.By, stated.Message), DocumentJson.Default.StatementDocument);
        else session.Screen.Note(stated.Holds ? Piece.Good("Signed ") : Piece.Warn("Signed "), $"{stated.Message}{(stated.By.Count > 0 ? ", by " + string.Join(", ", stated.By) : "")}");
        if (!session.ForPrograms) session.Screen.Note(stated.Holds ? next : "The others run the same: " + others);
    }

    internal static Statement Sign(Session session, string purpose, IEnumerable<string> fields, TimeSpan? life, string reason)
    {
        using var key = session.Home.LoadKey();
        var now = session.Screen.Clock.GetUtcNow();
        return TrustWire.Write(SignedStatement.Sign(key, new()
        {
            Purpose = purpose,
            Fields = [.. fields],
            Nonce = Convert.ToHexStringLower(RandomNumberGenerator.GetBytes(16)),
            IssuedUnixMs = now.ToUnixTimeMilliseconds(),
            ExpiresUnixMs = life is { } l ? (now + l).ToUnixTimeMilliseconds() : 0,
            Reason = reason,
            KeyId = "",
            Signature = [],
        }));
    }
}
