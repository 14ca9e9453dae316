import { randomUUID } from 'node:crypto';
import { HandoffError } from '../../contract/errors.ts';
import type { Progress } from '../../contract/facts.ts';
import type { OrderOf } from '../../contract/orders.ts';
import type { AgentDeps, CutoverRequest } from '../deps.ts';
import { failureOf } from '../failure.ts';
import { type Domain, HypervisorError, type JobStats, type MigrationTarget } from '../hypervisor.ts';
import { connectOrSay, eventually, messageOf, mustFind } from '../stages/stage.ts';
import { Copy, ticketTaken } from './copy.ts';
import { Handover, type HandoverEnd } from './handover.ts';
import { MoverReports } from './reports.ts';

export type MoverDeps = Pick<AgentDeps, 'mailbox' | 'clock' | 'connect' | 'localUri'> & {
  /** For people: what the mover did that no report says. */
  log(message: string): void;
};

export interface MoverStatus {
  migrationId: string;
  moverId: string;
  phase: Progress['phase'];
  held: boolean;
}

/** A hold that ended by itself is told to the cutover order when that comes, within this time. */
const LINGER_MS = 10 * 60_000;
/** libvirt needs 1-2 s to wind a job up; with a dead network, as long as its keepalive (30 s). */
const WIND_UP = { everyMs: 200, limitMs: 45_000 };
/** The destination's own figures are worth a short wait, not a stuck Confirm. */
const FIGURES_PATIENCE_MS = 1_000;
const HEARTBEAT_MS = 2_000;

/** Carries one migration from Begin to Confirm, and tells how it goes. `run` never rejects: every end is reported. */
export class Mover {
  /** The ticket names it once committed, so that a commit whose answer was lost is known as our own. */
  readonly id: string;
  readonly #deps: MoverDeps;
  readonly #order: OrderOf<'precopy'>;
  readonly #reports: MoverReports;
  readonly #cutoverCame = Promise.withResolvers<void>();
  #phase: Progress['phase'] = 'starting';
  #copy: Copy | undefined;
  #budgetMs: number | undefined;
  #cancelled: HandoffError | undefined;

  constructor(deps: MoverDeps, order: OrderOf<'precopy'>) {
    this.id = `${order.requestId}#${randomUUID()}`;
    this.#deps = deps;
    this.#order = order;
    this.#reports = new MoverReports(deps.mailbox, deps.clock, order, deps.log);
  }

  status(): MoverStatus {
    return { migrationId: this.#order.migrationId, moverId: this.id, phase: this.#phase, held: this.#reports.held };
  }

  /** Accepts the cutover. It is carried out as soon as the copy is held; if all is over by now, it is told how it ended. */
  cutover({ requestId, budgetMs }: CutoverRequest): void {
    this.#reports.cutover(requestId);
    this.#cutoverCame.resolve();
    if (this.#reports.ended) return;
    this.#budgetMs ??= budgetMs;
    this.#copy?.release(this.#budgetMs);
    this.#reports.progress(this.#phase, this.#copy?.job);
  }

  /** True when the handover can still be called off, and then it is. */
  cancel(): boolean {
    if (this.#reports.ended || this.#phase === 'committed' || this.#phase === 'finishing') return false;
    this.#cancelled ??= new HandoffError('Cancelled', 'cancelled on request');
    this.#copy?.abort(this.#cancelled);
    return true;
  }

  async run(): Promise<void> {
    const { clock, mailbox, localUri } = this.#deps;
    let source: MigrationTarget | undefined;
    let target: MigrationTarget | undefined;
    const heart = this.#beat();
    try {
      this.#enter('starting');
      const ticket = await mailbox.readTicket(this.#order.migrationId);
      if (ticket !== 'OPEN') throw ticketTaken(ticket);
      source = await connectOrSay(this.#deps, localUri);
      target = await connectOrSay(this.#deps, this.#order.destination.libvirtUri);
      await this.#migrate(await mustFind(source, this.#order.vm), target);
    } catch (error) {
      this.#reports.end({ kind: 'failed', failure: failureOf(error) });
    }
    heart.abort();
    // Closing them makes libvirt fall back to what is safe, wherever the protocol stood.
    await target?.close().catch(() => {});
    await source?.close().catch(() => {});
    if (this.#reports.waitsForCutover) await Promise.race([this.#cutoverCame.promise, clock.sleep(LINGER_MS)]);
    await this.#reports.allWritten();
  }

  async #migrate(source: Domain, target: MigrationTarget): Promise<void> {
    this.#enter('preparing');
    const handover = await this.#prepare(source, target);
    if (this.#cancelled !== undefined) throw this.#cancelled;

    this.#enter('copying');
    const performing = handover.perform();
    const copy = this.#startCopy(source);
    // By its keepalive this is known within 30 s; QEMU, whose own connection is as dead, would wait for TCP to give up.
    void target.closed.then(() =>
      copy.abort(new HandoffError('CopyFailed', `the connection to ${target.uri} was lost during the copy`)),
    );
    try {
      await performing;
    } catch (error) {
      copy.stop();
      throw await this.#afterFailedCopy(source, handover, copy.aborted, error);
    }
    copy.stop();
    await this.#switchOver(target, handover, copy);
  }

  async #prepare(source: Domain, target: MigrationTarget): Promise<Handover> {
    const { clock, connect } = this.#deps;
    const reconnect = () => connect(this.#order.destination.libvirtUri);
    try {
      const { address } = this.#order.destination;
      return await Handover.prepare({ source, target, address, clock, reconnect });
    } catch (cause) {
      throw new HandoffError('CopyFailed', `libvirt could not prepare the copy: ${messageOf(cause)}`, { cause });
    }
  }

  #startCopy(source: Domain): Copy {
    const copy = new Copy({
      source,
      clock: this.#deps.clock,
      policy: this.#order.policy,
      readTicket: () => this.#deps.mailbox.readTicket(this.#order.migrationId),
      onProgress: (phase, job) => {
        this.#phase = phase;
        this.#reports.progress(phase, job);
      },
      onHeld: (hold) => this.#reports.hold(hold),
    });
    this.#copy = copy;
    if (this.#budgetMs !== undefined) copy.release(this.#budgetMs);
    void copy.drive();
    return copy;
  }

  /** The guest stands still from before the first line to Finish's answer: nothing may be added in between. */
  async #switchOver(target: MigrationTarget, handover: Handover, copy: Copy): Promise<void> {
    const { clock, mailbox, log } = this.#deps;
    const pausedAt = clock.now();
    let committedAt = pausedAt;
    let end: HandoverEnd;
    if (copy.aborted !== undefined) {
      end = await handover.cancel('asked');
    } else {
      this.#phase = 'committed';
      end = await handover.decide(async () => {
        const outcome = await mailbox.commit(this.#order.migrationId, this.id);
        committedAt = clock.now();
        this.#phase = 'finishing';
        return outcome;
      });
    }
    const finishedAt = clock.now();
    if (end.kind !== 'switched') throw failureOfHandover(end, copy.aborted);

    const figures = await Promise.race([measured(target, this.#order.vm), clock.sleep(FIGURES_PATIENCE_MS)]);
    this.#reports.end({
      kind: 'switched',
      downtimeMs: figures?.downtimeMs ?? finishedAt - pausedAt,
      commitMs: committedAt - pausedAt,
      bytesTransferred: figures?.bytesProcessed ?? copy.job?.bytesProcessed ?? 0,
      pausedAt,
      finishedAt,
      workedMs: copy.workedMs,
      postCopy: false,
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
   * The copy is over. Waits until libvirt has wound the job up and the source is seen to run (the error says if it does not), or
   * to have ended.
   */
  async #afterFailedCopy(
    source: Domain,
    handover: Handover,
    aborted: HandoffError | undefined,
    cause: unknown,
  ): Promise<HandoffError> {
    await handover.discardTarget();
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
  #beat(): AbortController {
    const stop = new AbortController();
    const beat = async () => {
      while (!stop.signal.aborted) {
        await this.#deps.clock.sleep(HEARTBEAT_MS, stop.signal);
        if (!stop.signal.aborted) this.#reports.progress(this.#phase, this.#copy?.job);
      }
    };
    void beat();
    return stop;
  }
}

/** The destination keeps the job's own figures; the guest runs by now, so asking costs it nothing. */
async function measured(target: MigrationTarget, vm: string): Promise<JobStats | undefined> {
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
        ? new HandoffError('TicketRevoked', 'the control plane took the ticket back; the VM runs on at the source')
        : new HandoffError('CommitUnknown', 'AWS did not answer the commit; the VM runs on at the source');
  }
}
