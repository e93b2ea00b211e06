using System.Collections.Immutable;
using System.Text.Json;
using System.Text;
using AgentMetal.Runtime.Resources.Kinds;
using AgentMetal.Runtime.Resources;
using CsCheck;
using Xunit;

namespace AgentMetal.Runtime.Tests.Resources;

public sealed class ResourceTests
{
    private static readonly DateTimeOffset s_noon = new(2026, 1, 1, 12, 0, 0, TimeSpan.Zero);

    [Theory]
    [InlineData("a", true)]
    [InlineData("a-1", true)]
    [InlineData("0", true)]
    [InlineData("", false)]
    [InlineData("-a", false)]
    [InlineData("a-", false)]
    [InlineData("A", false)]
    [InlineData("a.b", false)]
    [InlineData("a/b", false)]
    [InlineData("a\n", false)]
    [InlineData("é", false)]
    public void LabelError_OfAName_IsRfc1123(string name, bool fine) => Assert.Equal(fine, Names.LabelError(name) is null);

    [Fact]
    public void LabelError_OfALongName_AllowsSixtyThree()
    {
        Assert.Null(Names.LabelError(new string('a', 63)));
        Assert.NotNull(Names.LabelError(new string('a', 64)));
    }

    [Theory]
    [InlineData("team", true)]
    [InlineData("example.com/team_x.y", true)]
    [InlineData("/team", false)]
    [InlineData("example.com/", false)]
    [InlineData("Example.com/team", false)]
    [InlineData("a/b/c", false)]
    [InlineData(".team", false)]
    [InlineData("te am", false)]
    public void LabelKeyError_OfAKey_IsKubernetes(string key, bool fine) => Assert.Equal(fine, Names.LabelKeyError(key) is null);

    [Fact]
    public void MetadataErrors_ManyMistakes_NamesEach()
    {
        var metadata = new Metadata
        {
            Name = "No",
            Project = "",
            Labels = ImmutableSortedDictionary<string, string>.Empty.Add("-", "ok").Add("ok", "not ok"),
            Annotations = ImmutableSortedDictionary<string, string>.Empty.Add("big", new string('x', 16 * 1024)),
        };

        Assert.Equal(["metadata.annotations", "metadata.labels.-", "metadata.labels.ok", "metadata.name", "metadata.project"],
            Resource.MetadataErrors(metadata).Select(e => e.Path).Order(StringComparer.Ordinal));
        Assert.Empty(Resource.MetadataErrors(new Metadata { Name = "ok" }));
    }

    [Fact]
    public void Set_TheSameStatus_KeepsSinceAndTakesTheRest()
    {
        var first = Condition.Set([], new Condition("Ready", "False", "Starting", "starts", s_noon));

        var same = Condition.Set(first, new Condition("Ready", "False", "Unreachable", "cannot be reached", s_noon.AddMinutes(5)));
        var changed = Condition.Set(same, new Condition("Ready", "True", "Converged", "", s_noon.AddMinutes(6)));

        Assert.Equal((s_noon, "Unreachable"), (same.Single().Since, same.Single().Reason));
        Assert.Equal(s_noon.AddMinutes(6), changed.Single().Since);
    }

    [Fact]
    public void Between_TwoSpecs_ListsWhatChangedByPath()
    {
        var before = Json.Utf8("""{"a":{"b":1,"c":"x"},"d":[1],"e":true}""");
        var after = Json.Utf8("""{"a":{"b":2,"c":"x"},"d":[1,2],"f":"new"}""");

        Assert.Equal([new("a.b", "1", "2"), new("d", "[1]", "[1,2]"), new("e", "true", ""), new("f", "", "new")], FieldChange.Between(before, after));
        Assert.Empty(FieldChange.Between(before, before));
        Assert.Equal(3, FieldChange.Between(default, Json.Utf8("""{"a":1,"b":2,"c":3}""")).Length);
    }

    [Fact]
    public void Format_AnyAmount_IsReadBackAsTheSame() => Gen.Long[0, CanonicalJson.MaxInteger].Sample(n => Quantity.Parse(Quantity.Format(n)) == n, iter: 5_000);

    [Theory]
    [InlineData("256Mi", 268_435_456)]
    [InlineData("0", 0)]
    [InlineData("8191Ti", 8191L << 40)]
    public void Parse_AnAmount_IsBytes(string text, long bytes) => Assert.Equal(bytes, Quantity.Parse(text));

    [Theory]
    [InlineData("")]
    [InlineData("Mi")]
    [InlineData("256mb")]
    [InlineData("256M")]
    [InlineData("-1")]
    [InlineData("1.5Gi")]
    [InlineData("8192Ti")]
    [InlineData("99999999999999999999")]
    [InlineData("١Mi")]
    public void Parse_WhatIsNoAmount_IsNull(string text) => Assert.Null(Quantity.Parse(text));

    [Fact]
    public void Find_AKind_TakesAnyCaseAndAliases()
    {
        Assert.Same(RedisKind.Schema, KindCatalog.Find("REDIS"));
        Assert.Same(RedisKind.Schema, KindCatalog.Find("redises"));
        Assert.Same(InstanceKind.Schema, KindCatalog.Find("VM"));
        Assert.Null(KindCatalog.Find("database"));
    }

    [Fact]
    public void JsonSchema_OfEveryKind_DescribesEveryField()
    {
        foreach (var kind in KindCatalog.All)
        {
            using var schema = JsonDocument.Parse(SchemaText.JsonSchema(kind));
            Assert.Equal("https://json-schema.org/draft/2020-12/schema", schema.RootElement.GetProperty("$schema").GetString());
            Described(kind.Spec, schema.RootElement.GetProperty("properties").GetProperty("spec"));
        }
    }

    [Fact]
    public void Explain_EveryFieldOfEveryKind_SaysItsWordsAndBounds()
    {
        foreach (var kind in KindCatalog.All)
            foreach (var (path, field) in Paths(kind.Spec, ""))
                Assert.Contains(field.Doc, SchemaText.Explain(kind, path)!, StringComparison.Ordinal);
        Assert.Contains("one of: always, everysec, no", SchemaText.Explain(RedisKind.Schema, "spec.persistence.appendfsync")!, StringComparison.Ordinal);
        Assert.Null(SchemaText.Explain(RedisKind.Schema, "spec.nothing"));
    }

    private static IEnumerable<(string Path, Field Field)> Paths(IEnumerable<Field> fields, string prefix) =>
        fields.SelectMany(f => Paths(f.Fields, prefix + f.Name + ".").Prepend((prefix + f.Name, f)));

    private static void Described(IEnumerable<Field> fields, JsonElement schema)
    {
        Assert.False(schema.GetProperty("additionalProperties").GetBoolean());
        foreach (var field in fields)
        {
            var property = schema.GetProperty("properties").GetProperty(field.Name);
            Assert.Equal(field.Doc, property.GetProperty("description").GetString());
            if (field.Default is not null) Assert.Equal(Encoding.UTF8.GetString(CanonicalJson.Write(field.Default)), property.GetProperty("default").GetRawText());
            if (field.Type == FieldType.Group) Described(field.Fields, property);
            if (field.Type == FieldType.List) Described(field.Fields, property.GetProperty("items"));
        }
    }
}
