import { type Clock, within } from '../../common/clock.ts';
import { decideAfterFailedFinish } from '../../common/ownership/after-finish.ts';
import { HandoffError } from '../../contract/errors.ts';
import type { Plan } from '../../contract/forecast.ts';
import { type Domain, type HypervisorConnection, HypervisorError, type MigrationOptions } from '../hypervisor.ts';
import type { CommitOutcome } from '../mailbox.ts';
import { followPostCopy, hasBegun, inspectState, type PostCopyParties } from './post-copy.ts';

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
 *
 * Post-copy begins during Perform, after COMMIT, since from then on the source can't go on alone. Perform returns when the
 * destination has all but the rest of the memory, and Finish follows at once. From the moment post-copy has begun neither half is
 * ever thrown away, by us or by leaving its Finish unsent: libvirt destroys a half that it has only prepared for a client that goes.
 */
export type HandoverEnd =
  /** The VM runs on the destination. The source's paused copy is still to be confirmed away. */
  | { kind: 'switched' }
  /** The VM runs on at the source. */
  | { kind: 'cancelled'; because: 'asked' | 'revoked' | 'commit-unknown' }
  | { kind: 'refused'; error: unknown }
  /** Nobody knows; the source is paused. */
  | { kind: 'finish-unknown'; error: unknown }
  /** Each host has a half of the VM, and they could not be brought together within the time given. */
  | { kind: 'postcopy-broken'; error: unknown };

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

export interface HandoverContext {
  source: Domain;
  destination: HypervisorConnection;
  /** The destination's on the migration network. */
  address: string;
  /** New connections, for when the first ones are lost. */
  reconnect(): Promise<HypervisorConnection>;
  reconnectSource(): Promise<HypervisorConnection>;
  clock: Clock;
  /** QEMU's capabilities are fixed once it has begun. */
  plan: Plan;
  /** The copy's upper limit, in MiB/s; 0: none. */
  bandwidthMiBps: number;
  /** As in ResumeOptions. */
  resumeAlways: boolean;
  /** The one write that hands the VM over. */
  commit(): Promise<CommitOutcome>;
  /** What happened to a post-copy on its way, with the numbers. */
  onDecision(event: string, detail: Record<string, unknown>): void;
}

export class Handover {
  readonly #context: HandoverContext;
  readonly #options: MigrationOptions;
  readonly #xml: string;
  readonly #uri: string;
  #cookie: Buffer;
  #commit: Promise<CommitOutcome> | undefined;
  #postCopySince: number | undefined;

  private constructor(
    context: HandoverContext,
    options: MigrationOptions,
    prepared: { xml: string; uri: string; cookie: Buffer },
  ) {
    this.#context = context;
    this.#options = options;
    this.#xml = prepared.xml;
    this.#uri = prepared.uri;
    this.#cookie = prepared.cookie;
  }

  /** Begin and Prepare: the destination is ready to receive. Closing its connection undoes it. */
  static async prepare(context: HandoverContext): Promise<Handover> {
    const { source, destination, address, plan, bandwidthMiBps } = context;
    const options: MigrationOptions = {
      name: source.name,
      persistent: await source.persistent(),
      ...(plan.throttle !== undefined && { throttle: plan.throttle }),
      ...(plan.availSwitchoverBandwidthMiBps !== undefined && {
        availSwitchoverBandwidthMiBps: plan.availSwitchoverBandwidthMiBps,
      }),
      postCopy: plan.postCopyAllowed,
      postCopyMiBps: bandwidthMiBps,
      connections: plan.connections,
      ...(plan.disks !== undefined && {
        migratedDisks: plan.disks.map(({ target }) => target),
        // libvirt holds each disk to it, and they are copied side by side.
        diskMiBps: bandwidthMiBps > 0 ? Math.max(1, Math.floor(bandwidthMiBps / plan.disks.length)) : 0,
      }),
    };
    const begun = await source.begin(options);
    const prepared = await destination.prepare({ ...options, xml: begun.xml, cookie: begun.cookie, address });
    return new Handover(context, options, { xml: begun.xml, uri: prepared.uri, cookie: prepared.cookie });
  }

  /** When post-copy was asked for, and the guest so told to stop (ms of the clock); undefined when it has not begun. */
  get postCopySince(): number | undefined {
    return this.#postCopySince;
  }

  /**
   * Perform: copies until the source is paused with everything sent, or, in a post-copy, everything but the rest of the memory.
   * Rejects when the copy ends otherwise.
   */
  async perform(): Promise<void> {
    const { cookie } = await this.#context.source.perform({ ...this.#options, ...this.#handshake() });
    this.#cookie = cookie;
  }

  /**
   * During Perform: commits, and has the guest switch before all of its memory is there. A rejection means that post-copy has not
   * begun and will not. Before and after the commit the destination is asked whether it is there, since libvirt would destroy
   * its half if the Finish that must follow did not reach it: the guest runs on meanwhile, so that costs it nothing.
   */
  async startPostCopy(): Promise<void> {
    const { source, destination, clock } = this.#context;
    await destination.find(this.#options.name);
    const outcome = await this.#committed();
    if (outcome === 'revoked') throw new HandoffError('CommitRevoked', 'the control plane took the commit record back');
    if (outcome !== 'committed') throw new HandoffError('CommitUnknown', 'AWS did not answer the commit');
    await destination.find(this.#options.name);
    this.#postCopySince = clock.now();
    try {
      await source.startPostCopy();
    } catch (error) {
      // Without an answer it may have begun; Perform will tell.
      if (error instanceof HypervisorError && error.answered) {
        this.#postCopySince = undefined;
        throw error;
      }
    }
  }

  /**
   * After Perform has failed: whether post-copy has begun all the same, so that the destination's half has to be finished. In
   * doubt it is: the commit was made, and the destination starts nothing but what QEMU has switched.
   */
  async inPostCopy(): Promise<boolean> {
    if (this.#postCopySince === undefined) return false;
    const { clock } = this.#context;
    const deadline = clock.now() + SEARCH_MS;
    while (clock.now() < deadline) {
      const begun = await hasBegun(this.#halves());
      if (begun !== 'unknown') return begun;
      await clock.sleep(SEARCH_EVERY_MS);
    }
    return true;
  }

  /** After Perform: commits, and goes through with it or takes it all back. Never rejects. */
  async decide(): Promise<HandoverEnd> {
    const outcome = await this.#committed();
    if (outcome !== 'committed') return this.cancel(outcome === 'revoked' ? 'revoked' : 'commit-unknown');
    try {
      const { cookie } = await this.#context.destination.finish({
        ...this.#options,
        ...this.#handshake(),
        cancelled: false,
        inPostCopy: this.#postCopySince !== undefined,
      });
      this.#cookie = cookie;
      return { kind: 'switched' };
    } catch (error) {
      return this.#afterFailedFinish(error);
    }
  }

  /** After Perform, before any commit is acted upon: the destination's copy goes, the source resumes. Never rejects. */
  async cancel(because: 'asked' | 'revoked' | 'commit-unknown'): Promise<HandoverEnd> {
    await this.discardDestinationCopy();
    return (await this.#resumeSource()) ?? { kind: 'cancelled', because };
  }

  /** Throws the destination's copy away. Never rejects. */
  async discardDestinationCopy(): Promise<void> {
    const discarded = this.#context.destination.finish({ ...this.#options, ...this.#handshake(), cancelled: true });
    await within(
      this.#context.clock,
      CANCEL_PATIENCE_MS,
      discarded.catch(() => {}),
      () => {},
    );
  }

  /** Confirm: takes the source's copy away. Only after `switched`. */
  confirm(): Promise<void> {
    const { source } = this.#context;
    return source.confirm({
      ...this.#options,
      cookie: this.#cookie,
      cancelled: false,
      inPostCopy: this.#postCopySince !== undefined,
    });
  }

  /** Once only: after it nobody may cancel any more, and a second try could not tell more than the first. */
  #committed(): Promise<CommitOutcome> {
    this.#commit ??= this.#context.commit();
    return this.#commit;
  }

  async #afterFailedFinish(error: unknown): Promise<HandoverEnd> {
    if (this.#postCopySince !== undefined) {
      const followed = await followPostCopy(this.#halves(), error);
      if (followed.kind === 'broken') return { kind: 'postcopy-broken', error: followed.error };
      this.#cookie = NO_COOKIE;
      if (followed.kind === 'complete') return { kind: 'switched' };
    }
    const decision = await this.#decideByDestination({ refused: error instanceof HypervisorError && error.answered });
    if (decision === 'unknown') return { kind: 'finish-unknown', error };
    this.#cookie = NO_COOKIE;
    if (decision === 'confirm') return { kind: 'switched' };
    return (await this.#resumeSource()) ?? { kind: 'refused', error };
  }

  /**
   * Inspects the destination until what it shows decides. While libvirt still shows the copy as something in between, Finish may be
   * under way, or the loss of our connection unnoticed there. After a refusal the connection is known to be good.
   */
  async #decideByDestination({ refused }: { refused: boolean }): Promise<'confirm' | 'resume-source' | 'unknown'> {
    const { clock, reconnect } = this.#context;
    let destination = refused ? this.#context.destination : undefined;
    const deadline = clock.now() + SEARCH_MS;
    const letGo = async () => {
      if (destination !== this.#context.destination) await destination?.close().catch(() => {});
      destination = undefined;
    };
    try {
      while (clock.now() < deadline) {
        destination ??= await reconnect().catch(() => undefined);
        const state = await inspectState(destination, this.#options.name);
        const decision = decideAfterFailedFinish(state, { refused });
        if (decision !== 'inspect-again') return decision;
        if (state === 'unreachable') await letGo();
        await clock.sleep(SEARCH_EVERY_MS);
      }
      return 'unknown';
    } finally {
      await letGo();
    }
  }

  /** Confirm, cancelled. When its outcome is not known, neither is the source's state, and the handover's end is not either. */
  async #resumeSource(): Promise<HandoverEnd | undefined> {
    try {
      await this.#context.source.confirm({ ...this.#options, cookie: NO_COOKIE, cancelled: true });
      return undefined;
    } catch (error) {
      return { kind: 'finish-unknown', error };
    }
  }

  #halves(): PostCopyParties {
    const { address, reconnect, reconnectSource, clock, onDecision, bandwidthMiBps, resumeAlways } = this.#context;
    const resume = {
      name: this.#options.name,
      address,
      postCopyMiBps: bandwidthMiBps,
      clock,
      always: resumeAlways,
    };
    const finish = (destination: HypervisorConnection) =>
      destination.finish({ ...this.#options, ...this.#handshake(), cancelled: false, inPostCopy: true });
    return { resume, connectDestination: reconnect, connectSource: reconnectSource, onDecision, finish };
  }

  #handshake() {
    return { xml: this.#xml, cookie: this.#cookie, uri: this.#uri };
  }
}
