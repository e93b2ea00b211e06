using System.Reflection;

namespace AgentMetal.Coordinator;

/// <summary>This program.</summary>
internal static class Build
{
    public static string Version { get; } = Assembly.GetExecutingAssembly().GetCustomAttribute<AssemblyInformationalVersionAttribute>()?.InformationalVersion ?? "unknown";
}
