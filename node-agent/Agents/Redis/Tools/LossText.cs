using System.Globalization;
using System.Text.RegularExpressions;
using AgentMetal.NodeAgent.Agents.Redis.Data;

namespace AgentMetal.NodeAgent.Agents.Redis.Tools;

/// <summary>
/// The text of what a step may lose. It is what people sign, so it is what a step is held against: two texts say the same when they differ in nothing but how many
/// keys they give up at most, and the signed one covers the other when none of its figures is the lower one.
/// </summary>
internal static partial class LossText
{
    /// <summary>No server holds more; a figure beyond is no count of keys.</summary>
    public const long MostKeys = 1_000_000_000_000_000;

    /// <summary>For a server that cannot hold its writes back while the copy is made.</summary>
    public const string Unheld = "; and what it takes while the copy is made: this Redis is older than 6.2 and cannot hold its writes back";

    /// <summary>Why a signature over one text is none over the other; null = it is.</summary>
    public static string? Outgrown(string signed, string now)
    {
        if (signed == now) return null;
        if (Read(signed) is not { } was || Read(now) is not { } asked || was.Words != asked.Words || was.Figures.Length != asked.Figures.Length) return "signed was: lost: " + signed;
        for (var i = 0; i < was.Figures.Length; i++)
            if (asked.Figures[i] > was.Figures[i])
                return string.Create(CultureInfo.InvariantCulture, $"signed for at most {was.Figures[i]:N0} keys, now {asked.Figures[i]:N0} would be lost");
        return null;
    }

    /// <summary>The one figure of a text: how many keys it gives up at most. Null = it names none, or several.</summary>
    public static long? Most(string signed) => Read(signed) is { Figures: [var most] } ? most : null;

    /// <summary>
    /// The same with room in each figure for what is written before the signature is there: half as much again and at least a thousand. It is still said as
    /// the most that is lost.
    /// </summary>
    public static string WithRoom(string loss) => Figure().Replace(loss, static m => Parse(m) is { } n and < MostKeys / 2
        ? string.Create(CultureInfo.InvariantCulture, $"at most {AtMost.Rounded(n + Math.Max(n / 2, 1000)):N0} keys") : m.Value);

    private static (string Words, long[] Figures)? Read(string text)
    {
        var matches = Figure().Matches(text);
        var figures = new long[matches.Count];
        for (var i = 0; i < figures.Length; i++)
        {
            if (Parse(matches[i]) is not { } n) return null;
            figures[i] = n;
        }
        return (Figure().Replace(text, "#"), figures);
    }

    private static long? Parse(Match m) => !m.Groups[1].Success ? 0
        : long.TryParse(m.Groups[1].ValueSpan, NumberStyles.AllowThousands, CultureInfo.InvariantCulture, out var n) && n is >= 0 and <= MostKeys ? n : null;

    /// <summary>As <see cref="AtMost.Keys"/> writes it.</summary>
    [GeneratedRegex(@"\bat most ([0-9][0-9,]*) keys\b|\bno key\b", RegexOptions.CultureInvariant)]
    private static partial Regex Figure();
}
