namespace AgentMetal.NodeAgent.Agents.Redis.Data;

/// <summary>Reads a part of an append-only file as the server does: commands as arrays of bulk strings (RESP), and time marks.</summary>
internal static class AofScan
{
    private const int MaxLine = 256 * 1024;

    /// <summary>
    /// Where the command begins that no server would load; null = the file is whole, or ends within a command: that end the server cuts off by itself
    /// (aof-load-truncated).
    /// </summary>
    /// <param name="stream">From its beginning.</param>
    public static long? FirstBad(Stream stream)
    {
        var reader = new ByteReader(stream);
        while (true)
        {
            var begin = reader.At;
            switch (reader.Next())
            {
                case -1: return null;
                case '#' when reader.SkipLine(MaxLine): continue;
                case '*' when reader.Number() is >= 0 and var count && SkipStrings(reader, count): continue;
                default: return reader.HasEnded ? null : begin;
            }
        }
    }

    private static bool SkipStrings(ByteReader reader, long count)
    {
        for (; count > 0; count--)
            if (reader.Next() != '$' || reader.Number() is not { } length || length < 0 || !reader.Skip(length) || reader.Next() != '\r' || reader.Next() != '\n') return false;
        return true;
    }

    private sealed class ByteReader(Stream stream)
    {
        private readonly byte[] _buffer = new byte[1 << 16];
        private int _next, _end;

        /// <summary>Bytes taken so far.</summary>
        public long At { get; private set; }

        /// <summary>More was wanted than there is.</summary>
        public bool HasEnded { get; private set; }

        public int Next()
        {
            if (_next == _end)
            {
                (_next, _end) = (0, stream.Read(_buffer));
                if (_end == 0)
                {
                    HasEnded = true;
                    return -1;
                }
            }
            At++;
            return _buffer[_next++];
        }

        /// <summary>Digits to the end of the line; null = it is no number.</summary>
        public long? Number()
        {
            long number = 0;
            for (var digits = 0; ; digits++)
            {
                var c = Next();
                if (c == '\r') return digits > 0 && Next() == '\n' ? number : null;
                if (c is < '0' or > '9' || digits > 12) return null;
                number = (number * 10) + c - '0';
            }
        }

        public bool SkipLine(int max)
        {
            for (; max > 0; max--)
                switch (Next())
                {
                    case '\n': return true;
                    case -1: return false;
                }
            return false;
        }

        public bool Skip(long count)
        {
            while (count > 0)
            {
                if (_next == _end)
                {
                    (_next, _end) = (0, stream.Read(_buffer));
                    if (_end == 0) return !(HasEnded = true);
                }
                var taken = (int)Math.Min(count, _end - _next);
                (_next, At, count) = (_next + taken, At + taken, count - taken);
            }
            return true;
        }
    }
}
