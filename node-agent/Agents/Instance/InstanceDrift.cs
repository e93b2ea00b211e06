using System.Security.Cryptography;
using AgentMetal.Runtime.Planning;
using AgentMetal.Runtime.Resources;
using AgentMetal.Runtime.Resources.Kinds;

namespace AgentMetal.NodeAgent.Agents.Instance;

/// <summary>
/// What somebody changed by hand, where spec.drift is report. A machine that was once as its goal says is settled: the digest of that goal is the file `settled`
/// in its directory, and a fact. From then on a difference that can only be a person's doing is told and left alone, until the goal is another one; what failed
/// is healed. A machine that a person stopped or held is noted beside the digest, because libvirt forgets why it is off when it is restarted itself.
/// </summary>
internal static class InstanceDrift
{
    /// <summary>Beside the digest while a tool of ours has stopped a settled machine: if it fails there, nobody takes it for a person's doing.</summary>
    public const string Busy = "busy";

    /// <summary>In the power fact beside off or paused: the machine failed, or nobody knows; a person did not ask for it.</summary>
    public const string Unasked = "unasked";

    /// <summary>Fields that change nothing about the machine itself: another value of them is no reason to take back what was done by hand.</summary>
    private static readonly string[] s_apart = ["request", "drift", "consoleInStatus", "placement", "reserve", "restart", "shutdown"];

    /// <summary>Of all that is wanted of the machine.</summary>
    /// <param name="spec">Canonical JSON that the schema accepted.</param>
    /// <param name="references">What it refers to, as it came with the assignment.</param>
    public static string Digest(ReadOnlyMemory<byte> spec, IReadOnlyDictionary<string, ReadOnlyMemory<byte>> references)
    {
        var map = (SortedDictionary<string, object?>)CanonicalJson.Parse(spec).Value!;
        foreach (var field in s_apart) map.Remove(field);
        map["references"] = references.OrderBy(r => r.Key, StringComparer.Ordinal).Select(r => (object?)$"{r.Key} {Convert.ToHexStringLower(SHA256.HashData(r.Value.Span))}").ToList();
        return Convert.ToHexStringLower(SHA256.HashData(CanonicalJson.Write(map)))[..16];
    }

    /// <summary>The difference is told to people and not answered.</summary>
    public static bool IsByHand(InstanceGoal goal, InstanceState s, Difference d) => IsSettled(goal, s) && d.Kind switch
    {
        Kind.Definition => s.Domain == Owner.Ours && KeepsDefinition(goal, s),
        // Whoever stopped it for a person kept it from starting with the host, too.
        Kind.Autostart => Suffix(s.Settled) != Busy,
        Kind.Live or Kind.Restart => true,
        Kind.Power => IsPowerByHand(goal, s),
        _ => false,
    };

    /// <summary>The definition that is there is left as it is. One of another accelerator than the host has is nobody's doing, and could not be started.</summary>
    public static bool KeepsDefinition(InstanceGoal goal, InstanceState s) => IsSettled(goal, s) && s.Config.GetValueOrDefault(Aspect.Type) == goal.Config?.Type;

    /// <summary>All of those.</summary>
    public static IEnumerable<Difference> Of(InstanceGoal? goal, InstanceState s) => goal is null ? [] : InstanceDifferences.All(goal, s).Where(d => IsByHand(goal, s, d));

    /// <summary>A person stopped, held or started it.</summary>
    public static bool IsPowerByHand(InstanceGoal goal, InstanceState s) =>
        IsSettled(goal, s) && s.Power != goal.Power && s.Power is Power.Off or Power.Paused or Power.Running && Suffix(s.Settled) is var noted && noted != Busy && (s.Cause.Length == 0 || noted == s.Power);

    /// <summary>What the marker should hold; absent where nothing is reported.</summary>
    public static string Wanted(InstanceGoal goal, InstanceState s) =>
        !goal.ReportsDrift ? FactValue.Absent : IsPowerByHand(goal, s) ? goal.Digest + " " + s.Power : goal.Digest;

    /// <summary>It says nothing of a goal that is not this one, nor of a machine that goes back to a snapshot: what that brings is no person's doing.</summary>
    public static bool IsStale(InstanceGoal goal, InstanceState s) => s.Settled != FactValue.Absent && (!goal.ReportsDrift || IsReturning(goal, s) || Plain(s.Settled) != goal.Digest);

    /// <summary>The digest alone.</summary>
    public static string Plain(string settled) => FactValue.IsUnseen(settled) ? settled : settled.Split(' ')[0];

    /// <summary>As a tool of ours marks it before it stops the machine.</summary>
    public static string AsBusy(string settled) => settled == FactValue.Absent || FactValue.IsUnseen(settled) ? settled : Plain(settled) + " " + Busy;

    /// <summary>What cannot be read may say so: nothing is taken back on the strength of it.</summary>
    private static bool IsSettled(InstanceGoal goal, InstanceState s) => goal.ReportsDrift && (FactValue.IsUnseen(s.Settled) || Plain(s.Settled) == goal.Digest);

    private static bool IsReturning(InstanceGoal goal, InstanceState s) => goal.Spec.Request is { Action: InstanceRequest.Revert } asked && s.Request != asked.Id;

    private static string Suffix(string settled) => !FactValue.IsUnseen(settled) && settled.Split(' ') is [_, var suffix] ? suffix : "";
}
