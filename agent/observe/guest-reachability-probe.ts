import { type Clock, within } from '../../common/clock.ts';
import type { GuestAddress, Observation } from '../../contract/forecast.ts';
import type { HostFacts } from '../host/facts.ts';
import { PROBE_LIMIT_MS, type Probe } from '../host/probe.ts';
import { evaluate, type Switch } from './blackout.ts';

/** A guest on a network that has learnt where it is answers in a few ms; QEMU's own announcements are over after 1.5 s. */
export const RETURN_MS = 2_000;
/** After another announcement. */
export const SECOND_RETURN_MS = 2_000;
/** An answer to the first question comes within this time where any comes: ARP asks for a guest it does not know once a second. */
const FIRST_ANSWER_MS = 1_000;
/** A probe of this age is exchanged at the next wish to look, so that it does not end in the middle of a switch. */
const FRESH_MS = PROBE_LIMIT_MS / 2;

/**
 * Asks one guest, from one host, whether it answers. It probes from `start` to `stopAfter` or `end`; `result` says what it saw of the switch. Nothing here
 * rejects, and only `result` takes time: the observation is for the record, and moving the guest never waits for it.
 */
export class GuestReachabilityProbe {
  readonly #facts: Pick<HostFacts, 'probe'>;
  readonly #clock: Clock;
  #guest: GuestAddress | undefined;
  #probe: { probe: Probe; since: number } | undefined;
  #wanted = false;
  #ended = false;
  /** Calls off the rest that was to begin after a while. */
  #keepLooking = () => {};

  constructor({ facts, clock }: { facts: Pick<HostFacts, 'probe'>; clock: Clock }, guest: GuestAddress | undefined) {
    this.#facts = facts;
    this.#clock = clock;
    this.#guest = guest;
  }

  get guest(): GuestAddress | undefined {
    return this.#guest;
  }

  /** The guest's address has become known, or has not. */
  setTarget(guest: GuestAddress | undefined): void {
    this.#guest ??= guest;
    if (this.#wanted) this.start();
  }

  /** Looks from now on, or as soon as the address is known. */
  start(): void {
    if (this.#ended) return;
    this.#wanted = true;
    this.#keepLooking();
    if (this.#guest === undefined) return;
    const now = this.#clock.now();
    if (this.#probe !== undefined) {
      if (now - this.#probe.since < FRESH_MS) return;
      void this.#probe.probe.stop();
    }
    try {
      this.#probe = { probe: this.#facts.probe(this.#guest.address), since: now };
    } catch {
      // The host is out of processes or file descriptors; then nobody looks.
      this.#probe = undefined;
    }
  }

  /** Stops looking after a while, unless there is a new wish to look by then. */
  stopAfter(ms: number): void {
    this.#keepLooking();
    this.#keepLooking = this.#clock.timer(ms, () => this.#rest());
  }

  /** For good. */
  end(): void {
    this.#ended = true;
    this.#keepLooking();
    this.#rest();
  }

  /** Whether the guest answered before `at` (ms since the epoch); undefined where it was looked at for too short a time to tell. */
  answeredBefore(at: number): boolean | undefined {
    if (this.#probe === undefined) return undefined;
    const { probe, since } = this.#probe;
    if (probe.firstAnswerAt !== undefined && probe.firstAnswerAt < at) return true;
    return at - since < FIRST_ANSWER_MS ? undefined : false;
  }

  /** Whether the guest answers after `at` (ms since the epoch), waiting for it at most `patienceMs`. */
  async seesAfter(at: number, patienceMs: number): Promise<boolean> {
    if (this.#probe === undefined) return false;
    const { probe } = this.#probe;
    const { promise: seen, resolve } = Promise.withResolvers<boolean>();
    const look = () => {
      if ((probe.lastAnswerAt ?? 0) >= at) resolve(true);
    };
    const forget = probe.onAnswer(look);
    look();
    const answers = await within(this.#clock, patienceMs, seen, () => false);
    forget();
    return answers;
  }

  /** What was seen; looking is over then. */
  async result(around: Switch): Promise<Observation> {
    const probe = this.#probe?.probe;
    this.#probe = undefined;
    const guest = this.#guest;
    if (guest === undefined) {
      return { observed: false, why: 'no address of the guest is known, by the request, its agent or ARP' };
    }
    if (probe === undefined) return { observed: false, why: 'nobody was looking when the guest switched' };
    const seen = evaluate(await probe.stop(), around);
    if (!seen.observed) return { observed: false, why: `${guest.address}: ${seen.why}` };
    const { address, addressFrom } = guest;
    return { ...seen, address, addressFrom, announcedAgain: false };
  }

  #rest(): void {
    this.#wanted = false;
    void this.#probe?.probe.stop();
    this.#probe = undefined;
  }
}
