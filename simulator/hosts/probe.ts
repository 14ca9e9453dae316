import { PROBE_INTERVAL_MS, type Probe } from '../../agent/host/probe.ts';
import type { SimulatedFleet } from '../hypervisor/fleet.ts';

/**
 * SIMULATED: a probe whose every request a running guest answers at once. It sends no requests: it records when the guest starts and
 * stops answering, and computes afterwards which requests fell into these spans.
 */
export function simulatedProbe(fleet: SimulatedFleet, address: string): Probe {
  const { clock } = fleet;
  const begin = clock.now();
  /** When the guest started to answer, and when it stopped. */
  const spans: { from: number; to?: number }[] = [];
  const update = () => {
    const last = spans.at(-1);
    const open = last !== undefined && last.to === undefined;
    const answers = fleet.answersAt(address);
    if (answers && !open) spans.push({ from: clock.now() });
    if (!answers && open) last.to = clock.now();
    arm();
  };
  const listeners = new Set<() => void>();
  let disarm = () => {};
  /** Calls the listeners at the next request that is answered. */
  const arm = () => {
    disarm();
    if (listeners.size === 0 || spans.at(-1) === undefined || spans.at(-1)?.to !== undefined) return;
    const untilNext = PROBE_INTERVAL_MS - ((clock.now() - begin) % PROBE_INTERVAL_MS);
    disarm = clock.timer(untilNext, () => {
      for (const heard of [...listeners]) heard();
      arm();
    });
  };
  update();
  const forget = fleet.onEachChange(update);
  /** The first and the last request in a span. */
  const asked = ({ from, to = clock.now() }: { from: number; to?: number }) => ({
    first: begin + Math.ceil((from - begin) / PROBE_INTERVAL_MS) * PROBE_INTERVAL_MS,
    last: begin + Math.floor((to - begin) / PROBE_INTERVAL_MS) * PROBE_INTERVAL_MS,
  });
  const answered = () => spans.map(asked).filter(({ first, last }) => first <= last);
  return {
    get firstAnswerAt() {
      return answered()[0]?.first;
    },
    get lastAnswerAt() {
      return answered().at(-1)?.last;
    },
    onAnswer(heard) {
      listeners.add(heard);
      arm();
      return () => {
        listeners.delete(heard);
        arm();
      };
    },
    async stop() {
      forget();
      listeners.clear();
      disarm();
      const answers: number[] = [];
      for (const { first, last } of answered()) {
        for (let at = first; at <= last; at += PROBE_INTERVAL_MS) answers.push(at);
      }
      return { answers, sent: Math.floor((clock.now() - begin) / PROBE_INTERVAL_MS) + 1 };
    },
  };
}
