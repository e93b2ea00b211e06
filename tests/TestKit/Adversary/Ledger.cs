using System.Collections.Immutable;
using System.Globalization;

namespace AgentMetal.TestKit.Adversary;

/// <summary>
/// The invariant: nothing that any member still held after a fault, in whatever medium, is gone later without a signature whose text
/// covered it; and what
/// a fault takes is within what the declared persistence gives up. Pure: it is told looks, tolls and signatures, and answers with findings.
/// </summary>
public sealed class Ledger
{
    private readonly Dictionary<Place, IReadOnlySet<string>> _last = [];
    private readonly HashSet<string> _protected = [];
    private readonly HashSet<string> _given = [];
    private readonly List<Signature> _signed = [];
    private long _budget;
    private bool _unnumbered;

    /// <summary>What must still be there.</summary>
    public IReadOnlyCollection<string> Protected => _protected;

    /// <summary>Items that faults took and that nobody holds any more.</summary>
    public int GivenUp => _given.Count;

    /// <summary>Items that went with a signature that covered them.</summary>
    public int SignedAway { get; private set; }

    /// <summary>What is gone by this look; empty = nothing. A caller looks once more before it believes it: a look is not one
    /// moment.</summary>
    public IReadOnlyList<string> Missing(Look look)
    {
        var held = Union(look, _ => true);
        return [.. _protected.Where(i => !held.Contains(i))];
    }

    /// <summary>Takes a look for true: what is gone is a finding unless it was signed, and what is there is protected from now
    /// on.</summary>
    public IReadOnlyList<Finding> See(Look look, int after)
    {
        ArgumentNullException.ThrowIfNull(look);
        List<Finding> findings = [];
        var missing = Missing(look);
        if (missing.Count > 0)
        {
            var covered = _unnumbered ? missing.Count : (int)Math.Min(_budget, missing.Count);
            if (_unnumbered && missing.Count > 0)
                findings.Add(new(after,
                    $"{missing.Count} items went with a signature whose text names no number: {OneLine(_signed[^1].Text)}", Loses: false));
            if (covered < missing.Count)
                findings.Add(new(after, _signed.Count == 0
                    ? $"{missing.Count} of {_protected.Count} items that were still held are gone, and nobody signed that: {Example(missing)}"
                    : $"{missing.Count} items are gone, and the texts that were signed said {_budget.ToString(CultureInfo.InvariantCulture)}: {Example(missing)}; {OneLine(_signed[^1].Text)}"));
            SignedAway += covered;
            if (!_unnumbered) _budget -= covered;
        }
        foreach (var (place, items) in look.Held)
            if (items is not null) _last[place] = items;
        foreach (var gone in _last.Keys.Where(p => !look.Held.ContainsKey(p)).ToArray()) _last.Remove(gone);
        _protected.Clear();
        _protected.UnionWith(Union(look, p => !look.AtRisk.Contains(p)));
        _given.ExceptWith(Union(look, _ => true));
        return findings;
    }

    /// <summary>A fault was done right after <paramref name="before"/>, which <see cref="See"/> has been told: what only its places held
    /// is its own to take.</summary>
    public IReadOnlyList<Finding> Strike(Fault fault, Toll toll, Look before, int after)
    {
        ArgumentNullException.ThrowIfNull(toll);
        ArgumentNullException.ThrowIfNull(before);
        var left = Union(before, p => !before.AtRisk.Contains(p) && !toll.Places.Contains(p));
        string[] taken = [.. _protected.Where(i => !left.Contains(i))];
        _given.UnionWith(taken);
        _protected.IntersectWith(left);
        // Nothing is presumed of a place whose content the fault may have taken.
        foreach (var place in toll.Places) _last.Remove(place);
        if (toll.MayGo is null) return [];
        string[] promised = [.. taken.Where(i => !toll.MayGo(i))];
        return promised.Length == 0 ? []
            : [new(after, $"{fault} takes {promised.Length} items that the declared persistence does not give up: {Example(promised)}")];
    }

    /// <summary>Somebody signed: what its text says may go.</summary>
    public void Sign(Signature signature)
    {
        ArgumentNullException.ThrowIfNull(signature);
        _signed.Add(signature);
        if (signature.ItemsAtMost is { } most) _budget += most;
        else _unnumbered = true;
    }

    private HashSet<string> Union(Look look, Func<Place, bool> counts)
    {
        HashSet<string> union = [];
        foreach (var (place, items) in look.Held)
            if (counts(place) && (items ?? _last.GetValueOrDefault(place)) is { } held) union.UnionWith(held);
        return union;
    }

    private static string Example(IReadOnlyList<string> items) => $"such as {items[0]} and {items[^1]}";

    private static string OneLine(string text) => text.ReplaceLineEndings(" ") is { Length: > 300 } s ? s[..300] + "…"
        : text.ReplaceLineEndings(" ");
}
