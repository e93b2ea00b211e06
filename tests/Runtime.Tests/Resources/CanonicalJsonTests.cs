using System.Text;
using AgentMetal.Runtime.Resources;
using CsCheck;
using Xunit;

namespace AgentMetal.Runtime.Tests.Resources;

public sealed class CanonicalJsonTests
{
    [Fact]
    public void Write_TheKeysOfRfc8785_AreInItsOrder()
    {
        // RFC 8785 section 3.2.3: by UTF-16 code units, so the emoji (a surrogate pair) comes before U+FB33.
        const string shuffled = """{"\u20ac":1,"\r":2,"\ufb33":3,"1":4,"\ud83d\ude00":5,"\u0080":6,"\u00f6":7}""";

        Assert.Equal("{\"\\r\":2,\"1\":4,\"\u0080\":6,\"ö\":7,\"€\":1,\"😀\":5,\"\ufb33\":3}", Json.Reformat(shuffled));
    }

    [Fact]
    public void Write_TheTextOfRfc8785_IsEscapedAsThere() =>
        Assert.Equal("\"€$\\u000f\\nA'B\\\"\\\\\\\\\\\"/\"", Json.Reformat("\"\\u20ac$\\u000F\\u000aA'\\u0042\\u0022\\u005c\\\\\\\"\\/\""));

    [Theory]
    [InlineData(" { \"b\" : [ 1 , -0 ] , \"a\" : null } ", """{"a":null,"b":[1,0]}""")]
    [InlineData("9007199254740991", "9007199254740991")]
    [InlineData("-9007199254740991", "-9007199254740991")]
    [InlineData("[]", "[]")]
    public void Parse_AcceptedForms_HaveOneForm(string given, string canonical) => Assert.Equal(canonical, Json.Reformat(given));

    [Theory]
    [InlineData("""{"a":[{"b":1.5}]}""", "a[0].b")]
    [InlineData("""{"a":1e3}""", "a")]
    [InlineData("""{"a":9007199254740992}""", "a")]
    [InlineData("""{"a":-9223372036854775808}""", "a")]
    [InlineData("""{"a":99999999999999999999999}""", "a")]
    [InlineData("""{"a":1,"a":1}""", "")]
    [InlineData("""{"a":1,"\u0061":1}""", "")]
    [InlineData("""{"a":"\ud800"}""", "")]
    [InlineData("""{"\udc00":1}""", "")]
    [InlineData("""{"a":1}x""", "")]
    [InlineData("""{"a":1,}""", "")]
    [InlineData("", "")]
    [InlineData("NaN", "")]
    public void Parse_WhatHasNoCanonicalForm_IsRefusedWithItsPath(string given, string path)
    {
        var (value, error) = CanonicalJson.Parse(Json.Utf8(given));

        Assert.Null(value);
        Assert.Equal(path, error!.Path);
    }

    [Fact]
    public void Parse_BytesThatAreNotUtf8_AreRefused() => Assert.Equal("is not UTF-8 text", CanonicalJson.Parse(new byte[] { (byte)'"', 0xC3, 0x28, (byte)'"' }).Error!.Message);

    [Fact]
    public void Parse_AtItsBounds_AcceptsAndBeyondRefuses()
    {
        Assert.Null(CanonicalJson.Parse(Json.Utf8(new string('[', 32) + new string(']', 32))).Error);
        Assert.NotNull(CanonicalJson.Parse(Json.Utf8(new string('[', 33) + new string(']', 33))).Error);
        Assert.Null(CanonicalJson.Parse(Json.Utf8($"\"{new string('x', CanonicalJson.MaxBytes - 2)}\"")).Error);
        Assert.NotNull(CanonicalJson.Parse(Json.Utf8($"\"{new string('x', CanonicalJson.MaxBytes - 1)}\"")).Error);
    }

    [Fact]
    public void Write_WhatHasNoCanonicalForm_Throws()
    {
        Assert.ThrowsAny<ArgumentException>(() => CanonicalJson.Write("\ud800"));
        Assert.ThrowsAny<ArgumentException>(() => CanonicalJson.Write(1.5));
        Assert.ThrowsAny<ArgumentException>(() => CanonicalJson.Write(CanonicalJson.MaxInteger + 1));
        object? deep = null;
        for (var i = 0; i < 40; i++) deep = new List<object?> { deep };
        Assert.ThrowsAny<ArgumentException>(() => CanonicalJson.Write(deep));
    }

    [Fact]
    public void ParseThenWrite_AnyValue_GivesTheSameBytes() => Json.Value.Sample(value =>
    {
        var bytes = CanonicalJson.Write(value);
        var (again, error) = CanonicalJson.Parse(bytes);
        return error is null && bytes.AsSpan().SequenceEqual(CanonicalJson.Write(again));
    }, iter: 5_000);

    [Fact]
    public void Write_TheSameFieldsInAnotherOrder_GivesTheSameBytes() =>
        Gen.Select(Gen.Select(Json.Text, Json.Value).Array[0, 8], Gen.Int).Sample((fields, seed) =>
        {
            var unique = fields.DistinctBy(f => f.Item1).ToArray();
            var shuffled = unique.ToArray();
            new Random(seed).Shuffle(shuffled);
            Assert.Equal(Json.Canonical(unique.ToDictionary(f => f.Item1, f => f.Item2)), Json.Canonical(Spread(shuffled)));
        }, iter: 2_000);

    [Fact]
    public void Parse_AnyBytes_NeverThrows()
    {
        Gen.Byte.Array[0, 200].Sample(bytes => CanonicalJson.Parse(bytes).Error is not null || CanonicalJson.Write(CanonicalJson.Parse(bytes).Value).Length > 0, iter: 5_000);
        // Near misses reach further than noise: cut, repeat and damage good text.
        Gen.Select(Json.Value, Gen.Int[0, 200], Gen.Byte, Gen.Int[0, 3]).Sample((value, at, noise, how) =>
        {
            var bytes = CanonicalJson.Write(value).ToList();
            at = Math.Min(at, bytes.Count - 1);
            switch (how)
            {
                case 0: bytes[at] = noise; break;
                case 1: bytes.RemoveAt(at); break;
                case 2: bytes.Insert(at, noise); break;
                default: bytes.InsertRange(at, Encoding.ASCII.GetBytes("\\ud800")); break;
            }
            var (again, error) = CanonicalJson.Parse(bytes.ToArray());
            return error is not null || CanonicalJson.Write(again).Length > 0;
        }, iter: 10_000);
    }

    // As text with spaces, in the order given, so that the parser sees the other order.
    private static object? Spread((string Name, object? Value)[] fields)
    {
        var text = "{ " + string.Join(" , ", fields.Select(f => Json.Canonical(f.Name) + " : " + Json.Canonical(f.Value))) + " }";
        var (value, error) = CanonicalJson.Parse(Json.Utf8(text));
        Assert.Null(error);
        return value;
    }
}
