using System.Globalization;
using AgentMetal.Cli.Rendering;
using AgentMetal.Runtime.Resources.Kinds;

namespace AgentMetal.Cli.Describe;

/// <summary>What a member tells people of itself: the numbers of a virtual machine side by side, the end of its console, and whatever else there is as it came. A guest wrote some of it.</summary>
internal sealed class DetailsView(Screen screen)
{
    private static readonly HashSet<string> s_known = [InstanceDetail.Power, InstanceDetail.Addresses, InstanceDetail.Accelerator, InstanceDetail.Cpus, InstanceDetail.CpuPercent,
        InstanceDetail.MemoryUsed, InstanceDetail.MemoryAssigned, InstanceDetail.DiskRead, InstanceDetail.DiskWritten, InstanceDetail.DiskAllocated, InstanceDetail.Received, InstanceDetail.Sent, InstanceDetail.Console];

    /// <param name="where">The host; empty = this one.</param>
    /// <param name="details">By key.</param>
    internal void Write(string where, IReadOnlyDictionary<string, string> details)
    {
        if (details.Count == 0) return;
        screen.Line("");
        screen.Line(Piece.Quiet(where.Length > 0 ? "Details on " : "Details"), where);
        var table = new Table(new(""), new("", Overflow.Wrap, 30)) { Bare = true, Indent = 2 };
        Row("power", Joined([Text(InstanceDetail.Power), details.GetValueOrDefault(InstanceDetail.Accelerator) switch { "qemu" => "emulated", { } other => other, null => null }]));
        Row("addresses", Text(InstanceDetail.Addresses));
        Row("processor", Joined([Text(InstanceDetail.CpuPercent) is { } percent ? percent + "%" : null, Text(InstanceDetail.Cpus) is { } cpus ? $"of {cpus}" : null], " "));
        Row("memory", Joined([Size(InstanceDetail.MemoryUsed) is { } used ? used + " used" : null, Size(InstanceDetail.MemoryAssigned) is { } assigned ? assigned + " assigned" : null]));
        Row("disks", Joined([Rate("read", InstanceDetail.DiskRead), Rate("written", InstanceDetail.DiskWritten), Size(InstanceDetail.DiskAllocated) is { } allocated ? allocated + " allocated" : null]));
        Row("network", Joined([Rate("received", InstanceDetail.Received), Rate("sent", InstanceDetail.Sent)]));
        foreach (var (key, value) in details.Where(d => !s_known.Contains(d.Key)).OrderBy(d => d.Key, StringComparer.Ordinal)) Row(key, value);
        table.Write(screen);
        if (Text(InstanceDetail.Console) is not { } console) return;
        screen.Line("  ", Piece.Quiet("console"));
        foreach (var line in console.Split('\n')) screen.Line("    ", Plain.Fit(Plain.Clean(line), screen.Width == Screen.Unbounded ? int.MaxValue : screen.Width - 4));

        string? Text(string key) => details.TryGetValue(key, out var value) && value.Length > 0 ? value : null;
        string? Size(string key) => long.TryParse(Text(key), NumberStyles.None, CultureInfo.InvariantCulture, out var bytes) ? Amount(bytes) : null;
        string? Rate(string word, string key) => Size(key) is { } amount ? $"{word} {amount}/s" : null;
        string Joined(string?[] parts, string between = ", ") => string.Join(between, parts.OfType<string>());
        void Row(string name, string? value)
        {
            if (value is { Length: > 0 }) table.Add(Piece.Quiet(name), value);
        }
    }

    /// <summary>As people read an amount: "1.4 GiB".</summary>
    internal static string Amount(long bytes)
    {
        string[] units = ["B", "KiB", "MiB", "GiB", "TiB"];
        var (value, unit) = ((double)bytes, 0);
        for (; value >= 1024 && unit < units.Length - 1; unit++) value /= 1024;
        return value.ToString(unit == 0 || value >= 100 ? "0" : "0.#", CultureInfo.InvariantCulture) + " " + units[unit];
    }
}
