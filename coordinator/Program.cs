using System.Reflection;

var version = Assembly.GetExecutingAssembly().GetCustomAttribute<AssemblyInformationalVersionAttribute>()?.InformationalVersion ?? "unknown";
if (args is ["--version"])
{
    Console.WriteLine($"agentmetal-coordinator {version}");
    return 0;
}
Console.Error.WriteLine("error: unknown arguments; agentmetal-coordinator answers to --version");
return 2;
