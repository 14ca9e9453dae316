import { type Clock, within } from '../../common/clock.ts';
import type { GuestAddress, Observation } from '../../contract/forecast.ts';
import type { HostFacts } from '../host/facts.ts';
import { PROBE_LIMIT_MS, type Probe } from '../host/probe.ts';
import { measureBlackout, type Switch } from './blackout.ts';

/** Once the network has learnt the guest's new port, it answers within a few ms; QEMU's own announcements take 1.5 s. */
export const RETURN_MS = 2_000;
/** After another announcement. */
export const SECOND_RETURN_MS = 2_000;
/** A guest that answers at all answers the first request within this time: ARP retries once a second. */
const FIRST_ANSWER_MS = 1_000;
/** A probe of this age is replaced at the next `start`, so that it does not end during a switch. */
const FRESH_MS = PROBE_LIMIT_MS / 2;

/**
 * Measures from one host whether a guest can be reached. Probes from `start` to `stopAfter` or `end`; `result` is the measurement of the
 * switch. Nothing here rejects, and only `result` and `seesAfter` take time: the observation is for the record, and the migration
 * does not depend on it.
 */
export class GuestReachabilityProbe {
  readonly #facts: Pick<HostFacts, 'probe'>;
  readonly #clock: Clock;
  #guest: GuestAddress | undefined;
  #probe: { probe: Probe; since: number } | undefined;
  #started = false;
  #ended = false;
  /** Cancels a stop that was scheduled by `stopAfter`. */
  #cancelStop = () => {};

  constructor({ facts, clock }: { facts: Pick<HostFacts, 'probe'>; clock: Clock }, guest: GuestAddress | undefined) {
    this.#facts = facts;
    this.#clock = clock;
    this.#guest = guest;
  }

  get guest(): GuestAddress | undefined {
    return this.#guest;
  }

  /** Sets the guest's address, unless it is known already. */
  setTarget(guest: GuestAddress | undefined): void {
    this.#guest ??= guest;
    if (this.#started) this.start();
  }

  /** Probes from now on, or as soon as the address is known. */
  start(): void {
    if (this.#ended) return;
    this.#started = true;
    this.#cancelStop();
    if (this.#guest === undefined) return;
    const now = this.#clock.now();
    if (this.#probe !== undefined) {
      if (now - this.#probe.since < FRESH_MS) return;
      void this.#probe.probe.stop();
    }
    try {
      this.#probe = { probe: this.#facts.probe(this.#guest.address), since: now };
    } catch {
      // The host is out of processes or file descriptors; then there is no probe.
      this.#probe = undefined;
    }
  }

  /** Stops probing after this time, unless `start` is called before. */
  stopAfter(ms: number): void {
    this.#cancelStop();
    this.#cancelStop = this.#clock.timer(ms, () => this.#stopProbe());
  }

  /** Stops probing permanently. */
  end(): void {
    this.#ended = true;
    this.#cancelStop();
    this.#stopProbe();
  }

  /** Whether the guest answered before `at` (ms since the epoch); undefined when it was probed for too short a time to know. */
  answeredBefore(at: number): boolean | undefined {
    if (this.#probe === undefined) return undefined;
    const { probe, since } = this.#probe;
    if (probe.firstAnswerAt !== undefined && probe.firstAnswerAt < at) return true;
    return at - since < FIRST_ANSWER_MS ? undefined : false;
  }

  /** Whether the guest answers after `at` (ms since the epoch); waits at most `patienceMs` for the answer. */
  async seesAfter(at: number, patienceMs: number): Promise<boolean> {
    if (this.#probe === undefined) return false;
    const { probe } = this.#probe;
    const { promise: seen, resolve } = Promise.withResolvers<boolean>();
    const check = () => {
      if ((probe.lastAnswerAt ?? 0) >= at) resolve(true);
    };
    const unsubscribe = probe.onAnswer(check);
    check();
    const answers = await within(this.#clock, patienceMs, seen, () => false);
    unsubscribe();
    return answers;
  }

  /** The measurement. Ends the probe. */
  async result(around: Switch): Promise<Observation> {
    const probe = this.#probe?.probe;
    this.#probe = undefined;
    const guest = this.#guest;
    if (guest === undefined) {
      return { observed: false, why: 'no address of the guest is known, by the request, its agent or ARP' };
    }
    if (probe === undefined) return { observed: false, why: 'nobody was looking when the guest switched' };
    const seen = measureBlackout(await probe.stop(), around);
    if (!seen.observed) return { observed: false, why: `${guest.address}: ${seen.why}` };
    const { address, addressFrom } = guest;
    return { ...seen, address, addressFrom, announcedAgain: false };
  }

  #stopProbe(): void {
    this.#started = false;
    void this.#probe?.probe.stop();
    this.#probe = undefined;
  }
}
