using System.Security.Cryptography;
using System.Text;
using AgentMetal.NodeAgent.Host.Files;

namespace AgentMetal.NodeAgent.Tests.Host.Files;

public sealed class FileTests : IDisposable
{
    private readonly string _directory = Directory.CreateTempSubdirectory("agentmetal-files-").FullName;
    private readonly FileReader _reader = new();
    private readonly FileWriter _writer = new();

    private static uint Me => new FileReader().Look("/proc/self").Value.Uid;

    private static FileOwnership Private => new() { Uid = Me, Gid = Me, Mode = 0x1A0 /* 0640 */ };

    public void Dispose() => Directory.Delete(_directory, recursive: true);

    [Fact]
    public void Write_NewFile_IsThereAsAsked()
    {
        var path = At("a.conf");
        Assert.True(_writer.Write(path, "hello"u8, Private).IsDone);
        var content = _reader.Read(path, 100).Value;
        Assert.Equal("hello", Encoding.UTF8.GetString(content.Bytes.Span));
        Assert.Equal((FileKind.File, 0x1A0u, 5L), (content.State.Kind, content.State.Mode, content.State.Size));
        Assert.Equal(Convert.ToHexStringLower(SHA256.HashData("hello"u8)), content.State.Sha256);
        Assert.Equal(content.State.Sha256, _reader.Look(path, hash: true).Value.Sha256);
        Assert.Equal(["a.conf"], _reader.List(_directory, 10).Value);
    }

    [Fact]
    public void Write_OldFileHeldOpen_ReplacesAndDoesNotChangeIt()
    {
        var path = At("a.conf");
        Assert.True(_writer.Write(path, "old"u8, Private).IsDone);
        using var held = File.OpenRead(path);
        Assert.True(_writer.Write(path, "new and longer"u8, Private).IsDone);
        using var text = new StreamReader(held);
        Assert.Equal("old", text.ReadToEnd());
        Assert.Equal("new and longer", File.ReadAllText(path));
    }

    [Fact]
    public void Write_LeftoverOfACrash_IsReplaced()
    {
        var path = At("a.conf");
        File.WriteAllText(At(".a.conf.agentmetal-new"), "half");
        Assert.True(_writer.Write(path, "whole"u8, Private).IsDone);
        Assert.Equal(["a.conf"], _reader.List(_directory, 10).Value);
    }

    [Fact]
    public void WriteAndRead_SymbolicLink_IsNeverFollowed()
    {
        File.WriteAllText(At("target"), "secret");
        File.CreateSymbolicLink(At("link"), At("target"));
        Assert.Equal(FileResult.Refused, _writer.Write(At("link"), "x"u8, Private).Result);
        Assert.Equal(FileResult.Refused, _writer.SetOwnership(At("link"), Private).Result);
        Assert.Equal(FileResult.Refused, _writer.EnsureDirectory(At("link"), Private).Result);
        Assert.Equal(FileKind.Symlink, _reader.Look(At("link")).Value.Kind);
        var read = _reader.Read(At("link"), 100).Value;
        Assert.Equal(FileKind.Symlink, read.State.Kind);
        Assert.True(read.Bytes.IsEmpty);
        Assert.True(_writer.Delete(At("link")).IsDone);
        Assert.Equal("secret", File.ReadAllText(At("target")));
    }

    [Fact]
    public void OpenDirectory_LinkInItsPlace_IsNotFollowed()
    {
        Directory.CreateDirectory(At("elsewhere"));
        Directory.CreateDirectory(At("real"));
        Directory.CreateSymbolicLink(At("link"), At("elsewhere"));
        using var parent = LibC.Open(_directory, LibC.ReadOnly | LibC.DirectoryOnly | LibC.CloseOnExec, 0);
        using var real = FileTree.OpenDirectory(parent, "real");
        using var link = FileTree.OpenDirectory(parent, "link");
        Assert.False(real.IsInvalid);
        Assert.True(link.IsInvalid);
    }

    [Fact]
    public void Look_NothingThere_IsAbsentAlsoBelowAFile()
    {
        File.WriteAllText(At("file"), "");
        Assert.False(_reader.Look(At("none")).Value.Exists);
        Assert.False(_reader.Look(At("file/below")).Value.Exists);
        Assert.False(_reader.Read(At("none/deeper"), 10).Value.State.Exists);
    }

    [Fact]
    public void Read_LongerThanAllowed_IsUnseenAndNotCut()
    {
        File.WriteAllText(At("long"), "0123456789");
        Assert.False(_reader.Read(At("long"), 9).IsSeen);
        Assert.True(_reader.Read(At("long"), 10).IsSeen);
        Assert.False(_reader.List(_directory, 0).IsSeen);
    }

    [Fact]
    public void Write_DirectoryMissing_FailsNamingIt()
    {
        var outcome = _writer.Write(At("none/a"), "x"u8, Private);
        Assert.Equal((FileResult.Failed, 2), (outcome.Result, outcome.Errno));
        Assert.Contains(At("none/a"), outcome.Detail, StringComparison.Ordinal);
    }

    [Fact]
    public void Failure_OfSpaceOrOther_IsToldApart()
    {
        Assert.Equal(FileResult.NoSpace, FileWriterOutcomeOf(28));
        Assert.Equal(FileResult.Failed, FileWriterOutcomeOf(5));
    }

    [Fact]
    public void EnsureDirectory_Twice_HasOwnerAndModeWhateverTheUmask()
    {
        var mode = Private with { Mode = 0x1F8 /* 0770 */ };
        Assert.True(_writer.EnsureDirectory(At("data"), mode).IsDone);
        Assert.True(_writer.EnsureDirectory(At("data"), mode).IsDone);
        Assert.Equal((FileKind.Directory, 0x1F8u), (_reader.Look(At("data")).Value.Kind, _reader.Look(At("data")).Value.Mode));
        File.WriteAllText(At("plain"), "");
        Assert.Equal(FileResult.Refused, _writer.EnsureDirectory(At("plain"), mode).Result);
    }

    [Fact]
    public void Delete_Twice_IsDoneAndSparesDirectories()
    {
        File.WriteAllText(At("a"), "");
        Directory.CreateDirectory(At("d"));
        Assert.True(_writer.Delete(At("a")).IsDone);
        Assert.True(_writer.Delete(At("a")).IsDone);
        Assert.True(_writer.Delete(At("none/a")).IsDone);
        Assert.Equal(FileResult.Refused, _writer.Delete(At("d")).Result);
    }

    [Fact]
    public void DeleteTree_WithinItsBound_RemovesAllAndFollowsNoLink()
    {
        File.WriteAllText(At("outside"), "stays");
        Directory.CreateDirectory(At("tree/a/b"));
        File.WriteAllText(At("tree/a/b/file"), "");
        File.CreateSymbolicLink(At("tree/a/link"), At("outside"));
        Directory.CreateSymbolicLink(At("tree/dirlink"), _directory);
        Assert.Equal(FileResult.Refused, _writer.DeleteTree(At("tree"), 4).Result);
        Assert.True(File.Exists(At("tree/a/b/file")));
        Assert.True(_writer.DeleteTree(At("tree"), 5).IsDone);
        Assert.False(Directory.Exists(At("tree")));
        Assert.True(_writer.DeleteTree(At("tree"), 5).IsDone);
        Assert.Equal("stays", File.ReadAllText(At("outside")));
    }

    [Fact]
    public void ChownTree_AsRoot_GivesAllButWhatIsElsewhere()
    {
        Assert.SkipUnless(Me == 0, "only root may give files away");
        File.WriteAllText(At("outside"), "");
        Directory.CreateDirectory(At("data/sub"));
        File.WriteAllText(At("data/sub/file"), "");
        File.CreateSymbolicLink(At("data/link"), At("outside"));
        Assert.Equal(FileResult.Refused, _writer.ChownTree(At("data"), 12345, 12345, 2).Result);
        Assert.Equal(0u, _reader.Look(At("data/sub/file")).Value.Uid);
        Assert.True(_writer.ChownTree(At("data"), 12345, 54321, 100).IsDone);
        foreach (var given in (string[])["data", "data/sub", "data/sub/file", "data/link"])
            Assert.Equal((12345u, 54321u), (_reader.Look(At(given)).Value.Uid, _reader.Look(At(given)).Value.Gid));
        Assert.Equal(0u, _reader.Look(At("outside")).Value.Uid);
    }

    [Fact]
    public void ChownTree_SecondNameOfAFileElsewhere_IsRefused()
    {
        File.WriteAllText(At("outside"), "");
        Directory.CreateDirectory(At("data"));
        using var link = System.Diagnostics.Process.Start("ln", [At("outside"), At("data/hard")]);
        link.WaitForExit();
        Assert.Equal(FileResult.Refused, _writer.ChownTree(At("data"), 12345, 12345, 100).Result);
        Assert.Equal(Me, _reader.Look(At("outside")).Value.Uid);
    }

    [Fact]
    public void Space_PathNotThereYet_IsThatOfItsParent()
    {
        var space = _reader.Space(At("not/yet")).Value;
        var drive = new DriveInfo(_directory);
        Assert.Equal(drive.TotalSize, space.TotalBytes);
        Assert.InRange(space.AvailableBytes, 1, space.TotalBytes);
    }

    [Fact]
    public void User_KnownAndUnknown_AreBothSeen()
    {
        Assert.Equal((true, 0u, "/root"), (_reader.User("root").Value.Exists, _reader.User("root").Value.Uid, _reader.User("root").Value.Home));
        Assert.False(_reader.User("nobody-has-this-name").Value.Exists);
    }

    [Theory]
    [InlineData("relative")]
    [InlineData("/a/../b")]
    [InlineData("/a/")]
    [InlineData("")]
    public void Path_NotPlain_IsRefusedByName(string path) => Assert.Throws<ArgumentException>(() => _reader.Look(path));

    private static FileResult FileWriterOutcomeOf(int errno)
    {
        System.Runtime.InteropServices.Marshal.SetLastPInvokeError(errno);
        return FileWriter.Failed("write", "/a").Result;
    }

    private string At(string name) => Path.Combine(_directory, name);
}
