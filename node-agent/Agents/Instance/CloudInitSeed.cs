using System.Text;
using AgentMetal.Runtime.Resources.Kinds;

namespace AgentMetal.NodeAgent.Agents.Instance;

/// <summary>What is on the NoCloud disk (cloudinit.readthedocs.io, datasource NoCloud): the same spec gives the same bytes.</summary>
internal static class CloudInitSeed
{
    public static SeedGoal Of(string name, InstanceLayout layout, InstanceSpec spec)
    {
        var c = spec.CloudInit;
        var host = c.Hostname.Length > 0 ? c.Hostname : name;
        // The id is the machine's and not the seed's: cloud-init does its work once in a machine's life, not at each change of the seed.
        var meta = $"instance-id: {layout.Uuid}\nlocal-hostname: {host}\n";
        return new(spec.CloudInitDigest, layout.Seed(spec.CloudInitDigest), c.UserData.Length > 0 ? c.UserData : UserData(c, host), meta);
    }

    /// <summary>Every text in it has passed a closed alphabet (user, host name) or cannot hold a quote or a backslash (keys).</summary>
    private static string UserData(InstanceCloudInit c, string host)
    {
        var text = new StringBuilder("#cloud-config\n").Append("hostname: ").Append(host).Append('\n');
        if (c.User.Length == 0) return text.ToString();
        text.Append("users:\n  - name: \"").Append(c.User).Append("\"\n    shell: /bin/bash\n    sudo: \"ALL=(ALL) NOPASSWD:ALL\"\n    lock_passwd: true\n");
        if (c.SshKeys.IsEmpty) return text.ToString();
        text.Append("    ssh_authorized_keys:\n");
        foreach (var key in c.SshKeys) text.Append("      - \"").Append(key).Append("\"\n");
        return text.ToString();
    }
}
