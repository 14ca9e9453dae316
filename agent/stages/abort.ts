import { HandoffError } from '../../contract/errors.ts';
import type { CopyState } from '../../contract/facts.ts';
import type { OrderOf } from '../../contract/orders.ts';
import type { ResultOf } from '../../contract/reports.ts';
import type { AgentDeps } from '../deps.ts';
import type { Domain } from '../hypervisor.ts';
import { evidenceOf } from './evidence.ts';
import { withHypervisor } from './stage.ts';

interface Act {
  /** The only states in which the act is right. */
  from: readonly CopyState[];
  /** States that show that it has been done before. */
  done: readonly CopyState[];
  does: string;
  carryOut(domain: Domain): Promise<void>;
}

/** Recovery's hands. What each may touch is told by the state it must find; anything else is left alone. */
const ACTS: Record<AbortOrderAction, Act> = {
  resume: {
    from: ['migrating-paused'],
    done: ['running'],
    does: 'resumed',
    carryOut: (domain) => domain.resume(),
  },
  'remove-paused-copy': {
    // `shutoff`: an earlier attempt got as far as ending the copy.
    from: ['migrating-paused', 'shutoff'],
    done: ['absent'],
    does: 'removed',
    async carryOut(domain) {
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
    carryOut: (domain) => domain.destroy(),
  },
};
type AbortOrderAction = OrderOf<'abort'>['action'];

export function abort(deps: AgentDeps, order: OrderOf<'abort'>): Promise<ResultOf<'abort'>> {
  const act = ACTS[order.action];
  return withHypervisor(deps, deps.localUri, async (here) => {
    const before = await evidenceOf(here, order.vm, 'not-asked');
    if (act.done.includes(before.state)) {
      return { stage: 'abort', done: `nothing to do: the VM is ${before.detail}`, evidence: before };
    }
    const domain = await here.find(order.vm);
    const jobInTheWay = before.jobActive && order.action !== 'destroy-incoming';
    if (!act.from.includes(before.state) || jobInTheWay || domain === undefined) {
      const job = jobInTheWay ? ' and libvirt has a job on it' : '';
      throw new HandoffError(
        'NeedsOperator',
        `"${order.action}" needs the VM to be ${act.from.join(' or ')} on ${order.hostId}, but it is ${before.detail}${job}; nothing was touched`,
        { detail: { evidence: before } },
      );
    }
    await act.carryOut(domain);
    const evidence = await evidenceOf(here, order.vm, 'not-asked');
    if (!act.done.includes(evidence.state)) {
      throw new HandoffError('NeedsOperator', `the VM was to be ${act.does}, but it is ${evidence.detail} now`, {
        detail: { evidence },
      });
    }
    return { stage: 'abort', done: `${act.does} (it was ${before.detail})`, evidence };
  });
}
