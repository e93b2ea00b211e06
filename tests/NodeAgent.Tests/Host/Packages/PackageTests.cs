using AgentMetal.NodeAgent.Host.Packages;
using AgentMetal.NodeAgent.Host.Processes;
using AgentMetal.NodeAgent.Host.Systemd;

namespace AgentMetal.NodeAgent.Tests.Host.Packages;

public sealed class PackageTests
{
    private static CancellationToken Ct => TestContext.Current.CancellationToken;

    [Theory]
    [InlineData("ii \t5:7.0.15-1~deb12u1\n", PackageStatus.Installed, "5:7.0.15-1~deb12u1")]
    [InlineData("hi \t1.0\n", PackageStatus.Installed, "1.0")]
    [InlineData("rc \t1.0\n", PackageStatus.ConfigFiles, "1.0")]
    [InlineData("un \t\n", PackageStatus.NotInstalled, "")]
    [InlineData("iU \t1.0\n", PackageStatus.Broken, "1.0")]
    [InlineData("iF \t1.0\n", PackageStatus.Broken, "1.0")]
    [InlineData("ii \t2\nii \t3\n", PackageStatus.Installed, "2")]
    public void Parse_EveryStatus_IsKnown(string output, object status, string version)
    {
        var state = DpkgReader.Parse("redis-server", output).Value;
        Assert.Equal(((PackageStatus)status, version), (state.Status, state.Version));
    }

    [Theory]
    [InlineData("")]
    [InlineData("i?\t1")]
    public void Parse_UnknownForm_IsUnseen(string output) => Assert.False(DpkgReader.Parse("a", output).IsSeen);

    [Fact]
    public async Task Get_OnARealDatabase_TellsInstalledFromUnknown()
    {
        Assert.SkipUnless(File.Exists("/usr/bin/dpkg-query"), "this machine has no dpkg-query");
        var ask = new DpkgReader(new ProcessRunner(TimeProvider.System));
        var read = new DpkgReader(new World(), "/var/lib/dpkg");
        foreach (var name in (string[])["dpkg", "libc6", "no-package-has-this-name"])
            Assert.Equal((await ask.GetAsync(name, Ct)).Value, (await read.GetAsync(name, Ct)).Value);
        Assert.Equal(PackageStatus.Installed, (await read.GetAsync("dpkg", Ct)).Value.Status);
        Assert.Equal(PackageStatus.NotInstalled, (await read.GetAsync("no-package-has-this-name", Ct)).Value.Status);
    }

    [Fact]
    public async Task Get_StatusFile_IsReadAnewWhenItMoves()
    {
        using var database = new Database();
        var world = new World();
        var reader = new DpkgReader(world, database.Path);
        Assert.Equal(PackageStatus.NotInstalled, (await reader.GetAsync("redis-server", Ct)).Value.Status);
        database.Write("Package: redis\nStatus: install ok installed\nVersion: 1\n\nPackage: redis-server\nStatus: install ok unpacked\nArchitecture: all\nVersion: 2\n");
        Assert.Equal((PackageStatus.Broken, "2"), await StateAsync(reader));
        database.Write("Package: redis-server\nStatus: hold ok installed\nVersion: 3\n\nPackage: zlib\nStatus: deinstall ok config-files\nVersion: 4\n");
        Assert.Equal((PackageStatus.Installed, "3"), await StateAsync(reader));
        Assert.Empty(world.Log);
    }

    [Theory]
    [InlineData("Package: redis-server\nStatus: install ok installed\nVersion: 1\n", "0001")] // dpkg is at work: the file is not all there is.
    [InlineData("Package: redis-server\nStatus: install ok installed\nVersion: 1\n\nPackage: redis-server\nStatus: install ok unpacked\nVersion: 1\n", "tmp.i")]
    [InlineData("Package: redis-server\nStatus: install ok enchanted\nVersion: 1\n", "tmp.i")]
    [InlineData("Package: redis-server\nStatus: install\nVersion: 1\n", "tmp.i")]
    public async Task Get_StatusFileLeavesADoubt_AsksDpkgOnceUntilItMoves(string status, string update)
    {
        using var database = new Database();
        database.Write(status);
        File.WriteAllText(Path.Combine(database.Path, "updates", update), "");
        var world = new World { Status = "iF " };
        var reader = new DpkgReader(world, database.Path);
        Assert.Equal((PackageStatus.Broken, "1"), await StateAsync(reader));
        Assert.Equal((PackageStatus.Broken, "1"), await StateAsync(reader));
        Assert.Equal(["query"], world.Log);

        world.Status = "iU ";
        Directory.SetLastWriteTimeUtc(Path.Combine(database.Path, "updates"), DateTime.UtcNow.AddMinutes(1));
        await reader.GetAsync("redis-server", Ct);
        Assert.Equal(["query", "query"], world.Log);
    }

    private static async Task<(PackageStatus, string)> StateAsync(DpkgReader reader)
    {
        var state = (await reader.GetAsync("redis-server", Ct)).Value;
        return (state.Status, state.Version);
    }

    [Theory]
    [InlineData("-oops")]
    [InlineData("a")]
    [InlineData("Redis")]
    [InlineData("redis server")]
    public async Task Get_NotAPackageName_IsRefused(string name) =>
        await Assert.ThrowsAsync<ArgumentException>(() => new DpkgReader(new World()).GetAsync(name, Ct));

    [Fact]
    public async Task Install_FreshPackage_IsMaskedWhileInstalledAndDisabledAfter()
    {
        var world = new World();
        var outcome = await world.InstallAsync(Ct);
        Assert.Equal(PackageResult.Done, outcome.Result);
        Assert.Equal(["query", "mask redis-server.service", "reload", "apt-get", "query", "unmask redis-server.service", "disable redis-server.service", "reload"], world.Log);
    }

    [Fact]
    public async Task Install_InstalledAlready_TouchesNothing()
    {
        var world = new World { Status = "ii " };
        Assert.True((await world.InstallAsync(Ct)).IsDone);
        Assert.Equal(["query"], world.Log);
    }

    [Fact]
    public async Task Install_CannotMask_InstallsNothing()
    {
        var world = new World { MaskResult = UnitResult.Unseen };
        Assert.Equal(PackageResult.NotQuiet, (await world.InstallAsync(Ct)).Result);
        Assert.DoesNotContain("apt-get", world.Log);
    }

    [Fact]
    public async Task Install_FailsAndLeavesNothing_TakesTheMaskAway()
    {
        var world = new World { AptExit = 100, AptError = "E: Unable to locate package redis-server", StatusAfter = "un " };
        Assert.Equal(PackageResult.NotFound, (await world.InstallAsync(Ct)).Result);
        Assert.Equal("reload", world.Log[^1]);
        Assert.Contains("unmask redis-server.service", world.Log);
        Assert.DoesNotContain("disable redis-server.service", world.Log);
    }

    [Fact]
    public async Task Install_CutOffHalfWay_KeepsTheMask()
    {
        var world = new World { AptExit = 100, AptError = "dpkg: error", StatusAfter = "iF " };
        Assert.Equal(PackageResult.Failed, (await world.InstallAsync(Ct)).Result);
        Assert.DoesNotContain("unmask redis-server.service", world.Log);
    }

    [Fact]
    public async Task Install_HalfInstalledBefore_CompletesThatFirst()
    {
        var world = new World { Status = "iF " };
        Assert.True((await world.InstallAsync(Ct)).IsDone);
        Assert.Equal(["dpkg", "apt-get"], world.Log.Where(static entry => entry is "dpkg" or "apt-get"));
    }

    [Theory]
    [InlineData("E: Unable to locate package redis", PackageResult.NotFound)]
    [InlineData("E: Version '9' for 'redis' was not found", PackageResult.NotFound)]
    [InlineData("E: Could not get lock /var/lib/dpkg/lock-frontend", PackageResult.Locked)]
    [InlineData("E: Unable to fetch some archives, maybe run apt-get update", PackageResult.SourceAway)]
    [InlineData("E: You don't have enough free space in /var/cache/apt/archives/.", PackageResult.NoSpace)]
    [InlineData("dpkg: something else", PackageResult.Failed)]
    public void Judge_KnownWords_BecomeAResult(string words, object result) =>
        Assert.Equal((PackageResult)result, AptWriter.Judge("redis", Exit(100, words)).Result);

    [Fact]
    public void Judge_AddressWithPassword_IsMasked()
    {
        var lines = AptWriter.Judge("redis", Exit(100, "E: Failed to fetch https://user:secret@example.org/debian x")).LastLines;
        Assert.Equal("E: Failed to fetch https://***@example.org/debian x", Assert.Single(lines));
    }

    private static ProcessOutcome Exit(int code, string stderr) => new() { Result = ProcessResult.Exited, ExitCode = code, Stderr = stderr };

    /// <summary>dpkg's directory: a status file, and what is not merged into it yet.</summary>
    private sealed class Database : IDisposable
    {
        internal Database()
        {
            Directory.CreateDirectory(System.IO.Path.Combine(Path, "updates"));
            Write("");
        }

        internal string Path { get; } = Directory.CreateTempSubdirectory("agentmetal-dpkg-").FullName;

        internal void Write(string status) => File.WriteAllText(System.IO.Path.Combine(Path, "status"), status);

        public void Dispose() => Directory.Delete(Path, recursive: true);
    }

    /// <summary>dpkg, apt-get and systemd as far as an installation sees them.</summary>
    private sealed class World : IProcessRunner, IUnitWriter
    {
        internal List<string> Log { get; } = [];

        internal string Status { get; set; } = "un ";

        internal string StatusAfter { get; init; } = "ii ";

        internal int AptExit { get; init; }

        internal string AptError { get; init; } = "";

        internal UnitResult MaskResult { get; init; } = UnitResult.Done;

        internal Task<PackageOutcome> InstallAsync(CancellationToken ct) =>
            new AptWriter(this, new DpkgReader(this), this, TimeProvider.System).InstallAsync(
                new PackageRequest { Name = "redis-server", QuietUnits = ["redis-server.service"], Deadline = TimeSpan.FromMinutes(1) }, ct);

        public Task<ProcessOutcome> RunAsync(ProcessRequest request, CancellationToken ct)
        {
            switch (request.Program)
            {
                case "/usr/bin/dpkg-query":
                    Log.Add("query");
                    return Task.FromResult(new ProcessOutcome { Result = ProcessResult.Exited, ExitCode = 0, Stdout = Status + "\t1\n" });
                case "/usr/bin/dpkg":
                    Log.Add("dpkg");
                    return Task.FromResult(Exit(0, ""));
                case "/usr/bin/apt-get":
                    Log.Add("apt-get");
                    Assert.Equal("noninteractive", request.Environment["DEBIAN_FRONTEND"]);
                    Assert.Contains("--no-install-recommends", request.Arguments);
                    Status = StatusAfter;
                    return Task.FromResult(Exit(AptExit, AptError));
                default:
                    throw new InvalidOperationException(request.Program);
            }
        }

        public Task<UnitOutcome> MaskAsync(IReadOnlyCollection<string> names, TimeSpan deadline, CancellationToken ct) => Do($"mask {names.Single()}", MaskResult);

        public Task<UnitOutcome> UnmaskAsync(IReadOnlyCollection<string> names, TimeSpan deadline, CancellationToken ct) => Do($"unmask {names.Single()}");

        public Task<UnitOutcome> DisableAsync(IReadOnlyCollection<string> names, TimeSpan deadline, CancellationToken ct) => Do($"disable {names.Single()}");

        public Task<UnitOutcome> ReloadDaemonAsync(TimeSpan deadline, CancellationToken ct) => Do("reload");

        public Task<UnitOutcome> EnableAsync(IReadOnlyCollection<string> names, TimeSpan deadline, CancellationToken ct) => throw Unexpected();

        public Task<UnitOutcome> StartAsync(string name, TimeSpan deadline, CancellationToken ct) => throw Unexpected();

        public Task<UnitOutcome> StopAsync(string name, TimeSpan deadline, CancellationToken ct) => throw Unexpected();

        public Task<UnitOutcome> RestartAsync(string name, TimeSpan deadline, CancellationToken ct) => throw Unexpected();

        public Task<UnitOutcome> ResetFailedAsync(string name, TimeSpan deadline, CancellationToken ct) => throw Unexpected();

        public Task<UnitOutcome> KillAsync(string name, KillTarget who, int signal, TimeSpan deadline, CancellationToken ct) => throw Unexpected();

        private static InvalidOperationException Unexpected() => new("An installation does not do this.");

        private Task<UnitOutcome> Do(string what, UnitResult result = UnitResult.Done)
        {
            Log.Add(what);
            return Task.FromResult(new UnitOutcome { Result = result });
        }
    }
}
