using System.Collections.Immutable;
using System.Globalization;

namespace AgentMetal.TestKit.Adversary;

/// <summary>One fault as a command: a name that the subject knows, and its arguments. "wait" and "sign" are everybody's.</summary>
/// <param name="Name">One word.</param>
/// <param name="Arguments">Words without blanks.</param>
public sealed record Fault(string Name, ImmutableArray<string> Arguments)
{
    /// <summary>Lets time pass: milliseconds.</summary>
    public const string Wait = "wait";

    /// <summary>A person signs what waits, whatever it is.</summary>
    public const string Sign = "sign";

    /// <inheritdoc/>
    public override string ToString() => string.Join(' ', [Name, .. Arguments]);

    /// <summary>The fault of such a text.</summary>
    public static Fault Parse(string text)
    {
        ArgumentNullException.ThrowIfNull(text);
        return text.Split(' ', StringSplitOptions.RemoveEmptyEntries) is [var name, .. var arguments] ? new(name, [.. arguments])
            : throw new FormatException("a fault is empty");
    }

    /// <inheritdoc/>
    public bool Equals(Fault? other) => other is not null && ToString() == other.ToString();

    /// <inheritdoc/>
    public override int GetHashCode() => ToString().GetHashCode(StringComparison.Ordinal);
}

/// <summary>A fault that a subject offers.</summary>
/// <param name="Name">As of <see cref="Fault.Name"/>.</param>
/// <param name="Weight">How often it is drawn beside the others.</param>
/// <param name="Draw">Its arguments; all randomness is the argument.</param>
public sealed record FaultKind(string Name, int Weight, Func<Random, string[]> Draw);

/// <summary>Faults in order, drawn from a seed and an index: the same two and the same catalogue give the same commands.</summary>
/// <param name="Seed">Of the whole run.</param>
/// <param name="Index">Within the run.</param>
/// <param name="Faults">Pauses among them.</param>
public sealed record Sequence(int Seed, int Index, ImmutableArray<Fault> Faults)
{
    /// <summary>Fewest faults in a sequence.</summary>
    public const int Fewest = 3;

    /// <summary>Most faults in a sequence.</summary>
    public const int Most = 12;

    /// <summary>Randomness that belongs to this sequence and to no other, for what is decided beside the faults.</summary>
    public Random Random() => Of(Seed, Index, 1);

    /// <summary>3 to 12 faults with pauses of up to three seconds between; short sequences are more frequent.</summary>
    public static Sequence Draw(int seed, int index, IReadOnlyList<FaultKind> kinds)
    {
        ArgumentNullException.ThrowIfNull(kinds);
        var random = Of(seed, index, 0);
        var count = Math.Min(random.Next(Fewest, Most + 1), random.Next(Fewest, Most + 1));
        var all = kinds.Sum(k => k.Weight);
        var faults = ImmutableArray.CreateBuilder<Fault>();
        for (var i = 0; i < count; i++)
        {
            var at = random.Next(all);
            var kind = kinds.First(k => (at -= k.Weight) < 0);
            faults.Add(new(kind.Name, [.. kind.Draw(random)]));
            if (random.Next(8) == 0) faults.Add(new(Fault.Sign, []));
            if (random.Next(3) > 0) faults.Add(new(Fault.Wait, [random.Next(100, 3000).ToString(CultureInfo.InvariantCulture)]));
        }
        return new(seed, index, faults.ToImmutable());
    }

    /// <summary>The first so many commands.</summary>
    public Sequence Prefix(int commands) => this with { Faults = Faults[..Math.Min(commands, Faults.Length)] };

    /// <summary>One line for each command; <see cref="Parse"/> reads it.</summary>
    public string Commands() => string.Join('\n', Faults);

    /// <summary>The sequence of such lines.</summary>
    public static Sequence Parse(int seed, int index, string commands)
    {
        ArgumentNullException.ThrowIfNull(commands);
        return new(seed, index,
            [.. commands.Split(['\n', ';'], StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries).Select(Fault.Parse)]);
    }

    private static Random Of(int seed, int index, int use) => new(unchecked((seed * 31 + index) * 31 + use));
}
