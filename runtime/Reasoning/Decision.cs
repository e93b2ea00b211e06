using System.Collections.Immutable;

namespace AgentMetal.Runtime.Reasoning;

/// <summary>Two or more viable moves for one difference that ask the same question.</summary>
/// <param name="Key">Difference and options; a decision stands until it changes.</param>
/// <param name="Class">The Ask of the moves ("failover-target").</param>
/// <param name="Difference">The key of the difference.</param>
/// <param name="Options">Call keys in the rules' order: the first is the rules' choice. At most 8.</param>
public sealed record Question(string Key, string Class, string Difference, ImmutableArray<string> Options);

/// <param name="Question">The question's key.</param>
/// <param name="Option">The chosen call key; one that is not an option means the rules' choice.</param>
/// <param name="By">The reasoner's name.</param>
public sealed record Decision(string Question, string Option, string By);

/// <summary>Answers choice points. Pure; never gets to write.</summary>
public interface IReasoner
{
    /// <summary>Decides one question.</summary>
    Decision Decide(Question question);
}

/// <summary>Takes the first option: the mildest by the tools' own costs, then by name.</summary>
public sealed class RulesReasoner : IReasoner
{
    /// <summary>The name that decisions carry.</summary>
    public const string Name = "rules";

    /// <inheritdoc />
    public Decision Decide(Question question) => new(question.Key, question.Options[0], Name);
}
