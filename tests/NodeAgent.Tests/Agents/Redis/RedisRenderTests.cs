using System.Text;
using AgentMetal.NodeAgent.Agents.Redis;
using AgentMetal.NodeAgent.Pipeline;
using CsCheck;
using static AgentMetal.NodeAgent.Tests.Agents.Redis.RedisSamples;

namespace AgentMetal.NodeAgent.Tests.Agents.Redis;

public sealed class RedisRenderTests
{
    [Fact]
    public void Config_OfAReplicatedMember_IsThisText() => Assert.Equal("""
        # Redis default/sessions member 1; managed by agentmetald. Changes by hand are put back.
        supervised systemd
        daemonize no
        logfile ""
        unixsocket /run/agentmetal-redis-6e87cbcc66f841cd-1/redis.sock
        unixsocketperm 700
        dir /var/lib/agentmetal/redis/default-sessions-1
        dbfilename dump.rdb
        appendfsync everysec
        appendonly yes
        bind * -::*
        databases 16
        maxclients 10000
        maxmemory 268435456
        maxmemory-policy allkeys-lru
        port 6379
        protected-mode yes
        replica-announce-ip 10.0.0.2
        save 3600 1 300 100 60 10000
        timeout 0
        include /etc/agentmetal/redis/default-sessions-1/auth.conf
        include /etc/agentmetal/redis/default-sessions-1/role.conf

        """, Goal(Input(1, spec: """{"replicas":2,"memory":{"max":"256Mi","policy":"allkeys-lru"}}""")).ConfigText);

    [Fact]
    public void Config_WithoutPassword_ListensOnLoopbackOnly()
    {
        var text = Goal(Input(members: 1, spec: """{"auth":{"enabled":false},"persistence":{"appendonly":false,"save":[]}}""")).ConfigText;
        Assert.Contains("\nbind 127.0.0.1 -::1\n", text, StringComparison.Ordinal);
        Assert.Contains("\nsave \"\"\n", text, StringComparison.Ordinal);
    }

    [Fact]
    public void Unit_WithLimit_HasMemoryMaxAndHeader()
    {
        var text = Goal(Input(members: 1, spec: """{"memory":{"max":"64Mi"},"limits":{"memory":"128Mi"}}""")).UnitText;
        Assert.StartsWith("# Redis default/sessions member 0; managed by agentmetald. Changes by hand are put back.\n[Unit]\n", text, StringComparison.Ordinal);
        foreach (var line in (string[])["Type=notify", "User=redis", "MemoryMax=134217728", "NoNewPrivileges=true", "ProtectSystem=strict",
            "ReadWritePaths=-/var/lib/agentmetal/redis/default-sessions-0", "ExecStart=/usr/bin/redis-server /etc/agentmetal/redis/default-sessions-0/redis.conf", "Restart=on-failure"])
            Assert.Contains("\n" + line + "\n", text, StringComparison.Ordinal);
    }

    [Fact]
    public void Config_ParsedAgain_GivesTheSettings() => RedisSamples.Spec.Sample(spec =>
    {
        var goal = Goal(Input(spec: spec));
        Assert.Equal(goal.Settings, RedisRender.Parse(goal.ConfigText));
    }, iter: 200);

    [Fact]
    public void Auth_AnyUsablePassword_IsFoundAgainAndOnOneLine() => Gen.Char[' ', '~'].Array[1, 64].Select(c => new string(c)).Sample(password =>
    {
        var text = RedisAuth.Render(password);
        Assert.Equal((true, true, password), RedisAuth.Parse(text));
        Assert.Equal(4, text.Count(c => c == '\n'));
    }, iter: 2000);

    [Fact]
    public void Role_AnyText_IsParsedOnlyIfItIsOurs() => Gen.OneOf(Gen.String, Gen.String[Gen.Char["repl icaof10.:\n\"#"], 0, 40]).Sample(tail =>
    {
        var header = RedisRender.Role(RedisRole.Primary);
        if (RedisRender.ParseRole(header + tail) is { } role) Assert.Equal(header + tail, RedisRender.Role(role));
    }, iter: 2000);

    [Theory]
    [InlineData("evil\nreplicaof 6.6.6.6 1", "x")]
    [InlineData("a b", "x")]
    [InlineData("../../etc", "x")]
    [InlineData("default", "a\n[Service]\nExecStart=/bin/sh")]
    [InlineData("default", "a%n")]
    [InlineData("default", "")]
    public void ReadGoal_HostileName_IsRefused(string project, string name)
    {
        var read = Member.ReadGoal(Input() with { Project = project, Name = name });
        Assert.Contains(read.Errors, e => e.Path.StartsWith("metadata.", StringComparison.Ordinal));
        Assert.Null(read.Goal);
    }

    [Theory]
    [InlineData("10.0.0.1 6379\nrequirepass \"\"")]
    [InlineData("host;rm")]
    [InlineData("-oProxy")]
    [InlineData("")]
    [InlineData("fe80::1%eth0 x")]
    public void ReadGoal_HostileAddress_IsRefused(string address)
    {
        var input = Input();
        var read = Member.ReadGoal(input with { Peers = input.Peers.SetItem(1, input.Peers[1] with { Address = address }) });
        Assert.Contains(read.Errors, e => e.Path == "peers[1].address");
    }

    [Fact]
    public void ReadGoal_PeerWithoutAPort_IsRefused()
    {
        var input = Input();
        var read = Member.ReadGoal(input with { Peers = input.Peers.SetItem(1, input.Peers[1] with { Port = 0 }) });
        Assert.Contains(read.Errors, e => e.Path == "peers[1].port");
    }

    [Theory]
    [InlineData("a\nb")]
    [InlineData("")]
    [InlineData("geheim\u00e4")]
    public void ReadGoal_UnusablePassword_IsRefusedAndNotQuoted(string password)
    {
        var read = Member.ReadGoal(Input() with { Secrets = new Dictionary<string, ReadOnlyMemory<byte>> { ["password"] = Encoding.UTF8.GetBytes(password) } });
        var error = Assert.Single(read.Errors);
        Assert.Equal("secrets.password", error.Path);
        if (password.Length > 0) Assert.DoesNotContain(password, error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void ReadGoal_UnknownField_IsUnsupported()
    {
        var read = Member.ReadGoal(Input() with { Spec = """{"cluster":{"shards":3}}"""u8.ToArray() });
        Assert.Contains(read.Errors, e => e.Path.Contains("cluster", StringComparison.Ordinal));
    }

    [Fact]
    public void Layout_NamesThatWouldMeet_AreApart()
    {
        var a = RedisLayout.Of("a-b", "c", 0, new());
        var b = RedisLayout.Of("a", "b-c", 0, new());
        Assert.NotEqual(a.Unit, b.Unit);
        Assert.NotEqual(a.DataDir, b.DataDir);
        var long63 = new string('x', 63);
        Assert.True(Encoding.UTF8.GetByteCount(RedisLayout.Of(long63, long63, 99, new()).SocketPath) < 108);
        Assert.Equal("agentmetal-redis-default-sessions-0.service", RedisLayout.Of("default", "sessions", 0, new()).Unit);
    }

    [Fact]
    public void Digest_OfAPassword_IsNotTheSameForTwoResources()
    {
        Assert.NotEqual(new RedisAuth("n", "u1", "p").Digest, new RedisAuth("n", "u2", "p").Digest);
        Assert.NotEqual(new RedisAuth("n1", "u", "p").Digest, new RedisAuth("n2", "u", "p").Digest);
        Assert.DoesNotContain("hunter2", new RedisAuth("n", "u", "hunter2").ToString(), StringComparison.Ordinal);
    }
}
