import { jobLastsAsLongAs } from '../../common/ownership/evidence.ts';
import type { Evidence } from '../../contract/facts.ts';
import type { ResultOf } from '../../contract/reports.ts';
import type { TaskOf } from '../../contract/tasks.ts';
import type { AgentDeps } from '../deps.ts';
import { eventually } from '../eventually.ts';
import { withHypervisor } from '../hypervisor-session.ts';
import { fenceStorage } from '../migrated-storage/fence.ts';
import { madeImages } from '../migrated-storage/images.ts';
import { evidenceOf } from './evidence.ts';

/** libvirt ends a dead client's job within 1-2 s; with its network down, only after its own 30 s keepalive. */
const JOB_GONE = { everyMs: 200, limitMs: 45_000 };

/**
 * Evidence for recovery, or the host's list of VMs. When asked to fence, the mover is dead and its libvirt job has ended (or
 * the evidence says that it has not) before the evidence is collected, so that the mover can no longer change what it shows.
 */
export async function inspect(deps: AgentDeps, task: TaskOf<'inspect'>): Promise<ResultOf<'inspect'>> {
  const { vm } = task;
  const mover: Evidence['mover'] = task.fence ? await deps.movers.fence(task.migrationId) : 'not-asked';
  return withHypervisor(deps, deps.localUri, async (here) => {
    if (vm === undefined) return { stage: 'inspect', domains: await here.list() };
    let evidence = await evidenceOf(here, vm, mover);
    if (task.fence) {
      await eventually(deps, JOB_GONE, async () => {
        evidence = await evidenceOf(here, vm, mover);
        return !evidence.jobActive || jobLastsAsLongAs(evidence.state);
      });
    }
    if (task.disks === undefined) return { stage: 'inspect', evidence };
    await fenceStorage(deps, task.migrationId);
    const made = await madeImages(deps.images, task.migrationId, task.disks);
    return { stage: 'inspect', evidence: { ...evidence, ...(made.length > 0 && { madeImages: made }) } };
  });
}
