using System.Text.Json;

namespace AgentMetal.Runtime.Resources.Kinds;

/// <summary>What a person says of an image, typed. Made only from a spec that its schema has accepted.</summary>
/// <param name="Url">http, https or file.</param>
/// <param name="Sha256">Of the bytes at the URL, 64 lower-case hexadecimal digits.</param>
/// <param name="Format">qcow2, raw, kernel or initrd; never guessed from the content.</param>
public sealed record ImageSpec(string Url, string Sha256, string Format)
{
    /// <summary>Reads a spec that <see cref="ImageKind.Schema"/> accepted.</summary>
    /// <exception cref="JsonException">It did not.</exception>
    public static ImageSpec Parse(ReadOnlyMemory<byte> canonical)
    {
        try
        {
            using var document = JsonDocument.Parse(canonical);
            var s = document.RootElement;
            return new(s.GetProperty("url").GetString()!, s.GetProperty("sha256").GetString()!, s.GetProperty("format").GetString()!);
        }
        catch (Exception e) when (e is KeyNotFoundException or InvalidOperationException)
        {
            throw new JsonException("not a spec that the schema of Image accepted: " + e.Message, e);
        }
    }
}

/// <summary>The kind Image: an entry of the catalogue, fetched by the hosts that need it and shared by all instances there.</summary>
public static class ImageKind
{
    /// <summary>Its name.</summary>
    public const string Name = "Image";

    /// <summary>The purpose of an operator's signature over an image's digest.</summary>
    public const string Purpose = "image";

    /// <summary>Fields, rules and documentation.</summary>
    public static KindSchema Schema { get; } = new()
    {
        Kind = Name,
        Aliases = ["image", "images"],
        Doc = "A disk image, kernel or initial memory disk that instances of the project boot from. A host fetches it when an instance needs it, once for all of them, and runs nothing whose content is another than sha256 says.",
        Executes = static spec => [(Purpose, ImageSpec.Parse(spec).Sha256)],
        Spec =
        [
            new("url", FieldType.Text, "Where hosts fetch it: https://…, http://…, or file:///… for a file on the host, which must lie below a directory that the host allows: /srv/images, /var/lib/agentmetal/images-in, /var/lib/agentmetal/exports, or those of agentmetald run --images. Links in them are not followed.") { Required = true, MaxLength = 1024, Check = UrlError },
            new("sha256", FieldType.Text, "SHA-256 of what is fetched, 64 hexadecimal digits (sha256sum FILE).") { Required = true, MaxLength = 64, Check = DigestError },
            new("format", FieldType.Choice, "What it is. It is declared, never guessed: a raw disk may look like any format.") { Required = true, Choices = ["qcow2", "raw", "kernel", "initrd"], Immutable = true },
        ],
    };

    private static string? UrlError(string url)
    {
        if (!Uri.TryCreate(url, UriKind.Absolute, out var uri) || uri.Scheme is not ("http" or "https" or "file")) return "is not a URL that begins with https://, http:// or file:///";
        if (uri.UserInfo.Length > 0) return "holds a user name or password, which everybody who may read the resource could read: serve it without";
        if (uri.Scheme == "file" ? uri.Host.Length > 0 || uri.AbsolutePath.EndsWith('/') : uri.Host.Length == 0) return uri.Scheme == "file" ? "is not the path of a file on the host: file:///srv/images/debian.qcow2" : "names no server";
        return null;
    }

    private static string? DigestError(string digest) =>
        digest.Length == 64 && digest.All(c => c is (>= '0' and <= '9') or (>= 'a' and <= 'f')) ? null : "is not 64 lower-case hexadecimal digits, as sha256sum prints them";
}
