import type { Clock } from '../../contract/clock.ts';
import { type Domain, HypervisorError, type MigrationOptions, type MigrationTarget } from '../hypervisor.ts';
import type { CommitOutcome } from '../mailbox.ts';

/**
 * The handover: libvirt's migration protocol, version 3, driven by us as the client of both daemons, with the ownership commit
 * in the one place where the VM runs nowhere and either host could still have it.
 *
 *     Begin(source) -> Prepare(destination) -> Perform(source): the source is paused, the destination has everything
 *         COMMIT
 *     -> Finish(destination): it runs -> Confirm(source): its copy is removed
 *
 * Three rules keep the VM from ever running twice:
 * - the destination is started (Finish) only after a commit that is known to have been made;
 * - the source is resumed (Confirm, cancelled) only when the destination is known not to run: Finish was never sent, or
 *   libvirt itself says that it has no such domain;
 * - when neither is known, nothing is done: the source stays paused, and recovery decides on evidence.
 */
export type HandoverEnd =
  /** The VM runs on the destination. The source's paused copy is still to be confirmed away. */
  | { kind: 'switched' }
  /** The VM runs on at the source. */
  | { kind: 'cancelled'; because: 'asked' | 'revoked' | 'commit-unknown' }
  | { kind: 'refused'; error: unknown }
  /** Nobody knows; the source is paused. */
  | { kind: 'finish-unknown'; error: unknown };

/**
 * How long to look for the destination after its answer was lost: enough for a libvirtd that starts again. The source is
 * paused meanwhile. A link that is down has cost 30 s already by the time keepalive tells; whether it comes back need not be
 * waited for here, since recovery asks the destination itself, by way of AWS.
 */
const SEARCH_MS = 15_000;
const SEARCH_EVERY_MS = 250;
/**
 * A cancelled Finish can't start anything, so its answer is waited for only to keep things tidy: the guest stands still
 * meanwhile.
 */
const CANCEL_PATIENCE_MS = 2_000;
const NO_COOKIE = Buffer.alloc(0);

export interface HandoverParties {
  source: Domain;
  target: MigrationTarget;
  /** The destination's on the migration network. */
  address: string;
  /** A new connection to the destination, for when the first one is lost. */
  reconnect(): Promise<MigrationTarget>;
  clock: Clock;
}

export class Handover {
  readonly #parties: HandoverParties;
  readonly #options: MigrationOptions;
  readonly #xml: string;
  readonly #uri: string;
  #cookie: Buffer;

  private constructor(
    parties: HandoverParties,
    options: MigrationOptions,
    prepared: { xml: string; uri: string; cookie: Buffer },
  ) {
    this.#parties = parties;
    this.#options = options;
    this.#xml = prepared.xml;
    this.#uri = prepared.uri;
    this.#cookie = prepared.cookie;
  }

  /** Begin and Prepare: the destination is ready to receive. Closing its connection undoes it. */
  static async prepare(parties: HandoverParties): Promise<Handover> {
    const { source, target, address } = parties;
    const options: MigrationOptions = { name: source.name, persistent: await source.persistent() };
    const begun = await source.begin(options);
    const prepared = await target.prepare({ ...options, xml: begun.xml, cookie: begun.cookie, address });
    return new Handover(parties, options, { xml: begun.xml, uri: prepared.uri, cookie: prepared.cookie });
  }

  /** Perform: copies until the source is paused with everything sent. Rejects when the copy ends otherwise. */
  async perform(): Promise<void> {
    const { cookie } = await this.#parties.source.perform({ ...this.#options, ...this.#handshake() });
    this.#cookie = cookie;
  }

  /** After Perform: commits, and goes through with it or takes it all back. Never rejects. */
  async decide(commit: () => Promise<CommitOutcome>): Promise<HandoverEnd> {
    const outcome = await commit();
    if (outcome !== 'committed') return this.cancel(outcome === 'revoked' ? 'revoked' : 'commit-unknown');
    try {
      const { cookie } = await this.#parties.target.finish({
        ...this.#options,
        ...this.#handshake(),
        cancelled: false,
      });
      this.#cookie = cookie;
      return { kind: 'switched' };
    } catch (error) {
      return this.#afterFailedFinish(error);
    }
  }

  /** After Perform, before any commit is acted upon: the destination's copy goes, the source resumes. Never rejects. */
  async cancel(because: 'asked' | 'revoked' | 'commit-unknown'): Promise<HandoverEnd> {
    await this.discardTarget();
    return (await this.#resumeSource()) ?? { kind: 'cancelled', because };
  }

  /** Throws the destination's copy away. Never rejects. */
  async discardTarget(): Promise<void> {
    const discarded = this.#parties.target.finish({ ...this.#options, ...this.#handshake(), cancelled: true });
    await Promise.race([discarded.catch(() => {}), this.#parties.clock.sleep(CANCEL_PATIENCE_MS)]);
  }

  /** Confirm: takes the source's copy away. Only after `switched`. */
  confirm(): Promise<void> {
    return this.#parties.source.confirm({ ...this.#options, cookie: this.#cookie, cancelled: false });
  }

  async #afterFailedFinish(error: unknown): Promise<HandoverEnd> {
    const answered = error instanceof HypervisorError && error.answered;
    const seen = await this.#lookAtTarget(answered);
    if (seen === 'unknown') return { kind: 'finish-unknown', error };
    this.#cookie = NO_COOKIE;
    if (seen === 'running') return { kind: 'switched' };
    return (await this.#resumeSource()) ?? { kind: 'refused', error };
  }

  /**
   * Whether the copy on the destination runs. While libvirt still shows it as something in between, Finish may be under way or
   * the loss of our connection unnoticed there, so it is looked at again.
   */
  async #lookAtTarget(connectionIsGood: boolean): Promise<'running' | 'gone' | 'unknown'> {
    const { clock, reconnect } = this.#parties;
    let target = connectionIsGood ? this.#parties.target : undefined;
    const deadline = clock.now() + SEARCH_MS;
    try {
      while (clock.now() < deadline) {
        try {
          target ??= await reconnect();
          const copy = await target.find(this.#options.name);
          if (copy === undefined) return 'gone';
          const { state } = await copy.state();
          if (state === 'running') return 'running';
          if (state === 'absent' || state === 'shutoff') return 'gone';
        } catch {
          if (target !== this.#parties.target) await target?.close().catch(() => {});
          target = undefined;
        }
        await clock.sleep(SEARCH_EVERY_MS);
      }
      return 'unknown';
    } finally {
      if (target !== this.#parties.target) await target?.close().catch(() => {});
    }
  }

  /** Confirm, cancelled. When its outcome is not known, neither is the source's state, and the handover's end is not either. */
  async #resumeSource(): Promise<HandoverEnd | undefined> {
    try {
      await this.#parties.source.confirm({ ...this.#options, cookie: NO_COOKIE, cancelled: true });
      return undefined;
    } catch (error) {
      return { kind: 'finish-unknown', error };
    }
  }

  #handshake() {
    return { xml: this.#xml, cookie: this.#cookie, uri: this.#uri };
  }
}
