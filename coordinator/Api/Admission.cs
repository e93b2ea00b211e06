using System.Collections.Concurrent;
using System.Collections.Immutable;
using AgentMetal.Coordinator.Agents.Orchestrator;
using AgentMetal.Coordinator.Fleet;
using AgentMetal.Proto.V1;
using AgentMetal.Runtime.Resources;
using Google.Protobuf;
using Resource = AgentMetal.Proto.V1.Resource;
using FieldError = AgentMetal.Proto.V1.FieldError;
using Metadata = AgentMetal.Proto.V1.Metadata;

namespace AgentMetal.Coordinator.Api;

/// <summary>A resource as it would be stored.</summary>
/// <param name="Resource">Complete: uid, generation, defaults.</param>
/// <param name="Before">What it replaces; null = it is new.</param>
/// <param name="Action">created, changed or unchanged.</param>
internal sealed record Admitted(Resource Resource, Row<Resource>? Before, string Action);

/// <summary>The edge where resources enter: all of them are checked, every error is said at once, and only then is anything written. Pure.</summary>
internal sealed class Admission(PlanReservations reservations, AgentCatalog catalog, TimeProvider clock)
{
    public const int MaxResources = 20_000;

    /// <summary>Larger specs would not fit a store value together with labels and annotations.</summary>
    public const int MaxSpec = 40 * 1024;

    /// <summary>Signatures that one resource can have.</summary>
    public const int MaxDigests = 64;

    private const int MaxRemembered = 512;

    private readonly ConcurrentDictionary<(string Kind, ByteString Written), ByteString> _complete = new();

    public (IReadOnlyList<Admitted> Admitted, IReadOnlyList<FieldError> Errors) Check(FleetView view, IReadOnlyList<Resource> requested)
    {
        var errors = new List<FieldError>();
        var admitted = new List<Admitted>();
        var seen = new Dictionary<string, int>(StringComparer.Ordinal);
        if (requested.Count == 0) errors.Add(new() { Path = "resources", Message = "is empty", Note = "give at least one document" });
        if (requested.Count > MaxResources) errors.Add(new() { Path = "resources", Message = $"has {requested.Count} documents; at most {MaxResources}", Note = "split it" });
        for (var i = 0; i < requested.Count && requested.Count <= MaxResources; i++)
        {
            var found = new List<Runtime.Resources.FieldError>();
            var one = Check(view, requested[i], found);
            if (one is not null && seen.TryGetValue(Keys.Path(one.Resource), out var first)) found.Add(new("metadata.name", $"{Keys.Of(one.Resource)} is declared twice, the first time in document {first}", "keep one of them"));
            else if (one is not null) seen[Keys.Path(one.Resource)] = i;
            var document = i;
            errors.AddRange(found.Select(e => new FieldError { Path = e.Path, Message = e.Message, Note = e.Note, Document = document }));
            if (one is not null && found.Count == 0) admitted.Add(one);
        }
        errors.AddRange(Shared(view, admitted, seen));
        return (admitted, errors);
    }

    /// <summary>What only one resource can refer to, and another does: after the whole request, so that it can go from one to the other in one command.</summary>
    private IEnumerable<FieldError> Shared(FleetView view, List<Admitted> admitted, Dictionary<string, int> documents)
    {
        var brought = admitted.ToDictionary(a => a.Resource.Metadata.Uid, a => a.Resource, StringComparer.Ordinal);
        foreach (var one in admitted.Where(a => a.Action != "unchanged"))
            foreach (var to in catalog.ReferencesOf(one.Resource).Where(r => r.Alone))
            {
                var path = Keys.Path(one.Resource.Metadata.Project, to);
                var other = view.ReferrersOf(path).Select(uid => brought.GetValueOrDefault(uid) ?? view.Resources[uid].Value).Concat(admitted.TakeWhile(a => a != one).Select(a => a.Resource))
                    .FirstOrDefault(r => r.Metadata.Uid != one.Resource.Metadata.Uid && r.Metadata.Project == one.Resource.Metadata.Project && catalog.ReferencesOf(r).Any(o => o.Kind == to.Kind && o.Name == to.Name));
                if (other is null) continue;
                yield return new()
                {
                    Path = to.Path,
                    Message = $"{to.Kind} {one.Resource.Metadata.Project}/{to.Name} is used by {Keys.Of(other)}{(other.Metadata.DeletedUnixMs != 0 ? ", which is being deleted" : "")}, and one at a time can use it",
                    Note = other.Metadata.DeletedUnixMs != 0 ? $"wait until it is gone: agentmetal get {Keys.Command(other)}" : "take it out there, also in the same command, or name another",
                    Document = documents[Keys.Path(one.Resource)],
                };
            }
    }

    private Admitted? Check(FleetView view, Resource wanted, List<Runtime.Resources.FieldError> errors)
    {
        if (wanted.ApiVersion != Runtime.Resources.Resource.ApiVersion)
            errors.Add(new("apiVersion", $"\"{Clip(wanted.ApiVersion)}\" is not known here", $"write {Runtime.Resources.Resource.ApiVersion}"));
        var meta = wanted.Metadata ?? new();
        var project = meta.Project.Length == 0 ? Runtime.Resources.Metadata.DefaultProject : meta.Project;
        errors.AddRange(Runtime.Resources.Resource.MetadataErrors(new()
        {
            Name = meta.Name,
            Project = project,
            Labels = meta.Labels.ToImmutableSortedDictionary(StringComparer.Ordinal),
            Annotations = meta.Annotations.ToImmutableSortedDictionary(StringComparer.Ordinal),
        }));
        if (KindCatalog.Find(wanted.Kind) is not { } kind)
        {
            errors.Add(new("kind", $"\"{Clip(wanted.Kind)}\" is not a kind of this build", "kinds: " + string.Join(", ", KindCatalog.All.Select(k => k.Kind))));
            return null;
        }
        if (wanted.Spec.Length > MaxSpec)
        {
            errors.Add(new("spec", $"has {wanted.Spec.Length} bytes; at most {MaxSpec}", "declare several resources"));
            return null;
        }
        var spec = Complete(kind, wanted.Spec, errors);
        if (spec is null || errors.Count > 0) return null;

        var before = view.Find(project, kind.Kind, meta.Name);
        var next = new Resource { ApiVersion = Runtime.Resources.Resource.ApiVersion, Kind = kind.Kind, Spec = spec, Metadata = new() { Project = project, Name = meta.Name, Protect = meta.Protect } };
        next.Metadata.Labels.Add(meta.Labels);
        next.Metadata.Annotations.Add(meta.Annotations);
        next.Digests.AddRange(Digests(kind, next.Spec, before?.Value, wanted, errors));
        errors.AddRange(kind.DeclaredRules(before?.Value.Spec.Memory, next.Spec.Memory));
        if (errors.Count > 0) return null;
        return before is null ? Create(wanted, next, errors) : Change(wanted, next, before, kind, errors);
    }

    private Admitted Create(Resource wanted, Resource next, List<Runtime.Resources.FieldError> errors)
    {
        if (wanted.Revision != 0) errors.Add(new("revision", $"expects revision {wanted.Revision}, but {Keys.Of(next)} does not exist", "leave the revision out to create it"));
        if (wanted.Metadata.Uid.Length > 0) errors.Add(new("metadata.uid", "is minted by the coordinator", "leave it out"));
        (next.Metadata.Uid, next.Metadata.Generation, next.Metadata.CreatedUnixMs) = (reservations.Uid(Keys.Path(next)), 1, clock.GetUtcNow().ToUnixTimeMilliseconds());
        return new(next, null, "created");
    }

    private static Admitted Change(Resource wanted, Resource next, Row<Resource> before, KindSchema kind, List<Runtime.Resources.FieldError> errors)
    {
        var old = before.Value;
        if (old.Metadata.DeletedUnixMs != 0)
            errors.Add(new("metadata.name", $"{Keys.Of(next)} is being deleted since {DateTimeOffset.FromUnixTimeMilliseconds(old.Metadata.DeletedUnixMs):u}", $"take the deletion back: agentmetal undelete {Keys.Command(next)}; or wait until it is gone: agentmetal get {Keys.Command(next)}"));
        if (wanted.Revision != 0 && wanted.Revision != before.ModifiedAt)
            errors.Add(new("revision", $"expects revision {wanted.Revision}, but {Keys.Of(next)} is at {before.ModifiedAt}: somebody changed it", "read it again and repeat the change"));
        if (wanted.Metadata.Uid.Length > 0 && wanted.Metadata.Uid != old.Metadata.Uid)
            errors.Add(new("metadata.uid", $"is {wanted.Metadata.Uid}, but {Keys.Of(next)} is {old.Metadata.Uid}: another resource has the name now", "leave it out"));
        var respec = !old.Spec.Equals(next.Spec);
        if (respec) errors.AddRange(kind.ImmutableErrors(old.Spec.Memory, next.Spec.Memory));
        else next.Spec = old.Spec; // The same bytes: one copy of them is enough.
        (next.Metadata.Uid, next.Metadata.Generation, next.Metadata.CreatedUnixMs) = (old.Metadata.Uid, old.Metadata.Generation + (respec ? 1 : 0), old.Metadata.CreatedUnixMs);
        var same = !respec && old.Metadata.Protect == next.Metadata.Protect && old.Metadata.Labels.Equals(next.Metadata.Labels) && old.Metadata.Annotations.Equals(next.Metadata.Annotations)
            && old.Digests.Equals(next.Digests);
        return new(next, before, same ? "unchanged" : "changed");
    }

    /// <summary>
    /// The signatures to keep: those that are there and those that came, over what the spec executes and no other. One key's second signature over the same
    /// digest says nothing new, so applying the same files again changes nothing. Only the form is checked: judging them is the hosts'.
    /// </summary>
    private static List<DigestSignature> Digests(KindSchema kind, ByteString spec, Resource? before, Resource wanted, List<Runtime.Resources.FieldError> errors)
    {
        if (wanted.Digests.Count > MaxDigests) errors.Add(new("digests", $"has {wanted.Digests.Count} signatures; at most {MaxDigests}"));
        else
            for (var i = 0; i < wanted.Digests.Count; i++)
                if (Read(wanted.Digests[i]).FormError() is { } wrong) errors.Add(new($"digests[{i}]", wrong, "sign again with this version of agentmetal apply"));
        if (errors.Count > 0) return [];
        if (kind.ExecutesNothing) return [];
        var executes = kind.Executes(spec.Memory).ToHashSet();
        List<DigestSignature> kept = [.. Referred.Ordered((before?.Digests ?? []).Concat(wanted.Digests).Where(d => executes.Contains((d.Purpose, d.Sha256))).DistinctBy(d => (d.Purpose, d.Sha256, d.KeyId)))];
        if (kept.Count > MaxDigests) errors.Add(new("digests", $"would have {kept.Count} signatures; at most {MaxDigests}"));
        return kept;
    }

    private static Runtime.Trust.DigestSignature Read(DigestSignature d) => new() { Purpose = d.Purpose, Sha256 = d.Sha256, IssuedUnixMs = d.IssuedUnixMs, KeyId = d.KeyId, Signature = d.Signature.ToByteArray() };

    /// <summary>
    /// The spec with its defaults; null after adding its errors. Which spec that is depends on what was written and on nothing else, and the same files are
    /// planned and applied again and again: what was complete once is not worked out twice.
    /// </summary>
    private ByteString? Complete(KindSchema kind, ByteString written, List<Runtime.Resources.FieldError> errors)
    {
        var key = (kind.Kind, written);
        if (_complete.TryGetValue(key, out var known)) return known;
        var (spec, found) = kind.Validate(written.Memory);
        errors.AddRange(found);
        if (found.Length > 0) return null;
        var complete = ByteString.CopyFrom(spec.AsSpan());
        // Both bounds together: some 30 MB at the very most.
        if (written.Length > MaxRemembered) return complete;
        if (_complete.Count >= MaxResources) _complete.Clear();
        return _complete[key] = complete;
    }

    private static string Clip(string text) => text.Length <= 63 ? text : text[..63] + "…";
}
