import { within } from '../../common/clock.ts';
import { ACTION_STATES, type VmAction } from '../../common/ownership/actions.ts';
import { INACTIVE, isOneOf, SOURCE_HALF } from '../../common/ownership/evidence.ts';
import { assessPostCopy } from '../../common/ownership/post-copy.ts';
import { HandoffError } from '../../contract/errors.ts';
import type { CopyState } from '../../contract/facts.ts';
import type { ResultOf } from '../../contract/reports.ts';
import type { TaskOf } from '../../contract/tasks.ts';
import type { AgentDeps } from '../deps.ts';
import { messageOf } from '../error-message.ts';
import type { Domain } from '../hypervisor.ts';
import { withHypervisor } from '../hypervisor-session.ts';
import { keepImages, madeImages, removeImages } from '../migrated-storage/images.ts';
import { resumePostCopy } from '../mover/resume-post-copy.ts';
import { evidenceOf } from './evidence.ts';

/**
 * The rest of a post-copy's memory may take long. Once the stream is there again libvirt completes the post-copy by itself, and
 * recovery's next round sees the end.
 */
const RESUME_WAIT_MS = 45_000;

interface VmActionHandler {
  /** For people. */
  past: string;
  carryOut(domain: Domain, deps: AgentDeps, task: TaskOf<'abort'>): Promise<void>;
}

/** What each may touch is decided by the state it must find (ACTION_STATES); anything else is left alone. */
const HANDLERS: Record<VmAction, VmActionHandler> = {
  resume: { past: 'resumed', carryOut: (domain) => domain.resume() },
  'remove-paused-copy': { past: 'removed', carryOut: removePausedCopy },
  'destroy-incoming': { past: 'destroyed', carryOut: (domain) => domain.destroy() },
  'resume-postcopy': { past: 'resumed', carryOut: resumeFromHere },
};

export function abort(deps: AgentDeps, task: TaskOf<'abort'>): Promise<ResultOf<'abort'>> {
  const { action } = task;
  if (action === 'keep-images' || action === 'remove-images') return settleImages(deps, task, action);
  const { past, carryOut } = HANDLERS[action];
  const { needs, achieves, continues = [], despiteJob } = ACTION_STATES[action];
  return withHypervisor(deps, deps.localUri, async (here) => {
    const before = await evidenceOf(here, task.vm, 'not-asked');
    if (achieves.includes(before.state)) {
      return { stage: 'abort', done: `nothing to do: the VM is ${before.detail}`, evidence: before };
    }
    const domain = await here.find(task.vm);
    const jobInTheWay = before.jobActive && !despiteJob.includes(before.state);
    if (!needs.includes(before.state) || jobInTheWay || domain === undefined) {
      const job = jobInTheWay ? ' and libvirt has a job on it' : '';
      throw new HandoffError(
        'NeedsOperator',
        `"${action}" needs the VM to be ${needs.join(' or ')} on ${task.hostId}, but it is ${before.detail}${job}; nothing was touched`,
        { detail: { evidence: before } },
      );
    }
    await carryOut(domain, deps, task);
    const evidence = await evidenceOf(here, task.vm, 'not-asked');
    if (continues.includes(evidence.state)) {
      return {
        stage: 'abort',
        done: `${past} (it was ${before.detail}); the rest of the memory is on its way`,
        evidence,
      };
    }
    if (!achieves.includes(evidence.state)) {
      throw new HandoffError('NeedsOperator', `the VM was to be ${past}, but it is ${evidence.detail} now`, {
        detail: { evidence },
      });
    }
    return { stage: 'abort', done: `${past} (it was ${before.detail})`, evidence };
  });
}

async function removePausedCopy(domain: Domain, deps: AgentDeps, task: TaskOf<'abort'>): Promise<void> {
  const { state } = await domain.state();
  if (isOneOf(SOURCE_HALF, state)) await mustBeComplete(deps, task, state);
  const persistent = await domain.persistent();
  if ((await domain.state()).state !== 'shutoff') await domain.destroy();
  if (persistent) await domain.undefine();
}

/** Of the images this migration made here. None is removed while there is a VM of that name here that could have it open. */
async function settleImages(
  deps: AgentDeps,
  { vm, hostId, migrationId, disks = [] }: TaskOf<'abort'>,
  action: 'keep-images' | 'remove-images',
): Promise<ResultOf<'abort'>> {
  const evidence = await withHypervisor(deps, deps.localUri, (here) => evidenceOf(here, vm, 'not-asked'));
  const paths = (await madeImages(deps.images, migrationId, disks)).join(', ') || 'none';
  if (action === 'keep-images') {
    await keepImages(deps.images, migrationId, disks);
    return { stage: 'abort', done: `images left to the VM: ${paths}`, evidence };
  }
  if (!isOneOf(INACTIVE, evidence.state)) {
    throw new HandoffError(
      'NeedsOperator',
      `the images made for the VM on ${hostId} are not removed, because it is ${evidence.detail} there`,
      { detail: { evidence } },
    );
  }
  await removeImages(deps.images, migrationId, disks);
  return { stage: 'abort', done: `images removed: ${paths}`, evidence };
}

/** A source's half of a post-copy may go only when the destination is seen to have all of the VM. */
async function mustBeComplete(deps: AgentDeps, { vm, destination }: TaskOf<'abort'>, half: CopyState): Promise<void> {
  const there = await withHypervisor(deps, destination.libvirtUri, (host) => evidenceOf(host, vm, 'not-asked'));
  if (assessPostCopy(half, there.state) === 'complete') return;
  throw new HandoffError(
    'NeedsOperator',
    `the destination shows the VM ${there.detail}, so it may still need the source's half; nothing was touched`,
    { detail: { evidence: there } },
  );
}

/** Rejects when it could not be resumed, also because QEMU is still at it: then recovery inspects again. */
async function resumeFromHere(_: Domain, deps: AgentDeps, { vm, destination }: TaskOf<'abort'>): Promise<void> {
  const options = { name: vm, address: destination.address, clock: deps.clock, always: deps.resumeAlways === true };
  try {
    await withHypervisor(deps, deps.localUri, (source) =>
      withHypervisor(deps, destination.libvirtUri, (target) =>
        within(deps.clock, RESUME_WAIT_MS, resumePostCopy(options, source, target), () => undefined),
      ),
    );
  } catch (cause) {
    if (cause instanceof HandoffError) throw cause;
    throw new HandoffError('PostCopyBroken', `the post-copy could not be resumed: ${messageOf(cause)}`, { cause });
  }
}
