using System.Collections.Frozen;

namespace AgentMetal.Runtime.Reasoning;

/// <summary>How strongly a text supports a cause.</summary>
public enum Confidence
{
    /// <summary>More likely than not.</summary>
    Likely,

    /// <summary>Exact shape known.</summary>
    Sure,
}

/// <summary>
/// What text says a cause is: an input to planning beside State, never a fact, a basis or an expectation. It may reorder viable moves and
/// nothing else.
/// </summary>
/// <param name="Difference">The key of the open difference it was read for.</param>
/// <param name="Cause">One of <see cref="Causes"/>.</param>
/// <param name="Confidence">How strongly.</param>
/// <param name="Epoch">The evidence epoch; a new one makes a decision open again.</param>
public sealed record Reading(string Difference, string Cause, Confidence Confidence, long Epoch);

/// <summary>The fixed list of causes a reading may name.</summary>
public static class Causes
{
    /// <summary>All 27, ordinal order.</summary>
    public static readonly FrozenSet<string> All = new[]
    {
        "auth_failed", "bad_config", "bug_crash", "cert_expired", "cert_untrusted", "clock_skew", "conn_refused", "data_corrupt", "disk_failing",
        "disk_full", "dns_fail", "fd_limit", "fs_readonly", "limit_reached", "lock_held", "missing_file", "normal", "oom", "overload", "permission",
        "port_in_use", "quorum_lost", "replica_behind", "stopped", "too_many_conns", "unreachable", "version_mismatch",
    }.ToFrozenSet(StringComparer.Ordinal);
}
