using System.Text.Json;
using System.Text.Json.Serialization;
using AgentMetal.Cli.CommandLine;
using AgentMetal.Proto.V1;
using AgentMetal.Runtime.Local;
using Google.Protobuf;

namespace AgentMetal.Cli.Approve;

/// <param name="Format"><see cref="CarriedFiles.HeldFormat"/>.</param>
/// <param name="Held">Protobuf messages Held, base64: what the hosts signed, byte for byte.</param>
internal sealed record HeldFile(string Format, IReadOnlyList<byte[]> Held);

/// <param name="Format"><see cref="CarriedFiles.ApprovalFormat"/>.</param>
/// <param name="Approvals">One per host and resource.</param>
internal sealed record ApprovalFile(string Format, IReadOnlyList<LocalApproval> Approvals);

[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase, WriteIndented = true)]
[JsonSerializable(typeof(HeldFile))]
[JsonSerializable(typeof(ApprovalFile))]
internal sealed partial class CarriedJson : JsonSerializerContext;

/// <summary>Files that are carried by hand where no network goes: questions to the key, answers to the host.</summary>
internal static class CarriedFiles
{
    internal const string HeldFormat = "agentmetal/held-file/v1";
    internal const string ApprovalFormat = "agentmetal/approval-file/v1";

    private const int Largest = 4 * 1024 * 1024;

    internal static void WriteHeld(string path, IEnumerable<Held> held) =>
        WriteHeld(path, held.Select(h => h.ToByteArray()));

    /// <summary>As the host gave them.</summary>
    internal static void WriteHeld(string path, IEnumerable<byte[]> held) =>
        Write(path, JsonSerializer.SerializeToUtf8Bytes(new HeldFile(HeldFormat, [.. held]), CarriedJson.Default.HeldFile));

    internal static void WriteApprovals(string path, IEnumerable<LocalApproval> approvals) =>
        Write(path, JsonSerializer.SerializeToUtf8Bytes(new ApprovalFile(ApprovalFormat, [.. approvals]), CarriedJson.Default.ApprovalFile));

    internal static IReadOnlyList<Held> ReadHeld(string path)
    {
        try
        {
            if (JsonSerializer.Deserialize(Read(path), CarriedJson.Default.HeldFile) is { Format: HeldFormat, Held: { Count: > 0 } held })
                return [.. held.Select(Held.Parser.ParseFrom)];
        }
        catch (Exception e) when (e is JsonException or InvalidProtocolBufferException or FormatException)
        {
            // Told below: whatever is wrong with it, it is not such a file.
        }
        throw NotOne(path, "held plans", "agentmetal approve ID --export FILE, or on the host: agentmetal local held RESOURCE --out FILE");
    }

    internal static IReadOnlyList<LocalApproval> ReadApprovals(string path)
    {
        try
        {
            if (JsonSerializer.Deserialize(Read(path), CarriedJson.Default.ApprovalFile) is { Format: ApprovalFormat, Approvals: { Count: > 0 } approvals }
                && approvals.All(a => a is { StepHashes.IsDefault: false, ResourceUid: not null, NodeUid: not null, Decision: not null, Reason: not null, KeyId: not null, Signature: not null }))
                return approvals;
        }
        catch (Exception e) when (e is JsonException or FormatException)
        {
            // Told below.
        }
        throw NotOne(path, "approvals", "agentmetal approve --offline HELD --out FILE");
    }

    private static byte[] Read(string path)
    {
        var file = new FileInfo(path);
        if (!file.Exists) throw new CommandFailedException(new(ExitCode.BadInput, $"{path} does not exist", "check the path"));
        if (file.Length > Largest) throw new CommandFailedException(new(ExitCode.BadInput, $"{path} is larger than {Largest} bytes", "check the path"));
        return File.ReadAllBytes(path);
    }

    private static void Write(string path, byte[] bytes)
    {
        if (File.Exists(path)) throw new CommandFailedException(new(ExitCode.BadInput, $"{path} exists", "choose another file, or remove it yourself"));
        File.WriteAllBytes(path, bytes);
    }

    private static CommandFailedException NotOne(string path, string what, string how) => new(new(ExitCode.BadInput, $"{path} is not a file of {what}", "make one with: " + how));
}
