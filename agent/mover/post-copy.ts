import type { HostState } from '../../common/ownership/evidence.ts';
import { assessPostCopy, hasPostCopyBegun, type PostCopyStatus } from '../../common/ownership/post-copy.ts';
import { HandoffError } from '../../contract/errors.ts';
import { messageOf } from '../error-message.ts';
import type { HypervisorConnection } from '../hypervisor.ts';
import { PrepareLost, type ResumeOptions, resumePostCopy } from './resume-post-copy.ts';

/**
 * A post-copy that the mover has lost: its connection to one of the halves, or the stream between them, broke. Then libvirt keeps
 * both halves, the guest stands still at the first page that has not come, and all five calls once more, with the flag that resumes,
 * send the rest. As long as the stream holds, libvirt completes a post-copy without any client; it then leaves the source's definition.
 */
export interface PostCopyParties {
  resume: ResumeOptions;
  connectSource(): Promise<HypervisorConnection>;
  connectDestination(): Promise<HypervisorConnection>;
  onDecision(event: string, detail: Record<string, unknown>): void;
  /** The Finish of the first five calls, for when it has not reached the destination. */
  finish(destination: HypervisorConnection): Promise<unknown>;
}

export type PostCopyEnd =
  /** All of the VM is on the destination, where it runs. */
  | { kind: 'complete' }
  /** Post-copy had not begun after all. */
  | { kind: 'not-begun' }
  | { kind: 'broken'; error: unknown };

/** The guest stands still while the post-copy is broken. A network that is away for longer is left to recovery, which inspects less often. */
const PATIENCE_MS = 10 * 60_000;
const INSPECT_EVERY_MS = 1_000;

/** The daemon may have been restarted once. When it ends again, resuming may be the cause (CRASHES may not know its version). */
const MOST_LOST_PREPARES = 2;

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
    const status = await withBoth(parties, async (source, destination): Promise<PostCopyStatus> => {
      const states = {
        source: await inspectState(source, resume.name),
        destination: await inspectState(destination, resume.name),
      };
      const found = assessPostCopy(states.source, states.destination);
      try {
        if (found === 'finish-missing' && destination !== undefined) await parties.finish(destination);
        if (found === 'broken' && source !== undefined && destination !== undefined) {
          attempt += 1;
          onDecision('post-copy broken, to be resumed', { because: messageOf(error), attempt, ...states });
          await resumePostCopy(resume, source, destination);
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

/** Uses new connections: those of the copy may be lost, or in a state from which libvirt does not begin anew. */
async function withBoth<T>(
  { connectSource, connectDestination }: PostCopyParties,
  use: (source: HypervisorConnection | undefined, destination: HypervisorConnection | undefined) => Promise<T>,
): Promise<T> {
  const [source, destination] = await Promise.all(
    [connectSource, connectDestination].map((connect) => connect().catch(() => undefined)),
  );
  try {
    return await use(source, destination);
  } finally {
    await Promise.all([source, destination].map((each) => each?.close().catch(() => {})));
  }
}

/** Never rejects: a host without a connection, or one that does not answer, is unreachable. */
export async function inspectState(host: HypervisorConnection | undefined, name: string): Promise<HostState> {
  try {
    if (host === undefined) return 'unreachable';
    return (await (await host.find(name))?.state())?.state ?? 'absent';
  } catch {
    return 'unreachable';
  }
}
