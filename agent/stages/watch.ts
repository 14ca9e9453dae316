import type { OrderOf } from '../../contract/orders.ts';
import type { ResultOf } from '../../contract/reports.ts';
import type { AgentDeps } from '../deps.ts';

/** Sees from the destination when the guest answers again. */
export async function watch(_deps: AgentDeps, _order: OrderOf<'watch'>): Promise<ResultOf<'watch'>> {
  return { stage: 'watch', blackout: { observed: false, why: 'nobody looked' } };
}
