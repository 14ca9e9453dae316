import { randomUUID } from 'node:crypto';
import { within } from '../../common/clock.ts';
import { MIB } from '../../common/units.ts';
import { HandoffError } from '../../contract/errors.ts';
import type { Progress } from '../../contract/facts.ts';
import type { GuestReachability } from '../../contract/forecast.ts';
import type { TaskOf } from '../../contract/tasks.ts';
import type { AgentDeps } from '../deps.ts';
import { messageOf } from '../error-message.ts';
import { eventually } from '../eventually.ts';
import { failureOf } from '../failure.ts';
import { type Domain, type HypervisorConnection, HypervisorError, type JobStats } from '../hypervisor.ts';
import { connectHypervisor, mustFind } from '../hypervisor-session.ts';
import type { CommitOutcome } from '../mailbox.ts';
import { findAddress } from '../observe/addresses.ts';
import { GuestReachabilityProbe, RETURN_MS, SECOND_RETURN_MS } from '../observe/guest-reachability-probe.ts';
import { Copy, commitRevoked } from './copy.ts';
import { Handover, type HandoverEnd } from './handover.ts';
import { MoverReports } from './reports.ts';

export type MoverDeps = Pick<AgentDeps, 'mailbox' | 'clock' | 'connect' | 'localUri' | 'facts' | 'resumeAlways'> & {
  /** For people: what the mover did that no report says. */
  log(message: string): void;
};

export interface MoverStatus {
  migrationId: string;
  moverId: string;
  phase: Progress['phase'];
}

/** A hold that ended by itself is told to the cutover order when that comes, within this time. */
const LINGER_MS = 10 * 60_000;
/** libvirt needs 1-2 s to wind a job up; with a dead network, as long as its keepalive (30 s). */
const WIND_UP = { everyMs: 200, limitMs: 45_000 };
/** The destination's own figures are worth a short wait, not a stuck Confirm. */
const FIGURES_PATIENCE_MS = 1_000;
const HEARTBEAT_MS = 2_000;
/** How exactly a post-copy's blackout is known; and how often its rest is looked at. */
const SEEN_RUNNING_EVERY_MS = 20;
const REST_EVERY_MS = 1_000;
/**
 * A copy with no more left than this may be over in a moment, a very idle guest's without being asked: from here on the guest is
 * looked at. Bytes, and seconds at the copy's speed.
 */
const NEAR_END = { bytes: 512 * MIB, seconds: 2 };
/** The cutover's order usually follows the hold within a second or two; a long hold is not looked at. */
const LOOK_AT_HOLD_MS = 10_000;

/** Carries one migration from Begin to Confirm, and tells how it goes. `run` never rejects: every end is reported. */
export class Mover {
  /** The commit record names it once committed, so that a commit whose answer was lost is known as our own. */
  readonly id: string;
  readonly #deps: MoverDeps;
  readonly #order: TaskOf<'precopy'>;
  readonly #reports: MoverReports;
  readonly #cutoverCame = Promise.withResolvers<void>();
  readonly #reachability: GuestReachabilityProbe;
  #phase: Progress['phase'] = 'preparing';
  #copy: Copy | undefined;
  #handover: Handover | undefined;
  /** When the commit's answer came. */
  #committedAt: number | undefined;
  /** In a post-copy, the numbers of the rest. */
  #rest: JobStats | undefined;
  #cancelled: HandoffError | undefined;

  constructor(deps: MoverDeps, task: TaskOf<'precopy'>) {
    this.id = `${task.requestId}#${randomUUID()}`;
    this.#deps = deps;
    this.#order = task;
    this.#reports = new MoverReports(deps.mailbox, deps.clock, task, deps.log);
    const { guestAddress: address } = task;
    this.#reachability = new GuestReachabilityProbe(
      deps,
      address === undefined ? undefined : { address, addressFrom: 'request' },
    );
  }

  status(): MoverStatus {
    return { migrationId: this.#order.migrationId, moverId: this.id, phase: this.#phase };
  }

  /** Accepts the cutover. It is carried out as soon as the copy is held, or before it comes to that; if all is over by now, it is told how it ended. */
  cutover(requestId: string): void {
    this.#reports.cutover(requestId);
    this.#cutoverCame.resolve();
    if (this.#reports.ended) return;
    this.#reachability.start();
    this.#copy?.release();
  }

  /** On SIGTERM, where a revoked commit record is not waited for. True when the handover can still be called off, and then it is. */
  cancel(): boolean {
    if (this.#reports.ended || this.#handover?.deciding === true) return false;
    this.#cancelled ??= new HandoffError('Cancelled', 'cancelled on request');
    this.#copy?.abort(this.#cancelled);
    return true;
  }

  async run(): Promise<void> {
    const { clock, mailbox, localUri } = this.#deps;
    let source: HypervisorConnection | undefined;
    let target: HypervisorConnection | undefined;
    const stopBeating = this.#beat();
    try {
      this.#enter('preparing');
      const commitRecord = await mailbox.readCommitRecord(this.#order.migrationId);
      if (commitRecord !== 'OPEN') throw commitRevoked(commitRecord);
      source = await connectHypervisor(this.#deps, localUri);
      target = await connectHypervisor(this.#deps, this.#order.destination.libvirtUri);
      await this.#migrate(await mustFind(source, this.#order.vm), target);
    } catch (error) {
      this.#reports.end({ kind: 'failed', failure: failureOf(error) });
    }
    stopBeating();
    this.#reachability.end();
    // Closing them makes libvirt fall back to what is safe, wherever the protocol stood.
    await target?.close().catch(() => {});
    await source?.close().catch(() => {});
    if (this.#reports.waitsForCutover) await within(clock, LINGER_MS, this.#cutoverCame.promise, () => {});
    await this.#reports.allWritten();
  }

  async #migrate(source: Domain, target: HypervisorConnection): Promise<void> {
    if (this.#reachability.guest === undefined)
      void findAddress(source).then((guest) => this.#reachability.setTarget(guest));
    const handover = await this.#prepare(source, target);
    this.#handover = handover;
    if (this.#cancelled !== undefined) throw this.#cancelled;

    this.#enter('copying');
    const performing = handover.perform();
    const copy = this.#startCopy(source, handover);
    // By its keepalive this is known within 30 s; QEMU, whose own connection is as dead, would wait for TCP to give up.
    void target.closed.then(() =>
      copy.abort(new HandoffError('CopyFailed', `the connection to ${target.uri} was lost during the copy`)),
    );
    try {
      await performing;
    } catch (error) {
      copy.stop();
      if (!(await handover.inPostCopy())) throw await this.#afterFailedCopy(source, handover, copy.aborted, error);
    }
    copy.stop();
    await this.#switchOver(source, target, handover, copy);
  }

  async #prepare(source: Domain, target: HypervisorConnection): Promise<Handover> {
    const { clock, connect, localUri, resumeAlways = false } = this.#deps;
    const { destination, plan, policy } = this.#order;
    try {
      return await Handover.prepare({
        source,
        destination: target,
        address: destination.address,
        clock,
        reconnect: () => connect(destination.libvirtUri),
        reconnectSource: () => connect(localUri),
        plan,
        bandwidthMiBps: policy.bandwidthMiBps,
        resumeAlways,
        commit: () => this.#commit(),
        onDecision: (event, detail) => this.#reports.decided(event, detail),
      });
    } catch (cause) {
      throw new HandoffError('CopyFailed', `libvirt could not prepare the copy: ${messageOf(cause)}`, { cause });
    }
  }

  async #commit(): Promise<CommitOutcome> {
    this.#phase = 'committed';
    const outcome = await this.#deps.mailbox.commit(this.#order.migrationId, this.id);
    this.#committedAt = this.#deps.clock.now();
    this.#phase = 'finishing';
    return outcome;
  }

  #startCopy(source: Domain, handover: Handover): Copy {
    const copy = new Copy({
      source,
      clock: this.#deps.clock,
      policy: this.#order.policy,
      plan: this.#order.plan,
      readCommitRecord: () => this.#deps.mailbox.readCommitRecord(this.#order.migrationId),
      onProgress: (phase, job) => {
        if (handover.deciding) return;
        this.#phase = phase;
        this.#reports.progress(phase, job);
        if (phase === 'copying' && job !== undefined && nearsEnd(job)) this.#reachability.start();
      },
      announceMs: this.#order.announceMs,
      onNear: (approach) => this.#reports.near({ ...approach, ...this.#guestSeen() }),
      onHeld: (hold) => {
        this.#reports.hold({ ...hold, ...this.#guestSeen() });
        if (!this.#reports.cutoverAccepted) this.#reachability.stopAfter(LOOK_AT_HOLD_MS);
      },
      onDecision: (event, detail) => this.#reports.decided(event, detail),
      startPostCopy: () => handover.startPostCopy(),
    });
    this.#copy = copy;
    if (this.#reports.cutoverAccepted) copy.release();
    void copy.drive();
    return copy;
  }

  #guestSeen(): { guest?: GuestReachability } {
    const { guest } = this.#reachability;
    if (guest === undefined) return {};
    const answers = this.#reachability.answeredBefore(this.#deps.clock.now());
    return { guest: { ...guest, ...(answers !== undefined && { answers }) } };
  }

  /**
   * The guest stands still from before the first line to Finish's answer, or, in a post-copy, until Finish has come there: nothing
   * may be added in between.
   */
  async #switchOver(source: Domain, target: HypervisorConnection, handover: Handover, copy: Copy): Promise<void> {
    const { clock, log } = this.#deps;
    const pausedAt = handover.postCopySince ?? clock.now();
    const done = new AbortController();
    // Once committed it goes through, whatever else was asked for meanwhile.
    const cancelled = copy.aborted !== undefined && !handover.deciding;
    const ending = cancelled ? handover.cancel('asked') : handover.decide();
    const guest = handover.postCopySince === undefined ? undefined : this.#followGuest(source, target, done.signal);
    const end = await ending;
    const finishedAt = clock.now();
    const activeMs = copy.activeMs;
    done.abort();
    if (end.kind !== 'switched') throw failureOfHandover(end, copy.aborted);

    const { postCopy, ranAt } = (await guest) ?? { postCopy: false, ranAt: finishedAt };
    const figures = await within(clock, FIGURES_PATIENCE_MS, measured(target, this.#order.vm), () => undefined);
    const switched = { from: pausedAt, to: ranAt };
    // Usually it answers by now. Where it does not, the destination is about to announce it again.
    if (this.#reachability.answeredBefore(pausedAt))
      await this.#reachability.seesAfter(ranAt, RETURN_MS + SECOND_RETURN_MS);
    const blackout = await this.#reachability.result(switched);
    this.#reports.end({
      kind: 'switched',
      downtimeMs: figures?.downtimeMs ?? ranAt - pausedAt,
      // A post-copy is committed before the guest stops.
      commitMs: Math.max(0, (this.#committedAt ?? pausedAt) - pausedAt),
      bytesTransferred: figures?.bytesProcessed ?? this.#rest?.bytesProcessed ?? copy.job?.bytesProcessed ?? 0,
      pausedAt,
      finishedAt,
      activeMs,
      postCopy,
      blackout,
    });
    this.#phase = 'confirming';
    try {
      await handover.confirm();
    } catch (error) {
      // The guest runs on the destination all the same; verify sees whether the source's copy went.
      log(`Confirm failed, the source's paused copy of "${this.#order.vm}" may be left: ${messageOf(error)}`);
    }
  }

  /**
   * A post-copy's Finish answers when all memory has come; the guest runs long before. Tells when it was first seen to, and how the
   * rest goes. Nothing here is in the way of the handover: what can't be seen is not told.
   */
  async #followGuest(
    source: Domain,
    target: HypervisorConnection,
    done: AbortSignal,
  ): Promise<{ postCopy: boolean; ranAt: number }> {
    const { clock } = this.#deps;
    const look = async (find: () => Promise<Domain | undefined>) =>
      (
        await find()
          .then((domain) => domain?.state())
          .catch(() => undefined)
      )?.state;
    // A copy that converged in the same moment has nothing left to be fetched.
    const postCopy = (await look(async () => source)) !== 'migrating-paused';
    let ranAt: number | undefined;
    while (!done.aborted) {
      if (ranAt === undefined) {
        const state = await look(() => target.find(this.#order.vm));
        if (state === 'postcopy-running' || state === 'running') {
          ranAt = clock.now();
          this.#phase = 'post-copy';
        }
      } else {
        this.#rest = (await source.job().catch(() => undefined)) ?? this.#rest;
        this.#reports.progress('post-copy', this.#rest);
      }
      await clock.sleep(ranAt === undefined ? SEEN_RUNNING_EVERY_MS : REST_EVERY_MS, done);
    }
    return { postCopy, ranAt: ranAt ?? clock.now() };
  }

  /**
   * The copy is over. Waits until libvirt has wound the job up and the source is seen to run (the error says if it does not), or
   * to have ended.
   */
  async #afterFailedCopy(
    source: Domain,
    handover: Handover,
    aborted: HandoffError | undefined,
    cause: unknown,
  ): Promise<HandoffError> {
    await handover.discardDestinationCopy();
    let seen = 'could not be looked at';
    let runs = false;
    await eventually(this.#deps, WIND_UP, async () => {
      try {
        const [job, { state, detail }] = await Promise.all([source.job(), source.state()]);
        seen = `was ${detail}${job === undefined ? '' : ', with libvirt still at the job'}`;
        runs = job === undefined && state === 'running';
        // A guest that ended will not run any more.
        return runs || state === 'shutoff' || state === 'absent';
      } catch (error) {
        // With its connection lost this mover sees no more; recovery looks through one of its own.
        return error instanceof HypervisorError && !error.answered;
      }
    });
    const why = aborted?.message ?? messageOf(cause);
    const message = runs ? why : `${why}; the VM ${seen} on the source afterwards`;
    return new HandoffError(aborted?.code ?? 'CopyFailed', message, {
      ...(aborted?.detail && { detail: aborted.detail }),
      cause,
    });
  }

  #enter(phase: Progress['phase']): void {
    this.#phase = phase;
    this.#reports.progress(phase, this.#copy?.job);
  }

  /**
   * The control plane must see that the mover lives, also where it can only wait: Prepare takes as long as QEMU's start, and a
   * handover that has to look for its outcome for a while.
   */
  #beat(): () => void {
    let cancelTimer = () => {};
    const beatLater = () => {
      cancelTimer = this.#deps.clock.timer(HEARTBEAT_MS, () => {
        this.#reports.progress(this.#phase, this.#rest ?? this.#copy?.job);
        beatLater();
      });
    };
    beatLater();
    return () => cancelTimer();
  }
}

const nearsEnd = ({ bytesRemaining, bytesPerSecond }: JobStats): boolean =>
  bytesRemaining <= Math.max(NEAR_END.bytes, bytesPerSecond * NEAR_END.seconds);

/** The destination keeps the job's own figures; the guest runs by now, so asking costs it nothing. */
async function measured(target: HypervisorConnection, vm: string): Promise<JobStats | undefined> {
  try {
    return await (await target.find(vm))?.lastJob();
  } catch {
    return undefined;
  }
}

function failureOfHandover(
  end: Exclude<HandoverEnd, { kind: 'switched' }>,
  aborted: HandoffError | undefined,
): HandoffError {
  switch (end.kind) {
    case 'postcopy-broken':
      return new HandoffError(
        'PostCopyBroken',
        `each host has a half of the VM, and they could not be brought together: ${messageOf(end.error)}; neither was touched`,
        { cause: end.error },
      );
    case 'finish-unknown':
      return new HandoffError('FinishUnknown', `which host has the VM is not known: ${messageOf(end.error)}`, {
        cause: end.error,
      });
    case 'refused':
      return new HandoffError('HandoverCancelled', `the destination could not start the VM: ${messageOf(end.error)}`, {
        cause: end.error,
      });
    case 'cancelled':
      if (aborted !== undefined) return aborted;
      return end.because === 'revoked'
        ? new HandoffError(
            'CommitRevoked',
            'the control plane took the commit record back; the VM runs on at the source',
          )
        : new HandoffError('CommitUnknown', 'AWS did not answer the commit; the VM runs on at the source');
  }
}
