using System.Collections.Immutable;
using System.Globalization;
using AgentMetal.NodeAgent.Agents.Redis.Tools;
using AgentMetal.Runtime.Planning;

namespace AgentMetal.NodeAgent.Agents.Redis;

/// <summary>Gives up what a running server holds: no more than was signed, and nothing that is acknowledged beside the copy.</summary>
internal sealed partial class RedisActuator
{
    /// <summary>The server itself ends a pause that nobody renews: a daemon that dies holds back no client for longer.</summary>
    private static readonly TimeSpan PauseFor = TimeSpan.FromSeconds(15);

    private static readonly TimeSpan RenewEvery = TimeSpan.FromSeconds(3);

    /// <summary>Between the last look and the command; far within a pause, so that nothing was written in between.</summary>
    private static readonly TimeSpan Swift = TimeSpan.FromSeconds(5);

    private const int MaxCopies = 3;

    /// <param name="role">Whom it follows.</param>
    /// <param name="loss">What is given up, as it was signed; null = the other one has all of it.</param>
    /// <param name="keep">Where a copy is kept first; null = none is.</param>
    /// <param name="against">What stands against it in a state; null = nothing. It is asked right before.</param>
    /// <param name="ct">Ends it.</param>
    public async ValueTask FollowAsync(string role, string? loss, string? keep, Func<RedisState, string?> against, CancellationToken ct)
    {
        var (host, port) = RedisRole.Target(role) ?? throw new WorldException(role + " is no address");
        var follow = RespCommand.Of("REPLICAOF", host, port.ToString(CultureInfo.InvariantCulture));
        if (loss is null)
        {
            // A primary that others write to, or may: nothing of that comes between the look and the command.
            if (await LookAsync(against, ct).ConfigureAwait(false) is { Role: RedisRole.Primary, HoldsWrites: true })
            {
                await GiveUpAsync(role, follow, null, null, against, ct).ConfigureAwait(false);
                return;
            }
            using var client = await ConnectAsync(ct).ConfigureAwait(false);
            await LookedAsync(against, ct).ConfigureAwait(false);
            await WriteRole(role).ConfigureAwait(false);
            await OkAsync(client, follow, ct).ConfigureAwait(false);
            return;
        }
        if (LossText.Most(loss) is not { } most) throw new WorldException("what was signed does not say how many keys may go: " + loss);
        if (loss.EndsWith(LossText.Unheld, StringComparison.Ordinal))
        {
            if (keep is not null) await BackUpAsync(keep, ct).ConfigureAwait(false);
            using var client = await ConnectAsync(ct).ConfigureAwait(false);
            await LookedAsync(against, ct).ConfigureAwait(false);
            NoMoreThan(most, await InfoAsync(client, ct).ConfigureAwait(false));
            await WriteRole(role).ConfigureAwait(false);
            await OkAsync(client, follow, ct).ConfigureAwait(false);
            return;
        }
        await GiveUpAsync(role, follow, most, keep, against, ct).ConfigureAwait(false);
    }

    /// <summary>Writes are held back, then what is held is compared with what was signed, then it is copied, then the server follows: nobody is told OK for what is in neither.</summary>
    private async ValueTask GiveUpAsync(string role, RespCommand follow, long? most, string? keep, Func<RedisState, string?> against, CancellationToken ct)
    {
        using var client = await ConnectAsync(ct).ConfigureAwait(false);
        var before = readers.Files.Read(_layout.Role, RedisObserver.MaxFileBytes);
        var told = false;
        try
        {
            await PauseAsync(client, ct).ConfigureAwait(false);
            // Too much is known before a copy is made, and clients wait no longer than that.
            NoMoreThan(most, await InfoAsync(client, ct).ConfigureAwait(false));
            for (var copies = 1; ; copies++)
            {
                if (keep is not null) await PausedAsync(stop => BackUpAsync(keep, stop), ct).ConfigureAwait(false);
                await WriteRole(role).ConfigureAwait(false);
                await PauseAsync(client, ct).ConfigureAwait(false);
                var looked = clock.GetTimestamp();
                await LookAsync(against, ct).ConfigureAwait(false);
                var info = await InfoAsync(client, ct).ConfigureAwait(false);
                NoMoreThan(most, info);
                // Changes since the copy began say that the pause had a gap: somebody ended it, or this host stood still for longer. What a replica takes its primary has.
                var gap = keep is not null && info.Role == RedisRole.Primary && info["rdb_changes_since_last_save"] != "0";
                if (!gap && clock.GetElapsedTime(looked) < Swift) break;
                if (copies == MaxCopies) throw new WorldException("its clients' writes cannot be held back for long enough: it goes on changing, or this host is too slow");
            }
            // As one: clients that waited are told that it is read-only, and a paused replica would not take its primary's stream (Redis issue 8170).
            told = true;
            var replies = await AskAsync(client, [RespCommand.Of("MULTI"), RespCommand.Of("CLIENT", "UNPAUSE"), follow, RespCommand.Of("EXEC")], ct).ConfigureAwait(false);
            if (replies.Concat(replies[^1].Items.IsDefault ? [] : replies[^1].Items).FirstOrDefault(r => r.IsError) is { } refused)
            {
                told = false;
                throw new WorldException($"{follow}: {refused.Text}");
            }
        }
        catch
        {
            await UnpauseAsync().ConfigureAwait(false);
            // Nothing was changed: what a start would make of it is as it was, too. A command whose answer was lost may have been carried out: the file names the role that gives up less then.
            if (!told && before is { IsSeen: true, Value.State.Exists: true }) writers.Files.Write(_layout.Role, before.Value.Bytes.Span, OfGroup(0x1A0));
            throw;
        }
    }

    /// <summary>This member and its peers as they are now, with nothing that stands against the step.</summary>
    private async ValueTask<RedisState> LookAsync(Func<RedisState, string?> against, CancellationToken ct)
    {
        if (look is null) throw new InvalidOperationException("This actuator cannot look, and replaces nothing.");
        var state = await look(ct).ConfigureAwait(false);
        return against(state) is { } why ? throw new WorldException(why + "; nothing was changed") : state;
    }

    /// <summary>The same, and none of it is old when this returns: what a host that stood still saw before may be so no more.</summary>
    private async ValueTask LookedAsync(Func<RedisState, string?> against, CancellationToken ct)
    {
        var looked = clock.GetTimestamp();
        await LookAsync(against, ct).ConfigureAwait(false);
        if (clock.GetElapsedTime(looked) >= Swift) throw new WorldException("this host is too slow to look and to act at one time; nothing was changed");
    }

    private static void NoMoreThan(long? most, RedisInfo info)
    {
        var held = info.KeyCounts.Keys;
        if (most is null || (held >= 0 && held <= most)) return;
        throw new WorldException(string.Create(CultureInfo.InvariantCulture, $"signed for at most {most:N0} keys, now {held:N0} would be lost; nothing was changed, and its clients write on"));
    }

    /// <summary>Renews the pause while something lasts.</summary>
    private async ValueTask PausedAsync(Func<CancellationToken, ValueTask> work, CancellationToken ct)
    {
        using var done = CancellationTokenSource.CreateLinkedTokenSource(ct);
        var renewing = RenewAsync(done.Token);
        try { await work(ct).ConfigureAwait(false); }
        finally
        {
            await done.CancelAsync().ConfigureAwait(false);
            await renewing.ConfigureAwait(false);
        }
    }

    private async Task RenewAsync(CancellationToken done)
    {
        while (true)
        {
            try
            {
                await Task.Delay(RenewEvery, clock, done).ConfigureAwait(false);
                // It is not cut short: a pause that is under way must be answered before the one that ends all of them.
                using var client = await ConnectAsync(CancellationToken.None).ConfigureAwait(false);
                await PauseAsync(client, CancellationToken.None).ConfigureAwait(false);
            }
            catch (OperationCanceledException) { return; }
            catch (WorldException) { } // A gap is seen by what was changed in it.
        }
    }

    private static ValueTask PauseAsync(RespClient client, CancellationToken ct) =>
        OkAsync(client, RespCommand.Of("CLIENT", "PAUSE", PauseFor.TotalMilliseconds.ToString(CultureInfo.InvariantCulture), "WRITE"), ct);

    private async ValueTask UnpauseAsync()
    {
        try
        {
            using var client = await ConnectAsync(CancellationToken.None).ConfigureAwait(false);
            await OkAsync(client, RespCommand.Of("CLIENT", "UNPAUSE"), CancellationToken.None).ConfigureAwait(false);
        }
        catch (WorldException) { } // It ends by itself.
    }

    private static async ValueTask<ImmutableArray<RespReply>> AskAsync(RespClient client, ImmutableArray<RespCommand> commands, CancellationToken ct)
    {
        try
        {
            return await client.CallAsync(commands, Call, ct).ConfigureAwait(false);
        }
        catch (RespException e)
        {
            throw new WorldException($"{commands[0]}: {e.Message}", e);
        }
    }
}
