import type { Clock } from '../../common/clock.ts';
import type { Measurements } from '../../contract/forecast.ts';
import type { Domain } from '../hypervisor.ts';

/**
 * How a guest writes its memory. QEMU estimates this from outside, by comparing samples of the guest's pages (half a page for each MiB).
 * A rate of R MiB/s is thus estimated from about R/2 hits a second: 20 MiB/s within a third, 150 MiB/s within a tenth, for a guest of
 * any size. On guests that wrote 20, 80 and 150 MiB/s a measurement of one second gave 12-24, 74-94 and 144-178; the guests were not
 * slowed (within a percent), and QEMU's CPU time did not change measurably. Memory blocks under 128 MiB are not sampled.
 */
export type DirtyRate = Pick<Measurements, 'dirtyBytesPerSecond' | 'workingSetBytes' | 'cpuUse'>;

/** The durations of the two measurements. The first gives the rate; the second, twice as long, shows whether the working set is small. */
const FIRST_SECONDS = 1;
const SECOND_SECONDS = 2;
/** Below this part of the link's bandwidth the passes shrink so fast that the working set, which the second measurement is for, does not matter. */
const SECOND_ABOVE = 0.1;
/** A measurement ends this long after its duration, or a few polls later. */
const LATE_MS = 15;
const POLL_MS = 25;
/** The measurements of another agent may have to end first: those of a cancelled migration, whose preflight still runs. */
const PATIENCE_MS = 10_000;
/** The time for another agent to read its result, which QEMU discards when the next measurement starts. */
const GRACE_MS = 5 * POLL_MS;
/** After so many refusals in a row without a running measurement QEMU cannot measure. After fewer, another one may just have ended or begun. */
const IDLE_REFUSALS = 3;

/**
 * Takes one second, and two more for a guest that writes fast in proportion to its link. `mostBytes`: the guest's memory at most.
 *
 * @throws {HypervisorError} of libvirt, when QEMU cannot measure or is measuring for another client all the time.
 */
export async function measureDirtyRate(
  domain: Domain,
  clock: Clock,
  { vcpus, mostBytes, linkBytesPerSecond }: { vcpus: number; mostBytes: number; linkBytesPerSecond: Promise<number> },
): Promise<DirtyRate> {
  const begin = { at: clock.now(), cpuNs: await domain.cpuTimeNs() };
  const first = await changedBytes(domain, clock, FIRST_SECONDS);
  const end = { at: clock.now(), cpuNs: await domain.cpuTimeNs() };
  const cpuMs = Number(end.cpuNs - begin.cpuNs) / 1e6;
  const cpuUse = Math.min(1, Math.max(0, cpuMs / ((end.at - begin.at) * vcpus)));
  const second =
    first > SECOND_ABOVE * (await linkBytesPerSecond) ? await changedBytes(domain, clock, SECOND_SECONDS) : undefined;
  return { ...dirtyRateOf(first, second, mostBytes), cpuUse };
}

/** When twice the time shows nearly twice the memory, no page was written twice, and both measurements give the rate. */
const NOTHING_TWICE = 1.8;

/**
 * Rate and working set from the distinct bytes that changed within one second and within two. How much larger the working set is than the
 * measured bytes depends on the order of the guest's writes: a guest that writes in rounds has shown all of it once it repeats; a
 * guest that writes at random shows less and less new memory (the share `1 - e^-t/T` of it by the time t). The estimate for a guest of
 * unknown kind is the geometric mean of the two, bounded by the guest's memory.
 */
export function dirtyRateOf(first: number, second: number | undefined, mostBytes: number): Omit<DirtyRate, 'cpuUse'> {
  const seen = Math.min(mostBytes, Math.max(first, second ?? 0));
  const repeated = second === undefined || first === 0 ? 0 : 2 - second / first;
  const anywhere = repeated > 0 ? first / repeated : Number.POSITIVE_INFINITY;
  const most = Math.max(seen, Math.min(mostBytes, anywhere));
  const rate = second !== undefined && second > first * NOTHING_TWICE ? (first + second) / 3 : first;
  return { dirtyBytesPerSecond: Math.round(rate), workingSetBytes: Math.round(Math.sqrt(seen * most)) };
}

/** The distinct bytes of memory that change within so many seconds. */
async function changedBytes(domain: Domain, clock: Clock, seconds: number): Promise<number> {
  const deadline = clock.now() + seconds * 1_000 + PATIENCE_MS;
  for (;;) {
    await startMeasurement(domain, clock, seconds, deadline);
    await clock.sleep(seconds * 1_000 + LATE_MS);
    const found = await readMeasurement(domain, clock, seconds, deadline);
    // This may be the result of another client's later measurement, which is as good when it took as long.
    if (found.seconds === seconds) return found.bytesPerSecond * seconds;
  }
}

async function readMeasurement(domain: Domain, clock: Clock, seconds: number, deadline: number) {
  for (;;) {
    const found = await domain.dirtyRate();
    if (typeof found === 'object') return found;
    if (clock.now() > deadline) throw new Error(`QEMU did not end its measurement of the dirty rate in ${seconds} s`);
    await clock.sleep(POLL_MS);
  }
}

async function startMeasurement(domain: Domain, clock: Clock, seconds: number, deadline: number): Promise<void> {
  const isMeasuring = async () => (await domain.dirtyRate()) === 'measuring';
  for (let idle = 0; ; ) {
    try {
      return await domain.startDirtyRateCalc(seconds);
    } catch (error) {
      idle = (await isMeasuring()) ? 0 : idle + 1;
      if (idle === IDLE_REFUSALS || clock.now() > deadline) throw error;
    }
    while ((await isMeasuring()) && clock.now() <= deadline) await clock.sleep(POLL_MS);
    await clock.sleep(GRACE_MS);
  }
}
