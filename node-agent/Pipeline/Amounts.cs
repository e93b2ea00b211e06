using System.Globalization;

namespace AgentMetal.NodeAgent.Pipeline;

/// <summary>Bytes as people read them.</summary>
internal static class Amounts
{
    /// <summary>"256 MiB", "1.4 GiB".</summary>
    public static string Of(long bytes)
    {
        string[] units = ["B", "KiB", "MiB", "GiB", "TiB"];
        var (value, unit) = ((double)bytes, 0);
        for (; value >= 1024 && unit < units.Length - 1; unit++) value /= 1024;
        return value.ToString(unit == 0 || value >= 100 ? "0" : "0.#", CultureInfo.InvariantCulture) + " " + units[unit];
    }
}
