using AgentMetal.Cli.CommandLine;
using AgentMetal.Cli.Link;
using AgentMetal.Cli.Rendering;

SystemTrust.Leave();
return await Root.RunAsync(Screen.Real(), args);
