import type { Evidence } from '../../contract/facts.ts';
import type { ResultOf } from '../../contract/reports.ts';
import type { OrderOf } from '../../contract/tasks.ts';
import type { AgentDeps } from '../deps.ts';
import { fenceStorage } from '../migrated-storage/fence.ts';
import { madeImages } from '../migrated-storage/images.ts';
import { evidenceOf } from './evidence.ts';
import { eventually, withHypervisor } from './stage.ts';

/** libvirt ends a dead client's job within 1-2 s; with its network down, only after its own 30 s keepalive. */
const JOB_GONE = { everyMs: 200, limitMs: 45_000 };

/**
 * Evidence for recovery, or the host's list of VMs. When asked to fence, the mover is dead and its libvirt job has ended (or
 * the evidence says that it has not) before anything is looked at: so nothing that is seen can still change by its hand.
 */
export async function inspect(deps: AgentDeps, order: OrderOf<'inspect'>): Promise<ResultOf<'inspect'>> {
  const { vm } = order;
  const mover: Evidence['mover'] = order.fence ? await deps.movers.fence(order.migrationId) : 'not-asked';
  return withHypervisor(deps, deps.localUri, async (here) => {
    if (vm === undefined) return { stage: 'inspect', domains: await here.list() };
    let evidence = await evidenceOf(here, vm, mover);
    if (order.fence) {
      await eventually(deps, JOB_GONE, async () => {
        evidence = await evidenceOf(here, vm, mover);
        // The job of a post-copy's half stays for as long as that is there.
        return !evidence.jobActive || evidence.state === 'postcopy-failed';
      });
    }
    if (order.disks === undefined) return { stage: 'inspect', evidence };
    await fenceStorage(deps, order.migrationId);
    const made = await madeImages(deps.images, order.migrationId, order.disks);
    return { stage: 'inspect', evidence: { ...evidence, ...(made.length > 0 && { madeImages: made }) } };
  });
}
