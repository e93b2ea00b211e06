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
        var reader = new DpkgReader(new ProcessRunner(TimeProvider.System));
        Assert.Equal(PackageStatus.Installed, (await reader.GetAsync("dpkg", Ct)).Value.Status);
        Assert.Equal(PackageStatus.NotInstalled, (await reader.GetAsync("no-package-has-this-name", Ct)).Value.Status);
    }

    [Fact]
    public async Task Get_DatabaseUntouched_AsksOnceUntilAnyOfItsFilesMoves()
    {
        var database = Directory.CreateTempSubdirectory("agentmetal-dpkg-").FullName;
        Directory.CreateDirectory(Path.Combine(database, "updates"));
        File.WriteAllText(Path.Combine(database, "status"), "old");
        var world = new World { Status = "un " };
        var reader = new DpkgReader(world, database);
        Assert.Equal(PackageStatus.NotInstalled, (await reader.GetAsync("redis-server", Ct)).Value.Status);
        Assert.Equal(PackageStatus.NotInstalled, (await reader.GetAsync("redis-server", Ct)).Value.Status);
        Assert.Equal(["query"], world.Log);

        world.Status = "ii ";
        File.WriteAllText(Path.Combine(database, "status"), "longer");
        Assert.Equal(PackageStatus.Installed, (await reader.GetAsync("redis-server", Ct)).Value.Status);
        world.Status = "iU ";
        Directory.SetLastWriteTimeUtc(Path.Combine(database, "updates"), DateTime.UtcNow.AddMinutes(1));
        Assert.Equal(PackageStatus.Broken, (await reader.GetAsync("redis-server", Ct)).Value.Status);
        Assert.Equal(["query", "query", "query"], world.Log);
        Directory.Delete(database, recursive: true);
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
