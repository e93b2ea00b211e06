using System.Collections.Immutable;
using System.Security.Cryptography;
using System.Text;
using AgentMetal.Runtime.Reasoning;
using AgentMetal.Runtime.Risk;

namespace AgentMetal.Runtime.Planning;

/// <summary>
/// Step hash: what a signer means. In: node, resource, generation, nonce, tool and version, args, basis, expected facts, risk with reasons,
/// inverse. Out: index, wave, cost, words, time, the rest of the state; so reordering and unrelated drift keep an approval, and any change
/// of meaning voids it. Plan hash: subject, goal, the step hashes in order, decisions.
/// </summary>
public static class Hashes
{
    /// <summary>The domain separation of step hashes.</summary>
    public const string StepDomain = "agentmetal/step/v1";

    private const string PlanDomain = "agentmetal/plan/v1";

    /// <summary>Hex SHA-256 over the length-prefixed fields.</summary>
    public static string Step(PlanSubject subject, string nonce, string tool, int toolVersion, string args, ImmutableArray<Fact> basis,
        ImmutableArray<Fact> expect, Assessment risk, Undo undo)
    {
        var text = new FieldHash(StepDomain).Add(subject.NodeUid).Add(subject.ResourceUid).Add(subject.Generation).Add(nonce)
            .Add(tool).Add(toolVersion).Add(args).Add(risk.Level.ToString()).Add(risk.LosesData ? 1 : 0).Add(risk.Reasons.Length);
        foreach (var reason in risk.Reasons) text.Add(reason);
        Add(text, basis);
        Add(text, expect);
        text.Add(undo.Kind.ToString()).Add(undo.Call?.Tool ?? "").Add(undo.Call?.Args ?? "");
        return text.Hex();
    }

    /// <summary>The hash of a step as it stands.</summary>
    public static string Of(PlanSubject subject, Step step) =>
        Step(subject, step.Nonce, step.Tool, step.ToolVersion, step.Args, step.Basis, step.Expect, step.Risk, step.Undo);

    /// <summary>Hex SHA-256; a plan replays byte-identically, so two equal plans have one hash.</summary>
    public static string Plan(PlanRequest request, IEnumerable<Step> steps, IEnumerable<Decision> decisions)
    {
        var text = new FieldHash(PlanDomain).Add(request.Subject.NodeUid).Add(request.Subject.ResourceUid).Add(request.Subject.Generation).Add(request.GoalHash);
        foreach (var s in steps) text.Add(s.Hash);
        foreach (var d in decisions) text.Add(d.Question).Add(d.Option);
        return text.Hex();
    }

    /// <summary>The step with this nonce and the hash that follows from it.</summary>
    public static Step Bind(PlanSubject subject, Step step, string nonce)
    {
        var bound = step with { Nonce = nonce };
        return bound with { Hash = Of(subject, bound) };
    }

    private static void Add(FieldHash text, ImmutableArray<Fact> facts)
    {
        text.Add(facts.Length);
        foreach (var (key, value) in facts) text.Add(key).Add(value);
    }
}

/// <summary>SHA-256 over fields, each prefixed with its UTF-8 length in bytes, so no two sequences of fields give the same text.</summary>
public sealed class FieldHash
{
    private readonly StringBuilder _text = new(256);

    /// <summary>Starts with a domain separation string.</summary>
    public FieldHash(string domain) => Add(domain);

    /// <summary>Appends one text field.</summary>
    public FieldHash Add(string field)
    {
        _text.Append(Encoding.UTF8.GetByteCount(field)).Append(':').Append(field);
        return this;
    }

    /// <summary>Appends one number, in decimal.</summary>
    public FieldHash Add(long field) => Add(field.ToString(System.Globalization.CultureInfo.InvariantCulture));

    /// <summary>Lower-case hex, 64 characters.</summary>
    public string Hex() => Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(_text.ToString())));
}
