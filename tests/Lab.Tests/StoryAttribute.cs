using Xunit.v3;

namespace AgentMetal.LabTests;

/// <summary>
/// Where a class of stories belongs and what it costs, one line above the class: tests/stories.sh reads it from the source and chooses by it what a run of ./test.sh tells.
/// </summary>
/// <param name="area">A line of tests/areas.txt: a change of its files runs every story of it.</param>
/// <param name="seconds">Wall time on 2 cores, measured (tests/stories.sh --measured FILE compares).</param>
[AttributeUsage(AttributeTargets.Class, Inherited = false)]
public sealed class StoryAttribute(string area, int seconds) : Attribute, ITraitAttribute
{
    /// <summary>Told by every run, whatever changed: the shortest walk through what the area is for. One in each area.</summary>
    public bool Heart { get; init; }

    public IReadOnlyCollection<KeyValuePair<string, string>> GetTraits() =>
        [new("area", area), new("seconds", seconds.ToString(System.Globalization.CultureInfo.InvariantCulture)), .. Heart ? [new KeyValuePair<string, string>("heart", "yes")] : Array.Empty<KeyValuePair<string, string>>()];
}
