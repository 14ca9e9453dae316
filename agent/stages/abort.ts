import { within } from '../../common/clock.ts';
import { HandoffError } from '../../contract/errors.ts';
import type { CopyState } from '../../contract/facts.ts';
import type { ResultOf } from '../../contract/reports.ts';
import type { TaskOf } from '../../contract/tasks.ts';
import type { AgentDeps } from '../deps.ts';
import { messageOf } from '../error-message.ts';
import type { Domain } from '../hypervisor.ts';
import { withHypervisor } from '../hypervisor-session.ts';
import { keepImages, madeImages, removeImages } from '../migrated-storage/images.ts';
import { resumePostCopy } from '../mover/post-copy.ts';
import { evidenceOf } from './evidence.ts';

interface Act {
  /** The only states in which the act is right. */
  from: readonly CopyState[];
  /** States that show that it has been done before. */
  done: readonly CopyState[];
  does: string;
  /** States in which libvirt's job does not stand in the way: it is there for as long as they last. */
  despiteJob?: readonly CopyState[];
  carryOut(domain: Domain, deps: AgentDeps, task: TaskOf<'abort'>): Promise<void>;
}

/**
 * The rest of a post-copy's memory may take long. Once the stream is there again libvirt goes on by itself; its end is for
 * recovery's next look.
 */
const RESUME_WAIT_MS = 45_000;

/** Recovery's hands. What each may touch is told by the state it must find; anything else is left alone. */
const ACTS: Record<Exclude<AbortTaskAction, ImageAction>, Act> = {
  resume: {
    from: ['migrating-paused'],
    done: ['running'],
    does: 'resumed',
    carryOut: (domain) => domain.resume(),
  },
  'remove-paused-copy': {
    // `shutoff`: an earlier attempt got as far as ending the copy.
    from: ['migrating-paused', 'postcopy-paused', 'postcopy-failed', 'shutoff'],
    done: ['absent'],
    does: 'removed',
    despiteJob: ['postcopy-failed'],
    async carryOut(domain, deps, task) {
      const { state } = await domain.state();
      if (state === 'postcopy-paused' || state === 'postcopy-failed') await mustBeWhole(deps, task);
      const persistent = await domain.persistent();
      if ((await domain.state()).state !== 'shutoff') await domain.destroy();
      if (persistent) await domain.undefine();
    },
  },
  'destroy-incoming': {
    from: ['incoming'],
    // A definition the host had before stays when the copy that came over it is gone.
    done: ['absent', 'shutoff'],
    does: 'destroyed',
    despiteJob: ['incoming'],
    carryOut: (domain) => domain.destroy(),
  },
  'resume-postcopy': {
    from: ['postcopy-failed'],
    done: ['absent', 'shutoff'],
    does: 'resumed',
    despiteJob: ['postcopy-failed'],
    carryOut: resumeFromHere,
  },
};
type AbortTaskAction = TaskOf<'abort'>['action'];
type ImageAction = 'keep-images' | 'remove-images';

export function abort(deps: AgentDeps, task: TaskOf<'abort'>): Promise<ResultOf<'abort'>> {
  const { action } = task;
  if (action === 'keep-images' || action === 'remove-images') return settleImages(deps, task, action);
  const act = ACTS[action];
  return withHypervisor(deps, deps.localUri, async (here) => {
    const before = await evidenceOf(here, task.vm, 'not-asked');
    if (act.done.includes(before.state)) {
      return { stage: 'abort', done: `nothing to do: the VM is ${before.detail}`, evidence: before };
    }
    const domain = await here.find(task.vm);
    const jobInTheWay = before.jobActive && act.despiteJob?.includes(before.state) !== true;
    if (!act.from.includes(before.state) || jobInTheWay || domain === undefined) {
      const job = jobInTheWay ? ' and libvirt has a job on it' : '';
      throw new HandoffError(
        'NeedsOperator',
        `"${task.action}" needs the VM to be ${act.from.join(' or ')} on ${task.hostId}, but it is ${before.detail}${job}; nothing was touched`,
        { detail: { evidence: before } },
      );
    }
    await act.carryOut(domain, deps, task);
    const evidence = await evidenceOf(here, task.vm, 'not-asked');
    if (task.action === 'resume-postcopy' && evidence.state === 'postcopy-paused') {
      return {
        stage: 'abort',
        done: `resumed (it was ${before.detail}); the rest of the memory is on its way`,
        evidence,
      };
    }
    if (!act.done.includes(evidence.state)) {
      throw new HandoffError('NeedsOperator', `the VM was to be ${act.does}, but it is ${evidence.detail} now`, {
        detail: { evidence },
      });
    }
    return { stage: 'abort', done: `${act.does} (it was ${before.detail})`, evidence };
  });
}

/** Of the images this migration made here. None is removed while there is a VM of that name here that could have it open. */
async function settleImages(
  deps: AgentDeps,
  { vm, hostId, migrationId, disks = [] }: TaskOf<'abort'>,
  action: ImageAction,
): Promise<ResultOf<'abort'>> {
  const evidence = await withHypervisor(deps, deps.localUri, (here) => evidenceOf(here, vm, 'not-asked'));
  const paths = (await madeImages(deps.images, migrationId, disks)).join(', ') || 'none';
  if (action === 'keep-images') {
    await keepImages(deps.images, migrationId, disks);
    return { stage: 'abort', done: `images left to the VM: ${paths}`, evidence };
  }
  if (evidence.state !== 'absent' && evidence.state !== 'shutoff') {
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
async function mustBeWhole(deps: AgentDeps, { vm, destination }: TaskOf<'abort'>): Promise<void> {
  const there = await withHypervisor(deps, destination.libvirtUri, (host) => evidenceOf(host, vm, 'not-asked'));
  if (there.state === 'running') return;
  throw new HandoffError(
    'NeedsOperator',
    `the destination shows the VM ${there.detail}, so it may still need the source's half; nothing was touched`,
    { detail: { evidence: there } },
  );
}

/** Rejects when it could not be resumed, also because QEMU is still at it: then recovery looks again. */
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
