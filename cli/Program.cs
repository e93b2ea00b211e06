using System.CommandLine;

var root = new RootCommand("Look at a fleet of bare-metal servers, and decide.");
return root.Parse(args).Invoke();
