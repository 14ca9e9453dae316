import { type Clock, within } from '../../common/clock.ts';
import { HandoffError } from '../../contract/errors.ts';
import { type HypervisorConnection, HypervisorError } from '../hypervisor.ts';
import { mustFind } from '../hypervisor-session.ts';

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

/** The destination's daemon was lost during Prepare. */
export class PrepareLost extends Error {}

/**
 * libvirt 11.3.0 as released reads through a null pointer in Prepare, so that the destination's daemon ends, and with it every
 * other copy that is on its way there. The halves outlive it: with another version of the daemon they are resumed.
 */
const CRASHES = { from: 11_003_000, before: 11_004_000 };

/**
 * The five calls, to resume. Resolves when the VM is complete on the destination and the source's half is gone. The caller may
 * break off anywhere: before Perform both halves stay as they were, and after Perform libvirt completes the post-copy by itself.
 *
 * Rejects also when there is nothing to resume: the stream holds, or the post-copy is complete. PostCopyBroken: trying
 * again is of no use.
 */
export async function resumePostCopy(
  { name, address, postCopyMiBps, always, clock }: ResumeOptions,
  source: HypervisorConnection,
  destination: HypervisorConnection,
): Promise<void> {
  const { libvirt } = await destination.versions();
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
  const preparing = destination.prepare({ ...options, ...begun, address }).catch((cause) => {
    if (!(cause instanceof HypervisorError) || cause.answered) throw cause;
    throw new PrepareLost(`the destination's libvirt was lost while it prepared to resume: ${cause.message}`, {
      cause,
    });
  });
  const prepared = await withinPatience(clock, preparing);
  const handshake = { ...options, xml: begun.xml, uri: prepared.uri };
  const performed = await domain.perform({ ...handshake, cookie: prepared.cookie });
  const finished = await destination.finish({
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
