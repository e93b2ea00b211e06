using System.Collections.Immutable;
using System.Globalization;

namespace AgentMetal.TestKit.Adversary;

/// <summary>What came of one sequence.</summary>
/// <param name="Sequence">As it was run.</param>
/// <param name="Ending">After healing and signing.</param>
/// <param name="Findings">None = it holds.</param>
/// <param name="Done">Faults that could be done.</param>
/// <param name="GivenUp">Items that faults took within what was declared.</param>
/// <param name="SignedAway">Items that went with a signature.</param>
/// <param name="Log">One line for each thing that was done.</param>
public sealed record Verdict(Sequence Sequence, Ending Ending, ImmutableArray<Finding> Findings, int Done, int GivenUp, int SignedAway,
    ImmutableArray<string> Log)
{
    /// <summary>Whether a promise about data was broken.</summary>
    public bool Broken => Findings.Any(f => f.Loses);

    /// <summary>The shortest prefix that is known to fail.</summary>
    public Sequence Failing => Findings.FirstOrDefault(f => f.Loses) is { } first ? Sequence.Prefix(first.After) : Sequence;

    /// <summary>Everything that is needed to do it again.</summary>
    public string Report() => string.Join('\n',
    [
        string.Create(CultureInfo.InvariantCulture,
            $"seed {Sequence.Seed} #{Sequence.Index}: {Ending}, {Done} faults, {GivenUp} items given up by faults, {SignedAway} signed away"),
        .. Findings.Select(f => $"  FINDING after command {f.After}: {f.What}"),
        .. Findings.IsEmpty ? [] : (string[])["  commands: " + string.Join("; ", Sequence.Faults)],
        .. Findings.IsEmpty ? ImmutableArray<string>.Empty : Log.Select(l => "    " + l),
    ]);
}

/// <summary>Does one sequence to one subject and judges it. It knows nothing of what the subject is.</summary>
public static class Driver
{
    private const int MostSignatures = 6;

    /// <param name="subject">Fresh.</param>
    /// <param name="sequence">What is done to it.</param>
    /// <param name="delay">How time passes; virtual in tests of the kit.</param>
    /// <param name="stop">Ends it.</param>
    public static async Task<Verdict> RunAsync(ISubject subject, Sequence sequence, Func<TimeSpan, CancellationToken, Task> delay,
        CancellationToken stop)
    {
        ArgumentNullException.ThrowIfNull(subject);
        ArgumentNullException.ThrowIfNull(sequence);
        ArgumentNullException.ThrowIfNull(delay);
        var (ledger, findings, log, done) = (new Ledger(), new List<Finding>(), new List<string>(), 0);
        await subject.BeginAsync(stop);
        for (var i = 0; i < sequence.Faults.Length; i++)
        {
            var fault = sequence.Faults[i];
            if (fault.Name == Fault.Wait)
            {
                await delay(TimeSpan.FromMilliseconds(int.Parse(fault.Arguments[0], CultureInfo.InvariantCulture)), stop);
                continue;
            }
            var before = await SeeAsync(subject, ledger, i, findings, log, delay, stop);
            if (fault.Name == Fault.Sign)
            {
                if (await subject.SignAsync(stop) is { } early) Sign(ledger, log, early);
                continue;
            }
            var toll = await subject.InjectAsync(fault, stop);
            log.Add($"{i + 1}. {fault}: {Held(before)}{(toll is null ? " - not possible now" : toll.Places.IsEmpty ? "" : " - may take " + string.Join(' ', toll.Places.Select(p => p.ToString()).Order(StringComparer.Ordinal)))}");
            if (toll is null) continue;
            done++;
            findings.AddRange(ledger.Strike(fault, toll, before, i + 1));
        }
        var all = sequence.Faults.Length;
        await SeeAsync(subject, ledger, all, findings, log, delay, stop);
        await subject.HealAsync(stop);
        log.Add("healed");
        var ending = await subject.SettleAsync(stop);
        log.Add($"{ending}: {Held(await SeeAsync(subject, ledger, all, findings, log, delay, stop))}");
        // Half of the sequences end with the hold, the others with a signature: both must lose no more than was said.
        var signs = sequence.Random().Next(2) == 0;
        for (var i = 0; signs && ending != Ending.Converged && i < MostSignatures && await subject.SignAsync(stop) is { } signature; i++)
        {
            Sign(ledger, log, signature);
            ending = await subject.SettleAsync(stop);
            log.Add($"{ending}: {Held(await SeeAsync(subject, ledger, all, findings, log, delay, stop))}");
        }
        findings.AddRange((await subject.UntoldAsync(ledger.GivenUp, stop)).Select(u => new Finding(all, u, Loses: false)));
        if (ending == Ending.Restless) findings.Add(new(all,
            "it is neither as declared, nor does it wait for a signature or say what to do", Loses: false));
        return new(sequence, ending, [.. findings], done, ledger.GivenUp, ledger.SignedAway, [.. log]);
    }

    /// <summary>What is missing is looked for again before it is believed: members are not looked at in one moment.</summary>
    private static async Task<Look> SeeAsync(ISubject subject, Ledger ledger, int after, List<Finding> findings, List<string> log,
        Func<TimeSpan, CancellationToken, Task> delay, CancellationToken stop)
    {
        var look = await subject.LookAsync(stop);
        for (var again = 0; again < 2 && ledger.Missing(look).Count > 0; again++)
        {
            await delay(TimeSpan.FromSeconds(1), stop);
            var next = await subject.LookAsync(stop);
            if (ledger.Missing(next).Count < ledger.Missing(look).Count) look = next;
        }
        var found = ledger.See(look, after);
        foreach (var finding in found) log.Add("FINDING: " + finding.What);
        findings.AddRange(found);
        return look;
    }

    private static void Sign(Ledger ledger, List<string> log, Signature signature)
    {
        ledger.Sign(signature);
        log.Add($"signed ({signature.ItemsAtMost?.ToString(CultureInfo.InvariantCulture) ?? "no number"} items at most): {signature.Text.ReplaceLineEndings(" ")}");
    }

    private static string Held(Look look) => string.Join(' ', look.Held.OrderBy(h => h.Key.ToString(), StringComparer.Ordinal)
        .Select(h => string.Create(CultureInfo.InvariantCulture,
            $"{h.Key}={(h.Value is null ? "?" : h.Value.Count)}{(look.AtRisk.Contains(h.Key) ? "!" : "")}")));
}
