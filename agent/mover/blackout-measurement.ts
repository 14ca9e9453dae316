import type { Clock } from '../../common/clock.ts';
import { MIB } from '../../common/units.ts';
import type { GuestReachability, Observation } from '../../contract/forecast.ts';
import type { HostFacts } from '../host/facts.ts';
import type { Domain, JobStats } from '../hypervisor.ts';
import { findAddress } from '../observe/addresses.ts';
import type { Switch } from '../observe/blackout.ts';
import { GuestReachabilityProbe, RETURN_MS, SECOND_RETURN_MS } from '../observe/guest-reachability-probe.ts';

/**
 * A copy with no more left than this may be over in a moment, a very idle guest's without a cutover: from here on the guest is
 * probed. Bytes, and seconds at the copy's speed.
 */
const NEAR_END = { bytes: 512 * MIB, seconds: 2 };
/** The cutover usually follows the hold within a second or two; during a longer hold the guest is not probed. */
const PROBE_HOLD_MS = 10_000;

/**
 * The blackout as the source sees it: decides when the guest is probed, since a probe for the whole of a long copy would be traffic
 * for nothing. Nothing here rejects, and only `result` takes time.
 */
export class BlackoutMeasurement {
  readonly #clock: Clock;
  readonly #probe: GuestReachabilityProbe;

  constructor(deps: { facts: Pick<HostFacts, 'probe'>; clock: Clock }, guestAddress: string | undefined) {
    this.#clock = deps.clock;
    this.#probe = new GuestReachabilityProbe(
      deps,
      guestAddress === undefined ? undefined : { address: guestAddress, addressFrom: 'request' },
    );
  }

  /** In the background, where the request named no address. */
  findAddress(source: Domain): void {
    if (this.#probe.guest === undefined) void findAddress(source).then((guest) => this.#probe.setTarget(guest));
  }

  /** While memory is copied at full speed. */
  onCopying({ bytesRemaining, bytesPerSecond }: JobStats): void {
    if (bytesRemaining <= Math.max(NEAR_END.bytes, bytesPerSecond * NEAR_END.seconds)) this.#probe.start();
  }

  /** Held, with no cutover yet. */
  onHeld(): void {
    this.#probe.stopAfter(PROBE_HOLD_MS);
  }

  onCutover(): void {
    this.#probe.start();
  }

  /** The guest's address and whether it answers, as far as known: for the destination, which probes the guest too. */
  guest(): { guest?: GuestReachability } {
    const { guest } = this.#probe;
    if (guest === undefined) return {};
    const answers = this.#probe.answeredBefore(this.#clock.now());
    return { guest: { ...guest, ...(answers !== undefined && { answers }) } };
  }

  /** The blackout around the switch. Waits up to 4 s for the guest to answer again, if it did before. */
  async result(switched: Switch): Promise<Observation> {
    // Usually it answers by now. Where it does not, the destination is about to announce it again.
    if (this.#probe.answeredBefore(switched.from)) {
      await this.#probe.seesAfter(switched.to, RETURN_MS + SECOND_RETURN_MS);
    }
    return this.#probe.result(switched);
  }

  end(): void {
    this.#probe.end();
  }
}
