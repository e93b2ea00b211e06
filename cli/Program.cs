using AgentMetal.Cli.CommandLine;
using AgentMetal.Cli.Rendering;

return await Root.RunAsync(Screen.Real(), args);
