using System.Security.Cryptography;
using AgentMetal.Runtime.Approval;
using AgentMetal.Runtime.Trust;
using CsCheck;
using Xunit;

namespace AgentMetal.Runtime.Tests.Trust;

public sealed class DigestSignatureTests : IDisposable
{
    private static readonly string s_digest = new('a', 64);
    private static readonly string s_other = new('b', 64);

    private readonly ECDsa _alice = P256.Generate();
    private readonly ECDsa _bob = P256.Generate();
    private readonly ECDsa _mallory = P256.Generate();

    public void Dispose()
    {
        _alice.Dispose();
        _bob.Dispose();
        _mallory.Dispose();
    }

    [Fact]
    public void IsTrusted_SignedByOneOfOne_NamesWhoSigned()
    {
        var outcome = Judge(Set(1), Sign(_alice));
        Assert.True(outcome.IsTrusted);
        Assert.Equal(["alice"], outcome.By);
        Assert.Equal("", outcome.Problem);
    }

    [Fact]
    public void IsTrusted_NobodySigned_SaysWhatToDo()
    {
        var outcome = Judge(Set(1));
        Assert.False(outcome.IsTrusted);
        Assert.Equal("image aaaaaaaaaaaa… is not signed as this host wants it: 0 of 1 approvers have signed it; sign it with agentmetal apply, where an approver's key is", outcome.Problem);
    }

    [Fact]
    public void IsTrusted_SignedByTheCoordinatorsKey_IsNot()
    {
        using var fleet = new Fleet();
        var outcome = Judge(Set(1), Sign(fleet.IntermediateKey), Sign(fleet.IntermediateKey) with { KeyId = P256.KeyId(_alice) });
        Assert.False(outcome.IsTrusted);
        Assert.Contains("is not in the approver set", outcome.Problem, StringComparison.Ordinal);
        Assert.Contains("the signature is not alice's", outcome.Problem, StringComparison.Ordinal);
    }

    [Fact]
    public void IsTrusted_DigestEditedAfterSigning_IsNot()
    {
        var moved = Sign(_alice) with { Sha256 = s_other };
        Assert.False(DigestRule.IsTrusted("image", s_other, [moved], Set(1), Fleet.Now).IsTrusted);
        Assert.Equal(TrustProblemCode.BadSignature, moved.Verify(Set(1), Fleet.Now).Problem?.Code);
        // And the signature as it is does not serve another digest.
        Assert.False(DigestRule.IsTrusted("image", s_other, [Sign(_alice)], Set(1), Fleet.Now).IsTrusted);
    }

    [Fact]
    public void IsTrusted_SignedForAnotherPurpose_IsNot()
    {
        Assert.False(DigestRule.IsTrusted("cloud-init", s_digest, [Sign(_alice)], Set(1), Fleet.Now).IsTrusted);
        var moved = Sign(_alice) with { Purpose = "cloud-init" };
        Assert.False(DigestRule.IsTrusted("cloud-init", s_digest, [moved], Set(1), Fleet.Now).IsTrusted);
        Assert.Equal(TrustProblemCode.BadSignature, moved.Verify(Set(1), Fleet.Now).Problem?.Code);
    }

    [Fact]
    public void Verify_KeyOutsideTheSet_IsUnknownKey() =>
        Assert.Equal(TrustProblemCode.UnknownKey, Sign(_mallory).Verify(Set(1), Fleet.Now).Problem?.Code);

    [Fact]
    public void Sign_SignedBytes_AreThoseOfTheArchitecture()
    {
        var signature = Sign(_alice);
        var bytes = new SignedBytes("agentmetal/digest/v1").Add("image").Add(s_digest).Add(Fleet.Now.ToUnixTimeMilliseconds()).Add(P256.KeyId(_alice)).ToArray();
        Assert.True(P256.Verify(_alice, bytes, signature.Signature));
    }

    [Fact]
    public void Verify_SignatureOfAnApproval_DoesNotServeADigest()
    {
        var approval = SignedApproval.Sign(_alice, ApprovalDecision.Approve, [s_digest], "image", new('1', 32), Fleet.Now.AddHours(1), "");
        Assert.Equal(TrustProblemCode.BadSignature, (Sign(_alice) with { Signature = approval.Signature }).Verify(Set(1), Fleet.Now).Problem?.Code);
    }

    [Fact]
    public void IsTrusted_ThresholdOfTwo_NeedsTwoDifferentApprovers()
    {
        Assert.False(Judge(Set(2), Sign(_alice)).IsTrusted);
        Assert.False(Judge(Set(2), Sign(_alice), Sign(_alice, Fleet.Now.AddMinutes(1)), Sign(_alice)).IsTrusted);
        Assert.False(Judge(Set(2), Sign(_alice), Sign(_mallory)).IsTrusted);
        Assert.False(DigestRule.IsTrusted("image", s_digest, [Sign(_alice), DigestSignature.Sign(_bob, "image", s_other, Fleet.Now)], Set(2), Fleet.Now).IsTrusted);
        Assert.Equal(["alice", "bob"], Judge(Set(2), Sign(_bob), Sign(_alice)).By);
    }

    [Fact]
    public void IsTrusted_SetReplacedByOneWithoutTheSigner_IsNoMore()
    {
        var signature = Sign(_alice);
        var current = Set(1);
        var verifier = new DigestVerifier(() => current, new FixedClock());
        Assert.True(verifier.IsTrusted("image", s_digest, [signature]).IsTrusted);
        current = current with { Version = 2, Keys = [current.Keys[1]] };
        Assert.Contains("is not in the approver set of version 2", verifier.IsTrusted("image", s_digest, [signature]).Problem, StringComparison.Ordinal);
    }

    [Fact]
    public void IsTrusted_SetHasEnded_IsNoMoreAndSaysSo()
    {
        var over = Set(1) with { NotAfterUnixMs = Fleet.Now.ToUnixTimeMilliseconds() };
        Assert.Equal(TrustProblemCode.Expired, Sign(_alice).Verify(over, Fleet.Now).Problem?.Code);
        Assert.Contains("has ended", Judge(over, Sign(_alice)).Problem, StringComparison.Ordinal);
    }

    [Fact]
    public void IsTrusted_LongAfterItWasSigned_StillIs() =>
        Assert.True(Judge(Set(1), Sign(_alice, Fleet.Now.AddYears(-9))).IsTrusted);

    [Fact]
    public void IsTrusted_HostWithoutASet_TrustsNothing()
    {
        Assert.False(DigestVerifier.None.IsTrusted("image", s_digest, [Sign(_alice)]).IsTrusted);
        Assert.Contains("no approver set", DigestVerifier.None.IsTrusted("image", s_digest, []).Problem, StringComparison.Ordinal);
    }

    [Fact]
    public void IsTrusted_GoodOneAmongBadOnes_Counts() =>
        Assert.True(Judge(Set(1), Sign(_mallory), Sign(_alice) with { Signature = new byte[64] }, Sign(_alice)).IsTrusted);

    [Theory]
    [InlineData("", null)]
    [InlineData("Image", null)]
    [InlineData("-image", null)]
    [InlineData("image/kernel", null)]
    [InlineData("a23456789012345678901234567890123", null)]
    [InlineData("image", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")]
    [InlineData("image", "aa")]
    public void Verify_MalformedField_IsMalformed(string purpose, string? sha256)
    {
        var signature = Sign(_alice) with { Purpose = purpose, Sha256 = sha256 ?? s_digest };
        Assert.NotNull(signature.FormError());
        Assert.Equal(TrustProblemCode.Malformed, signature.Verify(Set(1), Fleet.Now).Problem?.Code);
        Assert.Throws<ArgumentException>(() => DigestSignature.Sign(_alice, purpose, sha256 ?? s_digest, Fleet.Now));
    }

    [Fact]
    public void Verify_HostileNumbersAndBytes_AreAnswersNotExceptions()
    {
        Assert.False((Sign(_alice) with { IssuedUnixMs = long.MaxValue }).Verify(Set(1), Fleet.Now).IsTrusted);
        Assert.False((Sign(_alice) with { IssuedUnixMs = -1 }).Verify(Set(1), Fleet.Now).IsTrusted);
        Assert.False((Sign(_alice) with { Signature = [] }).Verify(Set(1), Fleet.Now).IsTrusted);
        Assert.False((Sign(_alice) with { Signature = new byte[63] }).Verify(Set(1), Fleet.Now).IsTrusted);
        Assert.False((Sign(_alice) with { KeyId = "x" }).Verify(Set(1), Fleet.Now).IsTrusted);
    }

    [Fact]
    public void Verify_AnyFieldChanged_IsRefused()
    {
        var signature = Sign(_alice);
        var set = Set(1);
        Gen.Select(Gen.Int[0, 3], Gen.Int[0, 63], Gen.Int[1, 255]).Sample((field, at, with) => !(field switch
        {
            0 => signature with { Purpose = "image" + (char)('a' + (with % 26)) },
            1 => signature with { Sha256 = signature.Sha256[..at] + "0123456789bcdef"[with % 15] + signature.Sha256[(at + 1)..] },
            2 => signature with { IssuedUnixMs = signature.IssuedUnixMs - with },
            _ => signature with { Signature = [.. signature.Signature.Select((b, i) => i == at ? (byte)(b ^ with) : b)] },
        }).Verify(set, Fleet.Now).IsTrusted, iter: 2000);
    }

    private static DigestOutcome Judge(ApproverSet set, params DigestSignature[] signatures) => DigestRule.IsTrusted("image", s_digest, signatures, set, Fleet.Now);

    private static DigestSignature Sign(ECDsa key, DateTimeOffset? issued = null) => DigestSignature.Sign(key, "image", s_digest, issued ?? Fleet.Now);

    private ApproverSet Set(int threshold) => new()
    {
        Version = 1,
        NotAfterUnixMs = Fleet.Now.AddDays(30).ToUnixTimeMilliseconds(),
        Threshold = threshold,
        Keys =
        [
            new ApproverKey { Name = "alice", Spki = _alice.ExportSubjectPublicKeyInfo() },
            new ApproverKey { Name = "bob", Spki = _bob.ExportSubjectPublicKeyInfo() },
        ],
    };

    private sealed class FixedClock : TimeProvider
    {
        public override DateTimeOffset GetUtcNow() => Fleet.Now;
    }
}
