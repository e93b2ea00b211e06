using System.CommandLine;
using AgentMetal.Cli.CommandLine;
using AgentMetal.Cli.Output;
using AgentMetal.Cli.Rendering;
using AgentMetal.Proto.V1;
using AgentMetal.Runtime.Resources;
using AgentMetal.Runtime.Trust;
using Google.Protobuf;
using Resource = AgentMetal.Proto.V1.Resource;

namespace AgentMetal.Cli.Apply;

/// <summary>
/// Signs the digests of what hosts would execute for the declared resources, with the key that signs approvals, and says so. Hosts execute nothing that
/// their approvers have not signed, so what cannot be signed here is named: it waits.
/// </summary>
internal static class DigestSigning
{
    private const int Named = 4;

    private sealed record Asked(Resource Resource, string Purpose, string Sha256)
    {
        public override string ToString() => $"{Purpose} {Short(Sha256)} of {Resources.Key(Resource)}";
    }

    /// <summary>--no-sign: files that somebody else wrote can be planned without giving them an approver's word.</summary>
    internal static Option<bool> RefuseOption() => new("--no-sign") { Description = "Do not sign what hosts would execute (images, boot, cloud-init); they wait with it" };

    /// <summary>Adds this operator's signatures to the resources.</summary>
    /// <param name="session">The home has the key and the approver set.</param>
    /// <param name="resources">As they are sent.</param>
    /// <param name="refused">The operator does not want to sign.</param>
    internal static void Sign(Session session, IReadOnlyList<Resource> resources, bool refused)
    {
        Asked[] asked = [.. resources.SelectMany(r => Executes(r).Select(d => new Asked(r, d.Purpose, d.Sha256)))];
        if (asked.Length == 0) return;
        var approvers = session.Home.LoadApprovers(session.Link.Root, TrustedTime.Now(session.Screen.Clock.GetUtcNow(), null));
        if (refused)
        {
            Warn(session, asked, "--no-sign was given", approvers);
            return;
        }
        if (!File.Exists(session.Home.In(InitBundle.OperatorKey)))
        {
            Warn(session, asked, $"there is no key in {session.Home.Path}", approvers);
            return;
        }
        using var key = session.Home.LoadKey();
        var id = P256.KeyId(key);
        if (approvers is not null && approvers.Find(id) is null)
        {
            // A signature that no host would count is worth nothing, and the person would think that it is.
            Warn(session, asked, $"your key is not in approver set {approvers.Version} of this home", approvers);
            return;
        }
        var now = session.Screen.Clock.GetUtcNow();
        foreach (var one in asked) one.Resource.Digests.Add(ToWire(Runtime.Trust.DigestSignature.Sign(key, one.Purpose, one.Sha256, now)));
        var more = approvers is { Threshold: > 1 } ? $"; hosts ask for {approvers.Threshold} of: {string.Join(", ", approvers.Keys.Select(k => k.Name))}, so others apply the same files too" : "";
        session.Screen.Note(Piece.Good("Signed "), $"as {approvers?.Find(id)?.Name ?? "key " + id[..8]}: {List(asked)}{more}");
    }

    /// <summary>What a spec executes; none while it is not right, which the coordinator says with everything else that is wrong.</summary>
    internal static IEnumerable<(string Purpose, string Sha256)> Executes(Resource resource)
    {
        if (KindCatalog.Find(resource.Kind) is not { ExecutesNothing: false } kind) return [];
        var (spec, errors) = kind.Validate(resource.Spec.Memory);
        return errors.IsEmpty ? kind.Executes(spec.AsMemory()) : [];
    }

    internal static string Short(string sha256) => sha256.Length > 12 ? sha256[..12] + "…" : sha256;

    private static void Warn(Session session, Asked[] asked, string why, ApproverSet? approvers) => session.Screen.Note(Piece.Warn("warning: "),
        $"not signed: {List(asked)}, because {why}; hosts wait with it for {(approvers is null ? "an approver" : $"{approvers.Threshold} of: {string.Join(", ", approvers.Keys.Select(k => k.Name))}")}, who applies the same files");

    private static string List(Asked[] asked) => string.Join(", ", asked.Take(Named).Select(a => a.ToString())) + (asked.Length > Named ? $" and {asked.Length - Named} more" : "");

    private static Proto.V1.DigestSignature ToWire(Runtime.Trust.DigestSignature s) => new()
    {
        Purpose = s.Purpose,
        Sha256 = s.Sha256,
        IssuedUnixMs = s.IssuedUnixMs,
        KeyId = s.KeyId,
        Signature = ByteString.CopyFrom(s.Signature),
    };
}
