import type { Clock } from '../../common/clock.ts';
import type { Measurements } from '../../contract/forecast.ts';
import type { Domain } from '../hypervisor.ts';

/**
 * How a guest writes its memory, as QEMU sees it from outside by comparing samples of its pages (half a page for each MiB). A
 * rate of R MiB/s is so told from about R/2 hits a second: 20 MiB/s to a third, 150 MiB/s to a tenth, whatever the guest's size.
 * On guests that wrote 20, 80 and 150 MiB/s one look of a second said 12-24, 74-94 and 144-178; the guests wrote and ran as fast
 * as before (to a percent), and QEMU used no CPU time that could be told from its usual. It samples no memory block under 128 MiB.
 */
export type DirtyRate = Pick<Measurements, 'dirtyBytesPerSecond' | 'workingSetBytes' | 'cpuUse'>;

/** Seconds of the two looks. One second is what is asked for; in twice that a small working set shows that it is one. */
const FIRST_SECONDS = 1;
const SECOND_SECONDS = 2;
/** Below this part of the link's bandwidth the passes shrink so fast that the working set, which the second look is for, is never met. */
const SECOND_LOOK_ABOVE = 0.1;
/** A look is over this long after its time, or a few polls later. */
const LATE_MS = 15;
const POLL_MS = 25;
/** Another agent's looks may have to end first: those of a migration that was cancelled in its preflight, which measures on. */
const PATIENCE_MS = 10_000;
/** Whoever began a look must have asked for what it found before the next one is begun, which QEMU forgets it for. */
const GRACE_MS = 5 * POLL_MS;
/** Refused so often in a row while no look goes on, QEMU can't look. Once or twice, a look may just have ended, or begun. */
const IDLE_REFUSALS = 3;

/**
 * Takes one second, and two more for a guest that writes fast for its link. `mostBytes`: the memory it has at most.
 *
 * @throws {HypervisorError} as libvirt says it, when QEMU can't look or somebody else has it look all the time.
 */
export async function measureDirtyRate(
  domain: Domain,
  clock: Clock,
  { vcpus, mostBytes, linkBytesPerSecond }: { vcpus: number; mostBytes: number; linkBytesPerSecond: Promise<number> },
): Promise<DirtyRate> {
  const begin = { at: clock.now(), cpuNs: await domain.cpuTimeNs() };
  const first = await look(domain, clock, FIRST_SECONDS);
  const end = { at: clock.now(), cpuNs: await domain.cpuTimeNs() };
  const cpuMs = Number(end.cpuNs - begin.cpuNs) / 1e6;
  const cpuUse = Math.min(1, Math.max(0, cpuMs / ((end.at - begin.at) * vcpus)));
  const second =
    first > SECOND_LOOK_ABOVE * (await linkBytesPerSecond) ? await look(domain, clock, SECOND_SECONDS) : undefined;
  return { ...dirtyRateOf(first, second, mostBytes), cpuUse };
}

/** As long as twice the time shows nearly twice the memory, nothing was written twice, and both looks tell of the rate. */
const NOTHING_TWICE = 1.8;

/**
 * Rate and working set from the distinct bytes changed in one second and in two. How far the working set goes beyond what was
 * seen depends on the task in which the guest writes: one that goes round and round has shown it all as soon as it repeats
 * itself; one that writes anywhere shows ever less that is new (a share `1 - e^-t/T` of it by t). The truth of a guest of unknown
 * kind is put between the two (geometrically), and the guest's whole memory bounds what can't be told.
 */
export function dirtyRateOf(first: number, second: number | undefined, mostBytes: number): Omit<DirtyRate, 'cpuUse'> {
  const seen = Math.min(mostBytes, Math.max(first, second ?? 0));
  const repeated = second === undefined || first === 0 ? 0 : 2 - second / first;
  const anywhere = repeated > 0 ? first / repeated : Number.POSITIVE_INFINITY;
  const most = Math.max(seen, Math.min(mostBytes, anywhere));
  const rate = second !== undefined && second > first * NOTHING_TWICE ? (first + second) / 3 : first;
  return { dirtyBytesPerSecond: Math.round(rate), workingSetBytes: Math.round(Math.sqrt(seen * most)) };
}

/** Distinct bytes changed within so many seconds. */
async function look(domain: Domain, clock: Clock, seconds: number): Promise<number> {
  const deadline = clock.now() + seconds * 1_000 + PATIENCE_MS;
  for (;;) {
    await startLook(domain, clock, seconds, deadline);
    await clock.sleep(seconds * 1_000 + LATE_MS);
    const found = await endOfLook(domain, clock, seconds, deadline);
    // Another's look may have come after this one, before it was asked for. One that took as long says as much.
    if (found.seconds === seconds) return found.bytesPerSecond * seconds;
  }
}

async function endOfLook(domain: Domain, clock: Clock, seconds: number, deadline: number) {
  for (;;) {
    const found = await domain.dirtyRate();
    if (typeof found === 'object') return found;
    if (clock.now() > deadline) throw new Error(`QEMU did not end its look at the guest's memory in ${seconds} s`);
    await clock.sleep(POLL_MS);
  }
}

async function startLook(domain: Domain, clock: Clock, seconds: number, deadline: number): Promise<void> {
  const othersLook = async () => (await domain.dirtyRate()) === 'measuring';
  for (let idle = 0; ; ) {
    try {
      return await domain.startDirtyRateCalc(seconds);
    } catch (error) {
      idle = (await othersLook()) ? 0 : idle + 1;
      if (idle === IDLE_REFUSALS || clock.now() > deadline) throw error;
    }
    while ((await othersLook()) && clock.now() <= deadline) await clock.sleep(POLL_MS);
    await clock.sleep(GRACE_MS);
  }
}
