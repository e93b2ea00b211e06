using System.Collections.Immutable;
using AgentMetal.Proto.V1;
using AgentMetal.Runtime.Planning;
using AgentMetal.Runtime.Store;
using Google.Protobuf;

namespace AgentMetal.Coordinator.Agents.Orchestrator;

/// <summary>What a resource refers to, looked up: with its own spec, all that its members are told of what is wanted.</summary>
internal sealed record Referred
{
    /// <summary>Bytes of specs and signatures that one assignment can hold: a value of the store, less what else is in it.</summary>
    public const int MaxBytes = StoreLimits.MaxValueBytes - (8 * 1024);

    /// <summary>In the order of their keys, "Image/debian-12".</summary>
    public required ImmutableSortedDictionary<string, Resource> Found { get; init; }

    /// <summary>Why members cannot be told yet, one line each; empty = nothing is missing.</summary>
    public required ImmutableArray<string> Missing { get; init; }

    /// <param name="catalog">Knows what a spec refers to.</param>
    /// <param name="resource">Whose references.</param>
    /// <param name="find">By "project/Kind/name"; null = there is none.</param>
    public static Referred Look(AgentCatalog catalog, Resource resource, Func<string, Resource?> find)
    {
        var found = ImmutableSortedDictionary.CreateBuilder<string, Resource>(StringComparer.Ordinal);
        var missing = ImmutableArray.CreateBuilder<string>();
        foreach (var to in catalog.ReferencesOf(resource).Where(r => !r.Weak))
        {
            var there = find(Keys.Path(resource.Metadata.Project, to));
            if (there is null) missing.Add($"{to.Path}: {to.Kind} {resource.Metadata.Project}/{to.Name} does not exist: apply it first");
            else if (there.Metadata.DeletedUnixMs != 0) missing.Add($"{to.Path}: {to.Kind} {resource.Metadata.Project}/{to.Name} is being deleted: apply it again when it is gone");
            else found[$"{to.Kind}/{to.Name}"] = there;
        }
        var referred = new Referred { Found = found.ToImmutable(), Missing = [] };
        var bytes = resource.Spec.Length + referred.Found.Sum(f => f.Key.Length + f.Value.Spec.Length) + referred.Digests(resource).Sum(d => d.CalculateSize() + 3);
        if (bytes > MaxBytes) missing.Add($"spec: is {bytes} bytes with what it refers to and all signatures; at most {MaxBytes}: make it smaller");
        return referred with { Missing = missing.DrainToImmutable() };
    }

    /// <summary>Hash of the spec and of those that it refers to. Without any it is that of the spec, as it was before there were references.</summary>
    public string SpecHash(Resource resource) => SpecHash(resource.Spec, Found.Select(f => (f.Key, f.Value.Spec)));

    /// <summary>Operators' signatures over what the spec executes and over what it refers to, each once, in one order.</summary>
    public IEnumerable<DigestSignature> Digests(Resource resource) =>
        Ordered(resource.Digests.Concat(Found.Values.SelectMany(r => r.Digests)).DistinctBy(d => (d.Purpose, d.Sha256, d.KeyId)));

    /// <summary>What an assignment says.</summary>
    public static string SpecHash(Assignment a) => SpecHash(a.Spec, a.References.OrderBy(r => r.Key, StringComparer.Ordinal).Select(r => (r.Key, r.Value)));

    /// <summary>
    /// Who signed what, as one word; empty = nobody signed anything. Not the signatures themselves: the same key's second signature over one digest says
    /// nothing new.
    /// </summary>
    public static string SignedBy(IEnumerable<DigestSignature> digests)
    {
        var hash = new FieldHash("agentmetal/signed/v1");
        var any = false;
        foreach (var d in Ordered(digests))
        {
            hash.Add(d.Purpose).Add(d.Sha256).Add(d.KeyId);
            any = true;
        }
        return any ? hash.Hex()[..16] : "";
    }

    /// <summary>One order for a set of signatures, so that equal sets are equal messages.</summary>
    public static IEnumerable<DigestSignature> Ordered(IEnumerable<DigestSignature> digests) =>
        digests.OrderBy(d => d.Purpose, StringComparer.Ordinal).ThenBy(d => d.Sha256, StringComparer.Ordinal).ThenBy(d => d.KeyId, StringComparer.Ordinal);

    private static string SpecHash(ByteString spec, IEnumerable<(string Key, ByteString Spec)> references)
    {
        var own = PlacementWorld.SpecHash(spec.Span);
        var hash = new FieldHash("agentmetal/member-spec/v1").Add(own);
        var any = false;
        foreach (var (key, to) in references)
        {
            hash.Add(key).Add(PlacementWorld.SpecHash(to.Span));
            any = true;
        }
        return any ? hash.Hex() : own;
    }
}
