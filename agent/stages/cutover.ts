import { HandoffError } from '../../contract/errors.ts';
import type { OrderOf } from '../../contract/tasks.ts';
import type { AgentDeps } from '../deps.ts';

/** Hands the cutover to the mover that holds the copy, which reports for itself. */
export async function cutover(deps: AgentDeps, order: OrderOf<'cutover'>): Promise<'mover-reports'> {
  const request = { requestId: order.requestId, budgetMs: order.policy.blackoutBudgetMs };
  if (await deps.movers.cutover(order.migrationId, request)) return 'mover-reports';
  throw new HandoffError(
    'MoverGone',
    `no mover of ${order.migrationId} runs on ${order.hostId}; the copy it held is gone with it`,
  );
}
