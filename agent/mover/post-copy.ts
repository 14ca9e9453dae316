import { type Clock, within } from '../../common/clock.ts';
import type { HostState } from '../../common/ownership/evidence.ts';
import { assessPostCopy, hasPostCopyBegun, type PostCopyStatus } from '../../common/ownership/post-copy.ts';
import { HandoffError } from '../../contract/errors.ts';
import { messageOf } from '../error-message.ts';
import { type HypervisorConnection, HypervisorError } from '../hypervisor.ts';
import { mustFind } from '../hypervisor-session.ts';

/**
 * A post-copy that is on its way without us: our connection to one of its halves was lost, or the stream between them broke. Then
 * libvirt keeps both halves, the guest stands still at the first page that has not come, and all five calls once more, with
 * the flag that resumes, send the rest. Also when nobody does anything libvirt takes a post-copy to its end, as long as the
 * stream holds; it then leaves the source's definition.
 */
export interface PostCopyParties {
  resume: ResumeOptions;
  connectSource(): Promise<HypervisorConnection>;
  connectTarget(): Promise<HypervisorConnection>;
  onDecision(event: string, detail: Record<string, unknown>): void;
  /** The Finish of the first five calls, for when it has not reached the destination. */
  finish(target: HypervisorConnection): Promise<unknown>;
}

export interface ResumeOptions {
  name: string;
  /** The destination's on the migration network. */
  address: string;
  /** As in MigrationOptions. */
  postCopyMiBps?: number;
  clock: Clock;
  /** Also on a libvirt of a version that is known to crash from it: its administrator says that this one is mended. */
  always: boolean;
}

export type PostCopyEnd =
  /** All of the VM is on the destination, where it runs. */
  | { kind: 'complete' }
  /** Post-copy had not begun after all. */
  | { kind: 'not-begun' }
  | { kind: 'broken'; error: unknown };

/** The guest stands still while it is broken; a network that is away for longer is for recovery, which looks less often. */
const PATIENCE_MS = 10 * 60_000;
const INSPECT_EVERY_MS = 1_000;

/** The daemon may have been restarted once. One that ends again may end from it (CRASHES may not know its version). */
const MOST_LOST_PREPARES = 2;

class PrepareLost extends Error {}

/**
 * Inspects both hosts and does what is due, until the VM is complete on the destination or nothing more can be done. Never rejects.
 *
 * The status is assessed as recovery does it. The mover does more about one of them: it has the handshake of its Prepare, and so can
 * send the Finish that has not reached the destination (`finish-missing`), for which recovery could only wait.
 */
export async function followPostCopy(parties: PostCopyParties, cause: unknown): Promise<PostCopyEnd> {
  const { resume, onDecision } = parties;
  const { clock } = resume;
  const deadline = clock.now() + PATIENCE_MS;
  let error = cause;
  let attempt = 0;
  let lostPrepares = 0;
  for (;;) {
    const status = await withBoth(parties, async (source, target): Promise<PostCopyStatus> => {
      const states = {
        source: await inspectState(source, resume.name),
        target: await inspectState(target, resume.name),
      };
      const found = assessPostCopy(states.source, states.target);
      try {
        if (found === 'finish-missing' && target !== undefined) await parties.finish(target);
        if (found === 'broken' && source !== undefined && target !== undefined) {
          attempt += 1;
          onDecision('post-copy broken, to be resumed', { because: messageOf(error), attempt, ...states });
          await resumePostCopy(resume, source, target);
        }
      } catch (failed) {
        if (failed instanceof PrepareLost) lostPrepares += 1;
        error = lostPrepares < MOST_LOST_PREPARES ? failed : new HandoffError('PostCopyBroken', messageOf(failed));
      }
      return found;
    });
    if (status === 'complete' || status === 'not-begun') return { kind: status };
    const hopeless = error instanceof HandoffError && error.code === 'PostCopyBroken';
    if (status === 'half-lost' || hopeless || clock.now() >= deadline) return { kind: 'broken', error };
    await clock.sleep(INSPECT_EVERY_MS);
  }
}

/** Whether the source has gone over to post-copy. */
export function hasBegun(parties: PostCopyParties): Promise<boolean | 'unknown'> {
  return withBoth(parties, async (source) => hasPostCopyBegun(await inspectState(source, parties.resume.name)));
}

/**
 * libvirt 11.3.0 as released reads through a null pointer in Prepare, so that the destination's daemon ends, and with it every
 * other copy that is on its way there. The halves outlive it: with another version of the daemon they are resumed.
 */
const CRASHES = { from: 11_003_000, before: 11_004_000 };

/**
 * The five calls, to resume. Resolves when the VM is whole on the destination and the source's half is gone. It may be broken off
 * anywhere: before Perform both halves stay as they were, and after it libvirt carries on by itself.
 *
 * Rejects also when there is nothing to resume: QEMU is still at it, or done. PostCopyBroken: trying again is of no use.
 */
export async function resumePostCopy(
  { name, address, postCopyMiBps, always, clock }: ResumeOptions,
  source: HypervisorConnection,
  target: HypervisorConnection,
): Promise<void> {
  const { libvirt } = await target.versions();
  if (!always && libvirt >= CRASHES.from && libvirt < CRASHES.before) {
    const version = [libvirt / 1_000_000, (libvirt / 1_000) % 1_000, libvirt % 1_000].map(Math.floor).join('.');
    throw new HandoffError(
      'PostCopyBroken',
      `libvirt ${version} on the destination crashes when it is to resume a post-copy; with another version there it can be resumed (QEMU runs on while libvirtd is replaced)`,
    );
  }
  const domain = await mustFind(source, name);
  const options = {
    name,
    persistent: await domain.persistent(),
    postCopy: true,
    resume: true,
    ...(postCopyMiBps !== undefined && { postCopyMiBps }),
  };
  const begun = await domain.begin(options);
  const preparing = target.prepare({ ...options, ...begun, address }).catch((cause) => {
    if (!(cause instanceof HypervisorError) || cause.answered) throw cause;
    throw new PrepareLost(`the destination's libvirt was lost while it prepared to resume: ${cause.message}`, {
      cause,
    });
  });
  const prepared = await withinPatience(clock, preparing);
  const handshake = { ...options, xml: begun.xml, uri: prepared.uri };
  const performed = await domain.perform({ ...handshake, cookie: prepared.cookie });
  const finished = await target.finish({
    ...handshake,
    cookie: performed.cookie,
    cancelled: false,
    inPostCopy: true,
  });
  await domain.confirm({ ...options, cookie: finished.cookie, cancelled: false, inPostCopy: true });
}

/**
 * Prepare has to reach the destination's QEMU, and that can hang: once a thread waits for a page while it holds QEMU's big lock,
 * no command of libvirt's is taken until the page comes. An emulated (TCG) guest's vCPU delivers interrupts that way; under KVM only
 * devices that QEMU itself emulates touch the guest's memory with the lock held. QEMU has a way around it ("out-of-band" commands)
 * that libvirt 11 does not use.
 */
const PREPARE_PATIENCE_MS = 40_000;

function withinPatience<T>(clock: Clock, call: Promise<T>): Promise<T> {
  return within(clock, PREPARE_PATIENCE_MS, call, () => {
    throw new Error(`the destination's QEMU takes no commands, for ${PREPARE_PATIENCE_MS / 1_000} s now`);
  });
}

/** Connections of its own, since those of the copy may be lost, or in a state that libvirt does not begin anew from. */
async function withBoth<T>(
  { connectSource, connectTarget }: PostCopyParties,
  use: (source: HypervisorConnection | undefined, target: HypervisorConnection | undefined) => Promise<T>,
): Promise<T> {
  const [source, target] = await Promise.all(
    [connectSource, connectTarget].map((connect) => connect().catch(() => undefined)),
  );
  try {
    return await use(source, target);
  } finally {
    await Promise.all([source, target].map((each) => each?.close().catch(() => {})));
  }
}

export async function inspectState(host: HypervisorConnection | undefined, name: string): Promise<HostState> {
  try {
    if (host === undefined) return 'unreachable';
    return (await (await host.find(name))?.state())?.state ?? 'absent';
  } catch {
    return 'unreachable';
  }
}
