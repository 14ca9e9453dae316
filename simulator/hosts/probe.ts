import { PROBE_INTERVAL_MS, type Probe } from '../../agent/host/probe.ts';
import type { SimulatedFleet } from '../hypervisor/fleet.ts';

/**
 * SIMULATED: a probe whose every question a running guest answers at once. It takes no time of its own: it notes when the guest
 * begins and ceases to answer, and says afterwards which of its questions came when it did.
 */
export function simulatedProbe(fleet: SimulatedFleet, address: string): Probe {
  const { clock } = fleet;
  const begin = clock.now();
  /** When the guest began to answer, and when it ceased to. */
  const spans: { from: number; to?: number }[] = [];
  const look = () => {
    const last = spans.at(-1);
    const open = last !== undefined && last.to === undefined;
    const answers = fleet.answersAt(address);
    if (answers && !open) spans.push({ from: clock.now() });
    if (!answers && open) last.to = clock.now();
    arm();
  };
  const listeners = new Set<() => void>();
  let disarm = () => {};
  /** At the next question, if it will be answered and anybody wants to hear of it. */
  const arm = () => {
    disarm();
    if (listeners.size === 0 || spans.at(-1) === undefined || spans.at(-1)?.to !== undefined) return;
    const untilNext = PROBE_INTERVAL_MS - ((clock.now() - begin) % PROBE_INTERVAL_MS);
    disarm = clock.timer(untilNext, () => {
      for (const heard of [...listeners]) heard();
      arm();
    });
  };
  look();
  const forget = fleet.onEachChange(look);
  /** The first and the last question asked in a span. */
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
