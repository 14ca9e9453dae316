import { describe, expect, it } from 'vitest';
import type { Domain, HypervisorConnection, JobStats } from '../../../../agent/hypervisor.ts';
import { monitorPostCopy } from '../../../../agent/mover/post-copy-monitor.ts';
import { VirtualClock } from '../../../../simulator/virtual-clock.ts';

/** A guest that runs on the destination from `runsAfterMs` on, with `source` as the state of the source's half. */
function world({ runsAfterMs = 90, source = 'postcopy-paused', silent = false } = {}) {
  const clock = new VirtualClock();
  const begun = clock.now();
  const events: string[] = [];
  const at = () => clock.now() - begun;
  const domain = (state: () => string) =>
    ({
      state: async () => {
        if (silent) throw new Error('no answer');
        return { state: state(), detail: '' };
      },
      job: async () => {
        if (silent) throw new Error('no answer');
        return { bytesProcessed: at() } as JobStats;
      },
    }) as unknown as Domain;
  const done = new AbortController();
  const observed = monitorPostCopy(
    {
      source: domain(() => source),
      destination: {
        find: async () => domain(() => (at() >= runsAfterMs ? 'postcopy-running' : 'incoming')),
      } as unknown as HypervisorConnection,
      vm: 'web01',
      clock,
      onRunning: () => events.push(`runs at ${at()}`),
      onRest: (rest) => events.push(`rest ${rest?.bytesProcessed}`),
    },
    done.signal,
  );
  return { clock, begun, events, done, observed };
}

describe('the monitor of a post-copy', () => {
  it('sees within 20 ms that the guest runs, and reports the rest every second', async () => {
    const { clock, begun, events, done, observed } = world();
    await clock.advance(2_500);
    done.abort();
    expect(await observed).toEqual({ postCopy: true, ranAt: begun + 100, rest: { bytesProcessed: 2_100 } });
    expect(events).toEqual(['runs at 100', 'rest 1100', 'rest 2100']);
  });

  it('finds that a copy had converged in the same moment', async () => {
    const { clock, done, observed } = world({ source: 'migrating-paused' });
    await clock.advance(200);
    done.abort();
    expect(await observed).toMatchObject({ postCopy: false });
  });

  it('ends with its caller when no host answers, and does not reject', async () => {
    const { clock, begun, events, done, observed } = world({ silent: true });
    await clock.advance(500);
    done.abort();
    expect(await observed).toEqual({ postCopy: true, ranAt: begun + 500, rest: undefined });
    expect(events).toEqual([]);
  });
});
