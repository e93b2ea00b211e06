using AgentMetal.NodeAgent.Agents.Instance;
using AgentMetal.NodeAgent.Agents.Instance.Volumes;
using AgentMetal.NodeAgent.Pipeline;
using AgentMetal.Runtime.Planning;
using AgentMetal.Runtime.Resources.Kinds;
using CsCheck;
using static AgentMetal.NodeAgent.Tests.Agents.Instance.InstanceSamples;

namespace AgentMetal.NodeAgent.Tests.Agents.Instance.Volumes;

/// <summary>Goals and states of one volume.</summary>
internal static class VolumeSamples
{
    public const string Empty = """{"size":"1Gi"}""";
    public const string FromImage = """{"image":"debian","format":"raw"}""";
    public const string Running = "11111111-2222-3333-4444-555555555555 vdb";

    public static VolumeMember NodeHalf { get; } = new(new(null!, null!, null!), new(null!, null!, null!, null!), new());

    public static MemberInput Volume(string spec = Empty, bool absent = false, bool protect = false, bool trusted = true) => Input(trusted: trusted, absent: absent, protect: protect) with
    {
        Key = "n0/Volume/uid-v/0",
        ResourceKey = "Volume default/data",
        Name = "data",
        ResourceUid = "uid-v",
        Spec = Valid(VolumeKind.Schema, spec),
    };

    /// <summary>A host that never had it.</summary>
    public static VolumeState Nothing(MemberInput input) => new()
    {
        Programs = Hypervisor.Ok,
        File = FactValue.Absent,
        Mark = FactValue.Absent,
        Users = User.None,
        Running = FactValue.Absent,
        Path = NodeHalf.Scope(input).Files[0].Path,
    };

    /// <summary>As the goal says.</summary>
    public static VolumeState Converged(MemberInput input)
    {
        var goal = NodeHalf.ReadGoal(input with { Absent = false }).Goal!;
        return (Nothing(input) with { Mark = Mark.Ours, Image = goal.Image is null || input.Absent ? FactValue.Absent : Present.It, ImageSize = goal.Image is null ? 0 : 2L << 30 })
            .With(goal.Format, goal.Size > 0 ? goal.Size : 2L << 30);
    }

    public static readonly Gen<MemberInput> Inputs = Gen.Select(Gen.OneOf(Empty, FromImage), Gen.Int[0, 4], Gen.Int[0, 9], Gen.Int[0, 5],
        (spec, going, trust, protect) => Volume(spec, absent: going == 0, trusted: trust > 0, protect: protect == 0));

    /// <summary>Any state of the host, unseen and half-made ones among them.</summary>
    public static Gen<VolumeState> State(MemberInput input)
    {
        var (nothing, done) = (Nothing(input), Converged(input));
        var format = NodeHalf.Scope(input).Files[0].Format;
        return Gen.Select(Gen.OneOf("there", "there", "none", "none", "none", "none", "none", "small", "small", "small", "small", "large", "odd", "unseen"), Often(Mark.Ours, FactValue.Absent, FactValue.Absent, FactValue.Absent, Mark.Other, FactValue.Unseen("no answer")),
            Often(User.None, "default-web", FactValue.Unseen("no answer")), Gen.Int[0, 3], Gen.OneOf("there", "there", "there", "none", "loading", "failed"), Gen.Int[0, 9],
            (file, mark, users, running, image, programs) =>
            {
                var s = file switch
                {
                    "there" => done,
                    "small" => done.With(format, done.Size / 2),
                    "large" => done.With(format, done.Size * 2),
                    "odd" => done with { File = "not a file", Size = 0 },
                    "unseen" => done with { File = FactValue.Unseen("no answer"), Size = 0 },
                    _ => done with { File = FactValue.Absent, Size = 0 },
                };
                s = s with { Mark = mark, Users = users, Running = FactValue.IsUnseen(users) ? users : users != User.None && running == 0 ? Running : FactValue.Absent, Programs = programs == 0 ? "qemu-img is not here" : Hypervisor.Ok };
                if (input.Absent) return s with { Partial = running == 1 ? Present.It : FactValue.Absent, Image = FactValue.Absent, ImageSize = 0 };
                return image == "there" || nothing.Image == done.Image ? s : s with { Image = FactValue.Absent, ImageSize = 0, Download = image == "none" ? null : new(5, 10, image == "failed" ? "404" : "") };
            });
    }

    private static Gen<string> Often(string usual, params string[] others) => Gen.OneOf([usual, usual, usual, usual, .. others]);
}
