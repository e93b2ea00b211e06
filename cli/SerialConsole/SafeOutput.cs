using System.Text;

namespace AgentMetal.Cli.SerialConsole;

/// <summary>
/// Takes what a terminal would act on out of a guest's output (ECMA-48): escape and control sequences, and every control character but carriage return,
/// line feed and tab. What is no UTF-8 becomes U+FFFD, so that no byte is left that a terminal could take for a control of eight bits.
/// </summary>
internal sealed class SafeOutput
{
    /// <summary>A string that a terminal would swallow ends after so much, so that an open one cannot hide what follows for ever.</summary>
    internal const int LongestString = 4096;

    private readonly Decoder _decoder = new UTF8Encoding(false).GetDecoder();
    private State _state;
    private int _swallowed;

    private enum State
    {
        Text,
        Escape,

        /// <summary>After ESC [: until a final byte.</summary>
        Sequence,

        /// <summary>After ESC ] and its like: until BEL or ESC \.</summary>
        String,
        StringEscape,
    }

    /// <summary>The rest of these bytes, as UTF-8. What is begun and not ended waits for the next ones.</summary>
    internal byte[] Clean(ReadOnlySpan<byte> bytes)
    {
        var chars = new char[_decoder.GetCharCount(bytes, flush: false)];
        var count = _decoder.GetChars(bytes, chars, flush: false);
        var kept = 0;
        for (var i = 0; i < count; i++)
            if (IsKept(chars[i])) chars[kept++] = chars[i];
        return Encoding.UTF8.GetBytes(chars, 0, kept);
    }

    private bool IsKept(char c)
    {
        if (_state is State.String or State.StringEscape) return InString(c);
        switch (c)
        {
            case '\u001b':
                _state = State.Escape;
                return false;
            case '\u009b':
                _state = State.Sequence;
                return false;
            case '\u0090' or '\u0098' or '\u009d' or '\u009e' or '\u009f':
                Begin();
                return false;
        }
        // Controls stand for themselves also within a sequence, and end it here: so a line is never lost to one that is not ended.
        if (char.IsControl(c))
        {
            _state = State.Text;
            return c is '\r' or '\n' or '\t';
        }
        switch (_state)
        {
            case State.Escape:
                if (c == '[') _state = State.Sequence;
                else if (c is ']' or 'P' or 'X' or '^' or '_') Begin();
                else if (c is < ' ' or > '/') _state = State.Text; // An intermediate is followed by a final.
                return false;
            case State.Sequence:
                if (c is < ' ' or > '?') _state = State.Text;
                return false;
            default:
                return true;
        }
    }

    private bool InString(char c)
    {
        if (_state == State.StringEscape && c == '\\' || c is '\a' or '\u009c' or '\u0018' or '\u001a' || ++_swallowed > LongestString) _state = State.Text;
        else if (c == '\n')
        {
            _state = State.Text;
            return true;
        }
        else _state = c == '\u001b' ? State.StringEscape : State.String;
        return false;
    }

    private void Begin() => (_state, _swallowed) = (State.String, 0);
}
