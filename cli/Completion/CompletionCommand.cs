using System.CommandLine;
using System.CommandLine.Completions;
using AgentMetal.Cli.CommandLine;
using AgentMetal.Cli.Rendering;

namespace AgentMetal.Cli.Completion;

/// <summary>Scripts for shells, and the hidden command that they call at every Tab.</summary>
internal static class CompletionCommand
{
    internal static Command Build(Screen screen)
    {
        var which = new Argument<string>("SHELL") { Description = "bash, zsh or fish" };
        which.CompletionSources.Add("bash", "zsh", "fish");
        var command = new Command("completion", "A completion script: source <(agentmetal completion bash)") { which };
        command.SetAction(parsed =>
        {
            var script = parsed.GetRequiredValue(which) switch { "bash" => Bash, "zsh" => Zsh, "fish" => Fish, _ => null };
            if (script is null) return (int)new Failure(ExitCode.BadInput, $"SHELL: \"{parsed.GetRequiredValue(which)}\" is not one of bash, zsh, fish", "agentmetal completion bash").Write(screen);
            screen.Out.WriteLine(script);
            return (int)ExitCode.Ok;
        });
        return command;
    }

    internal static Command BuildHidden(Screen screen)
    {
        var position = new Argument<int>("POSITION");
        var line = new Argument<string>("LINE");
        var command = new Command("__complete") { position, line };
        command.Hidden = true;
        command.SetAction(parsed =>
        {
            foreach (var word in Words(screen, parsed.GetValue(position), parsed.GetRequiredValue(line))) screen.Out.WriteLine(word);
            return (int)ExitCode.Ok;
        });
        return command;
    }

    internal static IEnumerable<string> Words(Screen screen, int position, string line)
    {
        position = Math.Clamp(position, 0, line.Length);
        // The parser counts from after the program's name.
        var start = line.IndexOf(' ', StringComparison.Ordinal) + 1;
        if (start == 0 || position < start) return [];
        var rest = line[start..position];
        IEnumerable<CompletionItem> items = Root.Build(screen).Parse(rest).GetCompletions(rest.Length);
        return items.Select(i => i.InsertText ?? i.Label).Where(IsSafe).Distinct(StringComparer.Ordinal).Order(StringComparer.Ordinal);
    }

    // What a shell puts into the line must mean nothing to it.
    private static bool IsSafe(string word) => word.Length is > 0 and <= 300 && word.All(c => char.IsAsciiLetterOrDigit(c) || c is '-' or '_' or '.' or '/' or '=');

    private const string Bash = """
        # bash completion of agentmetal: source <(agentmetal completion bash)
        _agentmetal() {
            local word cur="${COMP_WORDS[COMP_CWORD]}"
            COMPREPLY=()
            while IFS= read -r word; do
                [[ $word == "$cur"* ]] && COMPREPLY+=("$word")
            done < <(agentmetal __complete "$COMP_POINT" "$COMP_LINE" 2>/dev/null)
        }
        complete -o default -F _agentmetal agentmetal
        """;

    private const string Zsh = """
        #compdef agentmetal
        # zsh completion of agentmetal: source <(agentmetal completion zsh)
        _agentmetal() {
            local -a words_found
            words_found=("${(@f)$(agentmetal __complete "$CURSOR" "$BUFFER" 2>/dev/null)}")
            if [[ -n "${words_found[1]}" ]]; then
                compadd -- "${words_found[@]}"
            else
                _files
            fi
        }
        compdef _agentmetal agentmetal
        """;

    private const string Fish = """
        # fish completion of agentmetal: agentmetal completion fish | source
        function __agentmetal_complete
            agentmetal __complete (commandline -C) (commandline -p | string collect) 2>/dev/null
        end
        complete -c agentmetal -a '(__agentmetal_complete)'
        """;
}
