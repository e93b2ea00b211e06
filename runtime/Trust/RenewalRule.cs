namespace AgentMetal.Runtime.Trust;

/// <summary>When a certificate is renewed: after two thirds of its life, spread so that a fleet that joined together does not renew together.</summary>
public static class RenewalRule
{
    /// <summary>How long after its end a known, unrevoked key may still call Renew, and nothing else.</summary>
    public static readonly TimeSpan ExpiredGrace = TimeSpan.FromDays(90);

    /// <param name="jitter">0 to 1, drawn once per certificate: 1 is a twelfth of the life later.</param>
    public static DateTimeOffset DueAt(DateTimeOffset notBefore, DateTimeOffset notAfter, double jitter)
    {
        if (jitter is not (>= 0 and <= 1))
            throw new ArgumentOutOfRangeException(nameof(jitter));
        var life = notAfter - notBefore;
        return notBefore + (life * 2 / 3) + (life / 12 * jitter);
    }
}
