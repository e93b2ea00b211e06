namespace AgentMetal.TestKit.Adversary;

/// <summary>Makes a failing sequence short: its prefix first, then one command less at a time, as far as the tries reach.</summary>
public static class Shrinker
{
    /// <param name="failing">Fails.</param>
    /// <param name="fails">Runs one; a fresh subject each.</param>
    /// <param name="tries">At most so many runs.</param>
    public static async Task<Sequence> ShrinkAsync(Sequence failing, Func<Sequence, Task<bool>> fails, int tries)
    {
        ArgumentNullException.ThrowIfNull(failing);
        ArgumentNullException.ThrowIfNull(fails);
        for (var at = failing.Faults.Length - 1; at >= 0 && tries > 0; at--)
        {
            if (at >= failing.Faults.Length) continue;
            var shorter = failing with { Faults = failing.Faults.RemoveAt(at) };
            if (shorter.Faults.IsEmpty) break;
            tries--;
            if (await fails(shorter)) failing = shorter;
        }
        return failing;
    }
}
