using System.Security.Cryptography.X509Certificates;
using System.Text.Json;
using AgentMetal.Runtime.Store;
using AgentMetal.Runtime.Trust;

namespace AgentMetal.Coordinator.Identity;

/// <summary>A host that wants to join; everything in it is hostile until checked.</summary>
internal sealed record JoinAttempt
{
    public required string TokenId { get; init; }

    public required string TokenSecret { get; init; }

    public required byte[] Csr { get; init; }

    public required string Name { get; init; }

    public IReadOnlyDictionary<string, string> Labels { get; init; } = new Dictionary<string, string>();
}

/// <summary>What a node gets.</summary>
/// <param name="Chain">DER: the node's certificate, then the intermediate.</param>
/// <param name="Node">As it is stored now.</param>
internal sealed record Enrolled(IReadOnlyList<byte[]> Chain, NodeRecord Node);

/// <summary>
/// Joining, renewing, revoking. What was decided is in the store before a certificate is made, and asking again with the same key gives the same
/// answer, so a reply lost on the way costs nothing.
/// </summary>
internal sealed class Enrollment(IStore store, IdentityBundle bundle, RandomFill random, TimeProvider clock, TimeSpan nodeLife)
{
    private const int MaxConflicts = 5;

    // The same words whether the id is unknown or the secret wrong: guessing tells nothing.
    private static readonly TrustProblem s_noSuchToken = new(TrustProblemCode.UnknownKey, "join token: unknown, or already pruned; make a new one with `agentmetal join-token`");

    private static readonly TrustProblem s_busy = new(TrustProblemCode.WrongScope, "the same token, name or node is being changed by somebody else; try again");

    public async ValueTask<Verdict<Enrolled>> JoinAsync(JoinAttempt attempt, CancellationToken cancel)
    {
        if (attempt.TokenId.Length != 16 || !attempt.TokenId.All(char.IsAsciiHexDigitLower))
            return s_noSuchToken;
        if (!TrustNames.IsName(attempt.Name))
            return Verdict<Enrolled>.Refuse(TrustProblemCode.Malformed, "name: not 1 to 63 of a-z, 0-9, '-' and '.'");
        if (Labels.Error(attempt.Labels) is { } badLabels)
            return Verdict<Enrolled>.Refuse(TrustProblemCode.Malformed, badLabels);
        var request = SigningRequest.Parse(attempt.Csr);
        if (request.Problem is { } badRequest)
            return badRequest;
        for (var i = 0; i < MaxConflicts; i++)
            if (await TryJoinAsync(attempt, request.Value, cancel) is { } answer)
                return answer;
        return s_busy;
    }

    /// <param name="certificate">The certificate of the connection. It may have ended within <see cref="RenewalRule.ExpiredGrace"/>.</param>
    /// <param name="csr">For the same key or a new one.</param>
    public async ValueTask<Verdict<Enrolled>> RenewAsync(X509Certificate2 certificate, byte[] csr, CancellationToken cancel)
    {
        var request = SigningRequest.Parse(csr);
        if (request.Problem is { } badRequest)
            return badRequest;
        var peer = Gate.Verify(bundle, certificate, PeerRole.Node, clock.GetUtcNow(), RenewalRule.ExpiredGrace);
        if (peer.Problem is { } refused)
            return refused;
        for (var i = 0; i < MaxConflicts; i++)
            if (await TryRenewAsync((PeerIdentity.Node)peer.Value, request.Value, cancel) is { } answer)
                return answer;
        return s_busy;
    }

    /// <summary>Revokes for good and frees the name. Asking again changes nothing. The caller closes the node's streams.</summary>
    public async ValueTask<Verdict<NodeRecord>> RevokeAsync(string uid, string reason, CancellationToken cancel)
    {
        for (var i = 0; i < MaxConflicts; i++)
        {
            if (!NodeUid.IsValid(uid))
                break;
            var node = await Stored<NodeRecord>.ReadAsync(store, IdentityKeys.Node(uid), IdentityJson.Default.NodeRecord, cancel);
            if (node.Record is not { } record)
                break;
            if (record.RevokedUnixMs is not null)
                return record;
            var name = await Stored<NameRecord>.ReadAsync(store, IdentityKeys.Name(record.Name), IdentityJson.Default.NameRecord, cancel);
            var revoked = record with { RevokedUnixMs = clock.GetUtcNow().ToUnixTimeMilliseconds(), RevokedReason = reason };
            var writes = new List<StoreWrite> { Put(revoked) };
            if (name.Record?.Uid == uid)
                writes.Add(StoreWrite.Delete(name.Key));
            if (await CommitAsync([node.Unchanged, name.Unchanged], writes, cancel))
                return revoked;
        }
        return Verdict<NodeRecord>.Refuse(TrustProblemCode.UnknownKey, $"there is no node {uid}; see `agentmetal nodes`");
    }

    /// <summary>Null when somebody else wrote in between.</summary>
    private async ValueTask<Verdict<Enrolled>?> TryJoinAsync(JoinAttempt attempt, SigningRequest request, CancellationToken cancel)
    {
        var token = await Stored<TokenRecord>.ReadAsync(store, IdentityKeys.Token(attempt.TokenId), IdentityJson.Default.TokenRecord, cancel);
        var now = clock.GetUtcNow();
        if (token.Record is not { } record || !JoinToken.Matches(record.SecretHash, attempt.TokenId, attempt.TokenSecret))
            return (Verdict<Enrolled>)s_noSuchToken;
        if (WhyNot(record, attempt, request, now) is { } problem)
            return (Verdict<Enrolled>)problem;

        var uid = NodeUid.From(request.Spki);
        var node = await Stored<NodeRecord>.ReadAsync(store, IdentityKeys.Node(uid), IdentityJson.Default.NodeRecord, cancel);
        var name = await Stored<NameRecord>.ReadAsync(store, IdentityKeys.Name(attempt.Name), IdentityJson.Default.NameRecord, cancel);
        if (name.Record is { } owner && owner.Uid != uid)
            return Verdict<Enrolled>.Refuse(TrustProblemCode.WrongScope, $"name: {attempt.Name} belongs to node {owner.Uid}; a wiped host is a new node: if that one is gone for good, strike it off first (agentmetal nodes remove {attempt.Name}), or take another name");
        if (node.Record is { } known && WhyNot(known, attempt, request) is { } mismatch)
            return (Verdict<Enrolled>)mismatch;

        var joined = new NodeRecord
        {
            Uid = uid,
            Name = attempt.Name,
            KeyId = request.KeyId,
            Labels = Merge(attempt.Labels, record.Labels),
            JoinedUnixMs = node.Record?.JoinedUnixMs ?? now.ToUnixTimeMilliseconds(),
        };
        var writes = new List<StoreWrite>
        {
            StoreWrite.Put(token.Key, JsonSerializer.SerializeToUtf8Bytes(record with { UsedByKeyId = request.KeyId }, IdentityJson.Default.TokenRecord)),
            StoreWrite.Put(name.Key, JsonSerializer.SerializeToUtf8Bytes(new NameRecord(uid), IdentityJson.Default.NameRecord)),
            Put(joined),
        };
        if (!await CommitAsync([token.Unchanged, node.Unchanged, name.Unchanged], writes, cancel))
            return null;
        return Issue(joined, request, now);
    }

    private static TrustProblem? WhyNot(TokenRecord token, JoinAttempt attempt, SigningRequest request, DateTimeOffset now)
    {
        if (token.ExpiresUnixMs <= now.ToUnixTimeMilliseconds())
            return new TrustProblem(TrustProblemCode.Expired, "join token: it has expired; make a new one with `agentmetal join-token`");
        if (token.UsedByKeyId is not null && token.UsedByKeyId != request.KeyId)
            return new TrustProblem(TrustProblemCode.WrongScope, "join token: it was used by another host; make one token for each");
        if (token.Name is not null && token.Name != attempt.Name)
            return new TrustProblem(TrustProblemCode.WrongScope, $"join token: it is for the name {token.Name}, not for {attempt.Name}");
        foreach (var (key, value) in token.Labels)
            if (attempt.Labels.TryGetValue(key, out var claimed) && claimed != value)
                return new TrustProblem(TrustProblemCode.WrongScope, $"labels[{key}]: the join token says {value}, the host {claimed}");
        return null;
    }

    private static TrustProblem? WhyNot(NodeRecord known, JoinAttempt attempt, SigningRequest request)
    {
        if (known.RevokedUnixMs is not null)
            return new TrustProblem(TrustProblemCode.UnknownKey, $"node {known.Uid} was revoked; it needs a new key");
        if (known.KeyId != request.KeyId)
            return new TrustProblem(TrustProblemCode.UnknownKey, $"node {known.Uid} has replaced this key; join with its present key, or as a new node");
        return known.Name == attempt.Name ? null : new TrustProblem(TrustProblemCode.WrongScope, $"name: node {known.Uid} is called {known.Name}");
    }

    private async ValueTask<Verdict<Enrolled>?> TryRenewAsync(PeerIdentity.Node peer, SigningRequest request, CancellationToken cancel)
    {
        var node = await Stored<NodeRecord>.ReadAsync(store, IdentityKeys.Node(peer.Uid), IdentityJson.Default.NodeRecord, cancel);
        if (Gate.WhyNotKnown(node.Record, peer) is { } problem)
            return (Verdict<Enrolled>)problem;
        var record = node.Record!;
        if (record.KeyId == request.KeyId)
            return Issue(record, request, clock.GetUtcNow());
        // Only the present key may name its successor: a key that was replaced gets again what it asked for, and nothing new.
        if (record.KeyId != peer.KeyId)
            return Verdict<Enrolled>.Refuse(TrustProblemCode.UnknownKey, $"node {peer.Name} has already replaced this key; renew with the present one");
        var renewed = record with { KeyId = request.KeyId, PreviousKeyId = record.KeyId };
        return await CommitAsync([node.Unchanged], [Put(renewed)], cancel) ? Issue(renewed, request, clock.GetUtcNow()) : null;
    }

    private Verdict<Enrolled> Issue(NodeRecord node, SigningRequest request, DateTimeOffset now)
    {
        var der = bundle.Authority.IssueNode(request, node.Uid, node.Name, now, nodeLife, random);
        return der.Problem is { } problem ? problem : new Enrolled([der.Value, bundle.Authority.CertificateDer], node);
    }

    private async ValueTask<bool> CommitAsync(IReadOnlyList<StoreCompare> compares, IReadOnlyList<StoreWrite> writes, CancellationToken cancel) =>
        await store.TxnAsync(new StoreTxn { Compares = compares, Writes = writes }, cancel) switch
        {
            StoreResult.Committed => true,
            StoreResult.Conflict => false,
            var other => throw new InvalidOperationException($"the store refused an identity: {other}"),
        };

    private static StoreWrite Put(NodeRecord node) => StoreWrite.Put(IdentityKeys.Node(node.Uid), JsonSerializer.SerializeToUtf8Bytes(node, IdentityJson.Default.NodeRecord));

    private static Dictionary<string, string> Merge(IReadOnlyDictionary<string, string> claimed, IReadOnlyDictionary<string, string> granted)
    {
        var all = new Dictionary<string, string>(claimed, StringComparer.Ordinal);
        foreach (var (key, value) in granted)
            all[key] = value;
        return all;
    }
}
