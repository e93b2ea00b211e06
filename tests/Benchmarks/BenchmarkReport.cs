using System.Diagnostics;
using System.Globalization;
using System.Runtime.CompilerServices;
using System.Text.Json;

namespace AgentMetal.Benchmarks;

/// <summary>One number or one set of numbers.</summary>
/// <param name="Section">start, idle, repairs, plan, instance or instance-idle.</param>
/// <param name="Subject">Who was measured: agentmetald or a peer.</param>
/// <param name="What">Which quantity, and under which conditions.</param>
/// <param name="Unit">ms, s, MiB or "% of a core".</param>
/// <param name="Count">How many values.</param>
/// <param name="Min">The smallest.</param>
/// <param name="P50">The median; of one value, the value.</param>
/// <param name="P99">The nearest rank.</param>
/// <param name="Max">The largest.</param>
/// <param name="Aim">What was aimed at, or empty.</param>
internal sealed record BenchmarkRow(string Section, string Subject, string What, string Unit, int Count, double Min, double P50, double P99, double Max, string Aim);

/// <summary>Collects rows, prints each as it comes, and writes all of them at the end.</summary>
internal sealed class BenchmarkReport(BenchmarkOptions options)
{
    private static readonly JsonSerializerOptions s_json = new() { WriteIndented = true, PropertyNamingPolicy = JsonNamingPolicy.CamelCase };

    private readonly List<BenchmarkRow> _rows = [];
    private readonly List<string> _notes = [];
    private readonly DateTimeOffset _started = DateTimeOffset.UtcNow;
    private readonly string _loadBefore = Load();

    public static string Root { get; } = RepositoryRoot();

    /// <summary>One value.</summary>
    public void Add(string section, string subject, string what, string unit, double value, string aim = "") => Add(section, subject, what, unit, [value], aim);

    /// <summary>Many values of one quantity.</summary>
    public void Add(string section, string subject, string what, string unit, IReadOnlyCollection<double> values, string aim = "")
    {
        if (values.Count == 0)
        {
            Note($"{section}: {subject}: {what}: nothing could be measured");
            return;
        }
        var sorted = values.Order().ToArray();
        var row = new BenchmarkRow(section, subject, what, unit, sorted.Length, sorted[0], Rank(sorted, 0.5), Rank(sorted, 0.99), sorted[^1], aim);
        lock (_rows) _rows.Add(row);
        Console.WriteLine(Text(row));
    }

    /// <summary>What a number cannot say, such as a peer that cannot be had.</summary>
    public void Note(string text)
    {
        lock (_rows) _notes.Add(text);
        Console.WriteLine("note: " + text);
    }

    public void Print()
    {
        Console.WriteLine();
        Console.WriteLine($"{"",-13} {"who",-26} {"what",-44} {"n",5} {"min",9} {"p50",9} {"p99",9} {"max",9}  aim");
        foreach (var row in _rows) Console.WriteLine(Text(row));
        foreach (var note in _notes) Console.WriteLine("note: " + note);
    }

    public void Save()
    {
        var directory = Directory.CreateDirectory(Path.Combine(Root, "artifacts", "benchmarks")).FullName;
        var file = Path.Combine(directory, "results.json");
        File.WriteAllText(file, JsonSerializer.Serialize(new
        {
            commit = Git("rev-parse", "HEAD"),
            changed = Git("status", "--porcelain").Length > 0,
            started = _started,
            ended = DateTimeOffset.UtcNow,
            cores = Environment.ProcessorCount,
            kernel = Environment.OSVersion.Version.ToString(),
            load = new { before = _loadBefore, after = Load() },
            options,
            rows = _rows,
            notes = _notes,
        }, s_json));
        Console.WriteLine($"{file}, after {(DateTimeOffset.UtcNow - _started).TotalMinutes:0.0} minutes; load before {_loadBefore}, after {Load()}");
    }

    private static double Rank(double[] sorted, double share) => sorted[Math.Max(0, (int)Math.Ceiling(sorted.Length * share) - 1)];

    private static string Text(BenchmarkRow row) => row.Count == 1
        ? string.Create(CultureInfo.InvariantCulture, $"{row.Section,-13} {row.Subject,-26} {row.What,-44} {"",5} {"",9} {row.P50,9:0.##} {"",9} {"",9}  {row.Unit}{Aim(row)}")
        : string.Create(CultureInfo.InvariantCulture, $"{row.Section,-13} {row.Subject,-26} {row.What,-44} {row.Count,5} {row.Min,9:0.##} {row.P50,9:0.##} {row.P99,9:0.##} {row.Max,9:0.##}  {row.Unit}{Aim(row)}");

    private static string Aim(BenchmarkRow row) => row.Aim.Length == 0 ? "" : $" (aim {row.Aim})";

    private static string Load() => string.Join(' ', File.ReadAllText("/proc/loadavg").Split(' ').Take(3));

    private static string Git(params string[] arguments)
    {
        using var git = Process.Start(new ProcessStartInfo("git", arguments) { WorkingDirectory = Root, RedirectStandardOutput = true })!;
        var said = git.StandardOutput.ReadToEnd().Trim();
        git.WaitForExit();
        return said;
    }

    private static string RepositoryRoot([CallerFilePath] string here = "")
    {
        for (var at = Path.GetDirectoryName(here); at is not null; at = Path.GetDirectoryName(at))
            if (File.Exists(Path.Combine(at, "AgentMetal.Edge.sln"))) return at;
        throw new InvalidOperationException("AgentMetal.Edge.sln is in no parent of " + here);
    }
}
