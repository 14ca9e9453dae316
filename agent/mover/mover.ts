import { randomUUID } from 'node:crypto';
import { within } from '../../common/clock.ts';
import { HandoffError } from '../../contract/errors.ts';
import type { Progress } from '../../contract/facts.ts';
import type { TaskOf } from '../../contract/tasks.ts';
import type { AgentDeps } from '../deps.ts';
import { messageOf } from '../error-message.ts';
import { failureOf } from '../failure.ts';
import type { Domain, HypervisorConnection, JobStats } from '../hypervisor.ts';
import { connectHypervisor, mustFind } from '../hypervisor-session.ts';
import type { Log } from '../log/log.ts';
import type { CommitOutcome } from '../mailbox.ts';
import { BlackoutMeasurement } from './blackout-measurement.ts';
import { Copy } from './copy.ts';
import { failureOfCopy } from './failed-copy.ts';
import { commitRevoked } from './failures.ts';
import { Handover } from './handover.ts';
import { startHeartbeat } from './heartbeat.ts';
import type { MoverState, MoverStateOf } from './mover-state.ts';
import { MoverReports } from './reports.ts';
import { switchOver } from './switchover.ts';

export type MoverDeps = Pick<
  AgentDeps,
  'mailbox' | 'clock' | 'connect' | 'localUri' | 'facts' | 'log' | 'resumeAlways'
>;

export interface MoverStatus {
  migrationId: string;
  moverId: string;
  phase: Progress['phase'];
}

/** An end before the cutover is reported to the cutover request when that comes, within this time. */
const LINGER_MS = 10 * 60_000;

/** The connections a migration needs, both opened by this host's agent. */
interface Connections {
  source: Domain;
  destination: HypervisorConnection;
}

/**
 * Carries one migration from Begin to Confirm, and reports on it. mover-state.ts has the states and their order.
 * `run` never rejects: every end is reported.
 */
export class Mover {
  /** The commit record names it once committed, so that a commit whose answer was lost is known as our own. */
  readonly id: string;
  readonly #deps: MoverDeps;
  readonly #task: TaskOf<'precopy'>;
  readonly #reports: MoverReports;
  readonly #blackout: BlackoutMeasurement;
  readonly #cutoverRequested = Promise.withResolvers<void>();
  #log: Log;
  #state: MoverState = { name: 'preparing', phase: 'preparing' };

  constructor(deps: MoverDeps, task: TaskOf<'precopy'>) {
    const { migrationId, requestId, hostId, stage } = task;
    this.id = `${requestId}#${randomUUID()}`;
    this.#deps = deps;
    this.#task = task;
    this.#log = deps.log.with({ hostId, migrationId, requestId, stage });
    this.#reports = new MoverReports(deps.mailbox, deps.clock, task, this.#log);
    this.#blackout = new BlackoutMeasurement(deps, task.guestAddress);
  }

  status(): MoverStatus {
    return { migrationId: this.#task.migrationId, moverId: this.id, phase: this.#state.phase };
  }

  /** Accepts the cutover, at any time: before the hold, during it, or, to report how the migration ended, after that. */
  cutover(requestId: string): void {
    this.#log = this.#log.with({ requestId, stage: 'cutover' });
    this.#log.info('cutover requested', { phase: this.#state.phase });
    this.#reports.cutover(requestId);
    this.#cutoverRequested.resolve();
    if (this.#reports.ended) return;
    this.#blackout.onCutover();
    this.#copy?.release();
  }

  /** On SIGTERM, which does not wait for a revoked commit record to be seen. True when the migration could still be cancelled, and is. */
  cancel(): boolean {
    const reason = new HandoffError('Cancelled', 'cancelled on request');
    const state = this.#state;
    if (state.name === 'preparing') this.#state = { cancelled: reason, ...state };
    else if (state.name === 'copying') state.copy.abort(reason);
    else return false;
    this.#log.info('cancelled on request', { phase: state.phase });
    return true;
  }

  async run(): Promise<void> {
    const { clock, mailbox, localUri } = this.#deps;
    const { vm, migrationId, destination, policy, plan } = this.#task;
    let source: HypervisorConnection | undefined;
    let remote: HypervisorConnection | undefined;
    this.#log.info('mover started', { moverId: this.id, vm, destination: destination.hostId, policy, plan });
    const stopHeartbeat = startHeartbeat(clock, () => this.#reports.progress(this.#state.phase, this.#job));
    try {
      this.#reports.progress('preparing', undefined);
      const commitRecord = await mailbox.readCommitRecord(migrationId);
      if (commitRecord !== 'OPEN') throw commitRevoked(commitRecord);
      source = await connectHypervisor(this.#deps, localUri);
      remote = await connectHypervisor(this.#deps, destination.libvirtUri);
      await this.#migrate({ source: await mustFind(source, vm), destination: remote });
    } catch (error) {
      const failure = failureOf(error);
      const { code, message, detail } = failure;
      this.#log.error(`migration failed: ${message}`, { phase: this.#state.phase, code, detail });
      this.#reports.end({ kind: 'failed', failure });
    }
    this.#state = { name: 'ended', phase: this.#state.phase };
    stopHeartbeat();
    this.#blackout.end();
    // Closing them makes libvirt fall back to what is safe, wherever the protocol stood.
    await remote?.close().catch(() => {});
    await source?.close().catch(() => {});
    if (this.#reports.waitsForCutover) await within(clock, LINGER_MS, this.#cutoverRequested.promise, () => {});
    await this.#reports.allWritten();
    this.#log.info('mover ended');
  }

  async #migrate(connections: Connections): Promise<void> {
    const { source, destination } = connections;
    this.#blackout.findAddress(source);
    const handover = await this.#prepare(connections);
    const state = this.#state as MoverStateOf<'preparing'>;
    if (state.cancelled !== undefined) throw state.cancelled;

    const copy = this.#copyOf(source, handover);
    this.#state = { name: 'copying', phase: 'copying', copy };
    this.#log.info('copying');
    this.#reports.progress('copying', undefined);
    const performing = handover.perform();
    if (this.#reports.cutoverAccepted) copy.release();
    void copy.drive();
    // Its keepalive finds this within 30 s; QEMU, whose own connection is as dead, would wait for TCP to give up.
    void destination.closed.then(() =>
      copy.abort(new HandoffError('CopyFailed', `the connection to ${destination.uri} was lost during the copy`)),
    );
    try {
      await performing;
    } catch (cause) {
      copy.stop();
      if (!(await handover.inPostCopy())) {
        const { abortReason } = copy;
        await handover.discardDestinationCopy();
        throw await failureOfCopy(source, this.#deps.clock, abortReason, cause);
      }
    }
    copy.stop();
    await this.#switchOver(connections, handover, copy);
  }

  async #prepare({ source, destination }: Connections): Promise<Handover> {
    const { clock, connect, localUri, resumeAlways = false } = this.#deps;
    const { destination: host, plan, policy } = this.#task;
    try {
      return await Handover.prepare({
        source,
        destination,
        address: host.address,
        clock,
        reconnect: () => connect(host.libvirtUri),
        reconnectSource: () => connect(localUri),
        plan,
        bandwidthMiBps: policy.bandwidthMiBps,
        resumeAlways,
        commit: () => this.#commit(),
        onDecision: (event, detail) => this.#decided(event, detail),
      });
    } catch (cause) {
      throw new HandoffError('CopyFailed', `libvirt could not prepare the copy: ${messageOf(cause)}`, { cause });
    }
  }

  /** The handover calls this once, after Perform or, for a post-copy, during it. */
  async #commit(): Promise<CommitOutcome> {
    const { copy } = this.#state as MoverStateOf<'copying'>;
    const { mailbox, clock } = this.#deps;
    this.#state = { name: 'switching-over', phase: 'committed', copy };
    const begunAt = clock.now();
    const outcome = await mailbox.commit(this.#task.migrationId, this.id);
    const committedAt = clock.now();
    this.#state = { name: 'switching-over', phase: 'finishing', copy, committedAt };
    this.#log.info('commit answered', { outcome, commitMs: committedAt - begunAt });
    return outcome;
  }

  #copyOf(source: Domain, handover: Handover): Copy {
    const { clock, mailbox } = this.#deps;
    const { policy, plan, announceMs, migrationId } = this.#task;
    const copy: Copy = new Copy({
      source,
      clock,
      policy,
      plan,
      announceMs,
      readCommitRecord: () => mailbox.readCommitRecord(migrationId),
      startPostCopy: () => handover.startPostCopy(),
      onProgress: (phase, job) => {
        const state = this.#state;
        if (state.name !== 'copying') return;
        if (phase !== state.phase) this.#log.info(phase, { bytesRemaining: job?.bytesRemaining });
        this.#state = { ...state, phase };
        this.#reports.progress(phase, job);
        if (phase === 'copying' && job !== undefined) this.#blackout.onCopying(job);
      },
      onApproaching: (approach) => {
        this.#log.info('hold approaching', { ...approach });
        this.#reports.approaching({ ...approach, ...this.#blackout.guest() });
      },
      onHeld: (hold) => {
        this.#log.info('hold reached', { ...hold });
        this.#reports.held({ ...hold, ...this.#blackout.guest() });
        if (!this.#reports.cutoverAccepted) this.#blackout.onHeld();
      },
      onDecision: (event, detail) => this.#decided(event, detail),
    });
    return copy;
  }

  async #switchOver({ source, destination }: Connections, handover: Handover, copy: Copy): Promise<void> {
    const { vm } = this.#task;
    const update = (change: Partial<Omit<MoverStateOf<'switching-over'>, 'name'>>) => {
      if (this.#state.name === 'switching-over') this.#state = { ...this.#state, ...change };
    };
    const switched = await switchOver({
      source,
      destination,
      vm,
      clock: this.#deps.clock,
      handover,
      copy,
      blackout: this.#blackout,
      cancelled: copy.abortReason !== undefined && this.#state.name === 'copying',
      onRunning: () => {
        update({ phase: 'post-copy' });
        this.#log.info('post-copy: the VM runs on the destination');
      },
      onRest: (rest) => {
        if (rest !== undefined) update({ rest });
        this.#reports.progress('post-copy', this.#job);
      },
    });
    const { committedAt = switched.pausedAt } = this.#state as MoverStateOf<'switching-over'>;
    // A post-copy is committed before the guest stops.
    const outcome = { ...switched, commitMs: Math.max(0, committedAt - switched.pausedAt) };
    this.#reports.end({ kind: 'switched', ...outcome });
    this.#log.info('switched', outcome);
    this.#state = { name: 'confirming', phase: 'confirming' };
    try {
      await handover.confirm();
    } catch (error) {
      // The guest runs on the destination all the same; verify sees whether the source's copy was removed.
      this.#log.warn(`Confirm failed, the source's paused copy of "${vm}" may be left: ${messageOf(error)}`);
    }
  }

  #decided(event: string, detail: Record<string, unknown>): void {
    this.#log.info(event, detail);
    this.#reports.decided(event, detail);
  }

  get #copy(): Copy | undefined {
    return 'copy' in this.#state ? this.#state.copy : undefined;
  }

  /** The newest statistics, of the rest of the memory in a post-copy. */
  get #job(): JobStats | undefined {
    return this.#state.name === 'switching-over' ? (this.#state.rest ?? this.#copy?.job) : this.#copy?.job;
  }
}
