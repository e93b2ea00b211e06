using System.Text.Json;
using System.Text;
using AgentMetal.Runtime.Resources.Kinds;
using AgentMetal.Runtime.Resources;
using CsCheck;
using Xunit;

namespace AgentMetal.Runtime.Tests.Resources;

public sealed class RedisKindTests
{
    private const string Defaults =
        """{"adopt":{"unit":""},"auth":{"enabled":true},"databases":16,"limits":{"memory":"0"},"maxclients":10000,"memory":{"max":"0","policy":"noeviction"},"persistence":{"appendfsync":"everysec","appendonly":true,"save":[{"changes":1,"seconds":3600},{"changes":100,"seconds":300},{"changes":10000,"seconds":60}]},"placement":{"labels":{},"spread":"host"},"port":6379,"primary":0,"replicas":0,"timeout":0}""";

    [Theory]
    [InlineData("")]
    [InlineData("{}")]
    [InlineData("""{"memory":null,"persistence":{"save":null}}""")]
    public void Validate_NothingGiven_IsAllDefaults(string given)
    {
        var (spec, errors) = RedisKind.Schema.Validate(Json.Utf8(given));

        Assert.Empty(errors);
        Assert.Equal(Defaults, Encoding.UTF8.GetString(spec.AsSpan()));
    }

    [Fact]
    public void Validate_EqualAmounts_HaveEqualBytes()
    {
        var written = new[] { "\"1Gi\"", "\"1024Mi\"", "1073741824", "\"1073741824\"" }
            .Select(m => RedisKind.Schema.Validate(Json.Utf8($$$"""{"memory":{"max":{{{m}}}}}"""))).ToList();

        Assert.All(written, w => Assert.Empty(w.Errors));
        Assert.Single(written.Select(w => Encoding.UTF8.GetString(w.Spec.AsSpan())).Distinct());
        Assert.Contains("\"max\":\"1Gi\"", Encoding.UTF8.GetString(written[0].Spec.AsSpan()), StringComparison.Ordinal);
    }

    [Fact]
    public void Validate_ManyMistakes_ReportsEveryOneWithItsPath()
    {
        var (spec, errors) = RedisKind.Schema.Validate(Json.Utf8("""
            {"replica":1,"replicas":9,"port":"6379","memory":{"max":"256mb","policy":"allkeys-lu"},
             "persistence":{"appendonly":"yes","appendfsync":"sometimes","save":[{"seconds":0},7]},
             "placement":{"labels":{"-x":"a","y":5}},"auth":[],"adopt":{"unit":"../etc.service"}}
            """));

        Assert.Empty(spec);
        Assert.Equal(
            [
                "spec.adopt.unit", "spec.auth", "spec.memory.max", "spec.memory.policy", "spec.persistence.appendfsync", "spec.persistence.appendonly",
                "spec.persistence.save[0].changes", "spec.persistence.save[0].seconds", "spec.persistence.save[1]", "spec.placement.labels.-x",
                "spec.placement.labels.y", "spec.port", "spec.replica", "spec.replicas",
            ],
            errors.Select(e => e.Path).Order(StringComparer.Ordinal));
        Assert.Equal("did you mean replicas?", errors.Single(e => e.Path == "spec.replica").Note);
        Assert.True(errors.Single(e => e.Path == "spec.replica").AtName);
        Assert.Equal("did you mean allkeys-lru?", errors.Single(e => e.Path == "spec.memory.policy").Note);
        Assert.Equal("\"sometimes\" is not one of: always, everysec, no", errors.Single(e => e.Path == "spec.persistence.appendfsync").Message);
        Assert.Equal("", errors.Single(e => e.Path == "spec.persistence.appendfsync").Note);
    }

    [Theory]
    [InlineData("""{"primary":1}""", "spec.primary")]
    [InlineData("""{"memory":{"max":"1Gi"},"limits":{"memory":"1Gi"}}""", "spec.memory.max")]
    [InlineData("""{"limits":{"memory":"1Gi"}}""", "spec.memory.max")]
    [InlineData("""{"memory":{"max":"512Ki"}}""", "spec.memory.max")]
    [InlineData("""{"memory":{"max":"2Mi"},"limits":{"memory":"8Mi"}}""", "spec.limits.memory")]
    [InlineData("""{"replicas":1,"auth":{"enabled":false}}""", "spec.auth.enabled")]
    [InlineData("""{"adopt":{"unit":"r.service"},"auth":{"enabled":false},"replicas":1}""", "spec.replicas")]
    [InlineData("""{"adopt":{"unit":"r.service"}}""", "spec.auth.enabled")]
    [InlineData("""{"adopt":{"unit":".service"}}""", "spec.adopt.unit")]
    public void Validate_FieldsThatContradict_NamesTheField(string given, string path) =>
        Assert.Contains(path, RedisKind.Schema.Validate(Json.Utf8(given)).Errors.Select(e => e.Path));

    [Theory]
    [InlineData("replicas", 0, 8)]
    [InlineData("port", 1024, 65535)]
    [InlineData("databases", 1, 1024)]
    [InlineData("maxclients", 10, 60000)]
    [InlineData("timeout", 0, 86400)]
    public void Validate_ANumberAtItsEdges_IsTakenAndBeyondRefused(string field, long min, long max)
    {
        bool Taken(long n) => RedisKind.Schema.Validate(Json.Utf8($$"""{"{{field}}":{{n}}}""")).Errors.IsEmpty;

        Assert.Equal([false, true, true, false], new[] { Taken(min - 1), Taken(min), Taken(max), Taken(max + 1) });
    }

    [Fact]
    public void Validate_AHopelessSpec_ReportsABoundedNumber()
    {
        var fields = string.Join(",", Enumerable.Range(0, 5000).Select(i => $"\"f{i}\":1"));

        var errors = RedisKind.Schema.Validate(Json.Utf8("{" + fields + "}")).Errors;

        Assert.Equal(101, errors.Length);
        Assert.Contains("more than 100 errors", errors[^1].Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Validate_AnyValue_NeverThrowsAndWhatItTakesIsAFixedPoint()
    {
        var taken = 0;
        Gen.OneOf(Json.Value, NearSpec).Sample(value =>
        {
            var (spec, errors) = RedisKind.Schema.Validate(CanonicalJson.Write(value));
            Assert.All(errors, e => Assert.True(e.Message.Length > 0));
            if (!errors.IsEmpty) return;
            Interlocked.Increment(ref taken);
            var (again, none) = RedisKind.Schema.Validate(spec.AsMemory());
            Assert.Empty(none);
            Assert.Equal(spec.AsSpan(), again.AsSpan());
            _ = RedisSpec.Parse(spec.AsMemory());
        }, iter: 5_000);
        Assert.True(taken > 100, $"only {taken} specs were taken: the property says little");
    }

    [Fact]
    public void Parse_ASpecThatNoSchemaTook_Throws() => Assert.Throws<JsonException>(() => RedisSpec.Parse(Json.Utf8("{}")));

    [Fact]
    public void Parse_AFullSpec_IsTyped()
    {
        var (spec, errors) = RedisKind.Schema.Validate(Json.Utf8("""
            {"replicas":2,"primary":1,"memory":{"max":"256Mi","policy":"allkeys-lru"},"limits":{"memory":"512Mi"},"persistence":{"appendonly":false,"save":[]},"placement":{"labels":{"site":"lab"},"spread":"none"}}
            """));
        Assert.Empty(errors);

        var redis = RedisSpec.Parse(spec.AsMemory());

        Assert.Equal((2, 1, 256L << 20, 512L << 20, "none", "lab"), (redis.Replicas, redis.Primary, redis.MaxMemory, redis.MemoryLimit, redis.Spread, redis.PlacementLabels["site"]));
        Assert.False(redis.Persistent);
        Assert.Equal("3600 1 300 100 60 10000", RedisSpec.Parse(RedisKind.Schema.Validate(default).Spec.AsMemory()).SaveText);
    }

    [Fact]
    public void ImmutableErrors_AChangedAuth_SaysFromWhatToWhat()
    {
        var before = RedisKind.Schema.Validate(default).Spec.AsMemory();
        var after = RedisKind.Schema.Validate(Json.Utf8("""{"auth":{"enabled":false},"adopt":{"unit":"r.service"},"port":6400}""")).Spec.AsMemory();

        var errors = RedisKind.Schema.ImmutableErrors(before, after).ToList();

        Assert.Equal(["spec.adopt.unit: cannot be changed from nothing to r.service", "spec.auth.enabled: cannot be changed from true to false"],
            errors.Select(e => $"{e.Path}: {e.Message}"));
        Assert.Empty(RedisKind.Schema.ImmutableErrors(before, before));
    }

    // Mostly right: the fields' own names with values that are often right.
    private static Gen<object?> NearSpec { get; } = Gen.Select(Gen.Int[-1, 9], Gen.Int[0, 3], Gen.Int[0, 4], Json.Value).Select(x =>
    {
        var (replicas, primary, which, odd) = x;
        var spec = new SortedDictionary<string, object?>(StringComparer.Ordinal) { ["replicas"] = (long)replicas, ["primary"] = (long)primary };
        if (which < 3) spec[RedisKind.Schema.Spec[(which * 3) + 3].Name] = odd;
        return (object?)spec;
    });
}
