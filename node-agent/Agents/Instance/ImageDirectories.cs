using AgentMetal.NodeAgent.Host.Files;

namespace AgentMetal.NodeAgent.Agents.Instance;

/// <summary>
/// Where images with a file:/// URL may lie. A URL comes from the coordinator, which may be stolen: it must not make this host read what it was never
/// meant to give away, so that only files below directories that the host's operator has named are opened, and no link leads out of them.
/// </summary>
internal sealed class ImageDirectories
{
    private readonly string[] _allowed;

    /// <param name="allowed">Absolute paths.</param>
    /// <exception cref="FormatException">One is not a plain absolute path, or is the root.</exception>
    public ImageDirectories(params IEnumerable<string> allowed)
    {
        _allowed = [.. allowed.Select(d => d.Length > 1 ? d.TrimEnd('/') : d)];
        if (_allowed.FirstOrDefault(d => d.Length < 2 || !FileBelow.Holds("", d)) is { } wrong) throw new FormatException($"--images: \"{wrong}\" is not an absolute path of a directory below /");
    }

    /// <summary>What holds unless `agentmetald run --images` says otherwise.</summary>
    public static ImageDirectories Usual { get; } = new("/srv/images", "/var/lib/agentmetal/images-in", "/var/lib/agentmetal/exports");

    /// <summary>The file, to be read; or null, and why not, without a word about what is there.</summary>
    public FileStream? Open(string path, out string refusal)
    {
        refusal = $"file://{path} is not below {string.Join(" or ", _allowed)}: put the image there, or allow its directory on this host (agentmetald run --images)";
        return _allowed.FirstOrDefault(d => FileBelow.Holds(d, path)) is { } directory ? FileBelow.Open(directory, path, out refusal) : null;
    }
}
