import { within } from '../../common/clock.ts';
import type { GuestReachability, Observation } from '../../contract/forecast.ts';
import type { ResultOf } from '../../contract/reports.ts';
import { ObserveGuestTask, type TaskOf } from '../../contract/tasks.ts';
import type { AgentDeps } from '../deps.ts';
import { messageOf } from '../error-message.ts';
import { failureOf } from '../failure.ts';
import type { Domain, HypervisorConnection } from '../hypervisor.ts';
import { withHypervisor } from '../hypervisor-session.ts';
import { type Outcome, Reporter } from '../reporter.ts';
import { findNeighbour } from './addresses.ts';
import type { Switch } from './blackout.ts';
import { GuestReachabilityProbe, RETURN_MS, SECOND_RETURN_MS } from './guest-reachability-probe.ts';

export type ObserverDeps = Pick<AgentDeps, 'mailbox' | 'clock' | 'connect' | 'localUri' | 'facts'>;
type ObserveGuest = TaskOf<'observe-guest'>;

/** How exactly the switch is known. */
const STATE_EVERY_MS = 100;
/**
 * The source's half of pre-copy begins within 60 s of its task, or never; libvirt's Prepare, which makes the VM known here, is
 * called a few seconds later.
 */
const ARRIVAL_LIMIT_MS = 120_000;
/** While no address of the guest is known. Each search reads this host's mailbox once. */
const ADDRESS_EVERY_MS = 5_000;
/** The guest may be out of reach meanwhile, so AWS gets this long to say whether it answered the source. */
const MAILBOX_PATIENCE_MS = 1_000;
/** Nobody waits for the report. */
const REPORT_PATIENCE_MS = 30 * 60_000;

/** Observes the guest from the destination, and reports what was seen. */
export async function runObserver(deps: ObserverDeps, task: ObserveGuest): Promise<void> {
  const { requestId, migrationId, stage, role } = task;
  const outcome: Outcome = await observe(deps, task).then(
    (blackout) => ({ result: { stage: 'observe-guest', blackout } satisfies ResultOf<'observe-guest'> }),
    (error: unknown) => ({ failure: failureOf(error) }),
  );
  const reporter = new Reporter(deps.mailbox, deps.clock, { requestId, migrationId, stage, role });
  await reporter.end(outcome, REPORT_PATIENCE_MS);
}

const not = (why: string): Observation => ({ observed: false, why });

/**
 * Sees from the destination when the guest is out of reach and when it answers again. If it does not within 2 s of running here,
 * although it did before, the network still sends its traffic elsewhere: it is announced again. An observer that begins after the
 * switch cannot measure the blackout; it announces the guest all the same, by what the source saw before.
 *
 * Disturbs nothing: whatever goes wrong here is a reason why nothing was observed.
 */
function observe(deps: ObserverDeps, task: ObserveGuest): Promise<Observation> {
  return withHypervisor(deps, deps.localUri, async (here) => {
    const probe = new GuestReachabilityProbe(deps, task.guest);
    try {
      const switched = await awaitSwitch(deps, task, here, probe);
      if ('why' in switched) return not(switched.why);
      if (probe.guest === undefined) return await probe.result(switched);
      // It may answer nobody. Where neither host had the time to find out, a few packets too many do no harm.
      const answered =
        probe.answeredBefore(switched.from) ?? (await guestInMailbox(deps, task.requestId))?.answers ?? true;
      const again = answered ? await bringBack(probe, switched.copy, switched.to) : 'not needed';
      const seen = switched.late
        ? not('the VM ran here already when the observation began')
        : await probe.result(switched);
      if (again === 'not needed') return seen;
      if (again === 'announced') return { ...seen, announcedAgain: true };
      return seen.observed ? seen : not(`${seen.why}; it could not be announced again: ${again.failed}`);
    } finally {
      probe.end();
    }
  });
}

/** `late`: it ran here already at the first look. */
type Switched = Switch & { late: boolean; copy: Domain };

/**
 * Waits until the VM is received here and then runs here. The wait ends with the copy: libvirt removes it when the migration is
 * called off, and recovery does where libvirt has not.
 */
async function awaitSwitch(
  deps: ObserverDeps,
  task: ObserveGuest,
  here: HypervisorConnection,
  probe: GuestReachabilityProbe,
): Promise<Switched | { why: string }> {
  const { clock } = deps;
  const begunAt = clock.now();
  let copy: Domain | undefined;
  let notYet: number | undefined;
  let addressSoughtAt = Number.NEGATIVE_INFINITY;
  for (;;) {
    // Exchanges a probe that grows old.
    probe.start();
    const lookedAt = clock.now();
    const found = copy ?? (await here.find(task.vm));
    const state = found === undefined ? 'absent' : (await found.state()).state;
    if (found !== undefined && (state === 'running' || state === 'postcopy-running')) {
      return { from: notYet ?? lookedAt, to: clock.now(), late: notYet === undefined, copy: found };
    }
    notYet = lookedAt;
    if (state === 'absent' || state === 'shutoff') {
      if (copy !== undefined) return { why: 'the VM was not switched to this host' };
      if (lookedAt - begunAt >= ARRIVAL_LIMIT_MS)
        return { why: `the VM was not being received here within ${ARRIVAL_LIMIT_MS / 1_000} s` };
    } else {
      copy = found;
      if (probe.guest === undefined && lookedAt - addressSoughtAt >= ADDRESS_EVERY_MS) {
        addressSoughtAt = lookedAt;
        void findGuest(deps, task.requestId, found!).then((guest) => probe.setTarget(guest));
      }
    }
    if (lookedAt - begunAt >= task.limitSeconds * 1_000)
      return { why: `the VM was not switched within ${task.limitSeconds} s` };
    await clock.sleep(STATE_EVERY_MS);
  }
}

/** The source may have found the address only after this task was given; or this host itself has talked to the guest. */
async function findGuest(deps: ObserverDeps, requestId: string, copy: Domain): Promise<GuestReachability | undefined> {
  return (await findNeighbour(copy)) ?? (await guestInMailbox(deps, requestId));
}

/** What the source saw of the guest, as the control plane has written it into this task by now. */
async function guestInMailbox({ mailbox, clock }: ObserverDeps, requestId: string) {
  const read = mailbox.readTask(requestId).catch(() => undefined);
  const task = await within(clock, MAILBOX_PATIENCE_MS, read, () => undefined);
  return ObserveGuestTask.safeParse(task).data?.guest;
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
