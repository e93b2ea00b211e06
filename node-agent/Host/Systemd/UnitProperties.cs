namespace AgentMetal.NodeAgent.Host.Systemd;

/// <summary>Reads the a{sv} of Properties.GetAll into a <see cref="UnitState"/> (org.freedesktop.systemd1(5)).</summary>
internal static class UnitProperties
{
    internal static UnitState Read(string name, BusMessage reply)
    {
        var state = new UnitState
        {
            Name = name,
            LoadState = "",
            ActiveState = "",
            SubState = "",
            UnitFileState = "",
            FragmentPath = "",
            DropInPaths = [],
            NeedDaemonReload = false,
            InvocationId = "",
            MainPid = 0,
            Result = "",
            NRestarts = 0,
            ExecMainStatus = 0,
            MemoryCurrent = null,
        };
        reply.Enter('a', "{sv}");
        while (reply.Enter('e', "sv"))
        {
            state = ReadOne(state, reply.ReadString(), reply);
            reply.Leave();
        }

        reply.Leave();
        // An answer without the state that every unit has is not an answer about a unit.
        return state.LoadState.Length > 0 && state.ActiveState.Length > 0
            ? state
            : throw new SystemdException("System.Error.EBADMSG", $"the properties of {name} lack LoadState or ActiveState", 74, BusFailure.Away);
    }

    private static UnitState ReadOne(UnitState state, string property, BusMessage reply) => property switch
    {
        "LoadState" => state with { LoadState = Text(reply) },
        "ActiveState" => state with { ActiveState = Text(reply) },
        "SubState" => state with { SubState = Text(reply) },
        "UnitFileState" => state with { UnitFileState = Text(reply) },
        "FragmentPath" => state with { FragmentPath = Text(reply) },
        "DropInPaths" => state with { DropInPaths = Variant(reply, "as", static r => r.ReadStrings()) },
        "NeedDaemonReload" => state with { NeedDaemonReload = Variant(reply, "b", static r => r.ReadBoolean()) },
        "InvocationID" => state with { InvocationId = Convert.ToHexStringLower(Variant(reply, "ay", static r => r.ReadBytes())) },
        "MainPID" => state with { MainPid = (int)Variant(reply, "u", static r => r.ReadUInt32()) },
        "Result" => state with { Result = Text(reply) },
        "NRestarts" => state with { NRestarts = Variant(reply, "u", static r => r.ReadUInt32()) },
        "ExecMainStatus" => state with { ExecMainStatus = Variant(reply, "i", static r => r.ReadInt32()) },
        "MemoryCurrent" => state with { MemoryCurrent = Known(Variant(reply, "t", static r => r.ReadUInt64())) },
        _ => Skip(state, reply),
    };

    private static string Text(BusMessage reply) => Variant(reply, "s", static r => r.ReadString());

    private static T Variant<T>(BusMessage reply, string type, Func<BusMessage, T> read)
    {
        reply.Enter('v', type);
        var value = read(reply);
        reply.Leave();
        return value;
    }

    private static UnitState Skip(UnitState state, BusMessage reply)
    {
        reply.Skip("v");
        return state;
    }

    // systemd says "not known" with the largest number.
    private static ulong? Known(ulong value) => value == ulong.MaxValue ? null : value;
}
