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
        "ExecMainCode" => state with { ExecMainCode = Variant(reply, "i", static r => r.ReadInt32()) },
        "ExecMainExitTimestamp" => state with { ExecMainExitAt = When(Variant(reply, "t", static r => r.ReadUInt64())) },
        "ActiveEnterTimestamp" => state with { ActiveEnterAt = When(Variant(reply, "t", static r => r.ReadUInt64())) },
        "ControlGroup" => state with { ControlGroup = Text(reply) },
        "MemoryMax" => state with { MemoryMax = Known(Variant(reply, "t", static r => r.ReadUInt64())) },
        "TimeoutStopUSec" => state with { TimeoutStop = Known(Variant(reply, "t", static r => r.ReadUInt64())) is { } span and < (1UL << 53) ? TimeSpan.FromMicroseconds(span) : null },
        "Job" => state with { HasJob = Variant(reply, "(uo)", ReadJob) != 0 },
        "MemoryCurrent" => state with { MemoryCurrent = Known(Variant(reply, "t", static r => r.ReadUInt64())) },
        _ => Skip(state, reply),
    };

    /// <summary>
    /// What PropertiesChanged says of the end of a main process; null when it says nothing of one. systemd restarts a service within its RestartSec and
    /// forgets then how it ended: only this signal still knows.
    /// </summary>
    internal static UnitEnd? ReadEnd(BusMessage signal)
    {
        if (signal.ReadString() != "org.freedesktop.systemd1.Service") return null;
        var (end, pid) = (new UnitEnd(default, "", 0, 0, 0), -1);
        signal.Enter('a', "{sv}");
        while (signal.Enter('e', "sv"))
        {
            switch (signal.ReadString())
            {
                case "ExecMainExitTimestamp": end = end with { At = When(Variant(signal, "t", static r => r.ReadUInt64())) ?? default }; break;
                case "Result": end = end with { Result = Text(signal) }; break;
                case "ExecMainCode": end = end with { Code = Variant(signal, "i", static r => r.ReadInt32()) }; break;
                case "ExecMainStatus": end = end with { Status = Variant(signal, "i", static r => r.ReadInt32()) }; break;
                case "NRestarts": end = end with { Restarts = Variant(signal, "u", static r => r.ReadUInt32()) }; break;
                case "MainPID": pid = (int)Variant(signal, "u", static r => r.ReadUInt32()); break;
                default: signal.Skip("v"); break;
            }
            signal.Leave();
        }
        signal.Leave();
        return pid == 0 && end.At != default && end.Code != 0 ? end : null;
    }

    private static DateTimeOffset? When(ulong microseconds) => microseconds is > 0 and < (1UL << 55) ? DateTimeOffset.UnixEpoch.AddTicks((long)microseconds * 10) : null;

    private static string Text(BusMessage reply) => Variant(reply, "s", static r => r.ReadString());

    private static T Variant<T>(BusMessage reply, string type, Func<BusMessage, T> read)
    {
        reply.Enter('v', type);
        var value = read(reply);
        reply.Leave();
        return value;
    }

    /// <summary>Its number; 0 = none.</summary>
    private static uint ReadJob(BusMessage reply)
    {
        reply.Enter('r', "uo");
        var id = reply.ReadUInt32();
        reply.Skip("o");
        reply.Leave();
        return id;
    }

    private static UnitState Skip(UnitState state, BusMessage reply)
    {
        reply.Skip("v");
        return state;
    }

    // systemd says "not known" with the largest number.
    private static ulong? Known(ulong value) => value == ulong.MaxValue ? null : value;
}
