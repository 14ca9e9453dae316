import type { Observation } from '../../contract/forecast.ts';
import type { ResultOf } from '../../contract/reports.ts';
import type { TaskOf } from '../../contract/tasks.ts';
import type { AgentDeps } from '../deps.ts';
import { messageOf } from '../error-message.ts';
import type { Domain } from '../hypervisor.ts';
import { withHypervisor } from '../hypervisor-session.ts';
import { findNeighbour } from '../observe/addresses.ts';
import type { Switch } from '../observe/blackout.ts';
import { GuestReachabilityProbe, RETURN_MS, SECOND_RETURN_MS } from '../observe/guest-reachability-probe.ts';

/** Half of what SSM gives a command; nearly every switch comes within a few seconds of the cutover's task. */
const SWITCH = { everyMs: 100, limitMs: 60_000 };

const not = (why: string): Observation => ({ observed: false, why });

/**
 * Sees from the destination when the guest is out of reach and when it answers again. If it does not within 2 s of running here,
 * although it did before, the network still sends its traffic elsewhere: it is announced again. A watch that begins behind a cutover
 * that was faster can't tell the blackout; it brings the guest back all the same, by what the source saw before.
 *
 * Only looks, and disturbs nothing: whatever goes wrong here is a reason why nothing was observed.
 */
export function observeGuest(deps: AgentDeps, task: TaskOf<'observe-guest'>): Promise<ResultOf<'observe-guest'>> {
  return withHypervisor(deps, deps.localUri, async (here) => {
    const copy = await here.find(task.vm);
    if (copy === undefined) return told(not('the VM was not being received here when the watch began'));
    const guest = task.guest ?? (await findNeighbour(copy));
    const probe = new GuestReachabilityProbe(deps, guest);
    try {
      // Without an address there is no reason to stay.
      if (guest === undefined) return told(await probe.result({ from: 0, to: 0 }));
      probe.start();
      const switched = await seeSwitch(deps, copy);
      if ('why' in switched) return told(not(switched.why));
      // It may answer to nobody. Where none of the hosts had the time to tell, a few packets too many do no harm.
      const missed = probe.answeredBefore(switched.from) ?? task.guest?.answers ?? true;
      const again = missed ? await bringBack(probe, copy, switched.to) : 'not needed';
      const seen = switched.late ? not('the VM ran here already when the watch began') : await probe.result(switched);
      if (again === 'not needed') return told(seen);
      if (again === 'announced') return told({ ...seen, announcedAgain: true });
      return told(seen.observed ? seen : not(`${seen.why}; it could not be announced again: ${again.failed}`));
    } finally {
      probe.end();
    }
  });
}

const told = (blackout: Observation): ResultOf<'observe-guest'> => ({ stage: 'observe-guest', blackout });

/** Waits until the VM runs here; `late` when it did at the first look. */
async function seeSwitch({ clock }: AgentDeps, copy: Domain): Promise<(Switch & { late: boolean }) | { why: string }> {
  const deadline = clock.now() + SWITCH.limitMs;
  let notYet: number | undefined;
  for (;;) {
    const before = clock.now();
    const { state } = await copy.state();
    if (state === 'running' || state === 'postcopy-running') {
      return { from: notYet ?? before, to: clock.now(), late: notYet === undefined };
    }
    if (state === 'absent' || state === 'shutoff') return { why: 'the VM was not switched to this host' };
    if (before >= deadline) return { why: `the VM was not switched within ${SWITCH.limitMs / 1_000} s` };
    notYet = before;
    await clock.sleep(SWITCH.everyMs);
  }
}

/** Announces the guest again where it does not come back. */
async function bringBack(probe: GuestReachabilityProbe, copy: Domain, ranAt: number) {
  if (await probe.seesAfter(ranAt, RETURN_MS)) return 'not needed';
  try {
    await copy.announce();
  } catch (error) {
    return { failed: messageOf(error) };
  }
  await probe.seesAfter(ranAt, SECOND_RETURN_MS);
  return 'announced';
}
