using System.Reflection;

namespace AgentMetal.NodeAgent;

internal static class Program
{
    private static int Main(string[] args)
    {
        if (args is ["--version"])
        {
            var version = typeof(Program).Assembly.GetCustomAttribute<AssemblyInformationalVersionAttribute>()?.InformationalVersion;
            Console.Out.WriteLine($"agentmetald {version}");
            return 0;
        }

        Console.Error.WriteLine("agentmetald: unknown arguments. Usage: agentmetald --version");
        return 2;
    }
}
