import { z } from 'zod';
import { DomainSummary } from '../contract/facts.ts';
import { HostId } from '../contract/names.ts';
import { type EvacuationPlan, planEvacuation } from './shared/evacuation-plan.ts';
import { lambda } from './shared/function.ts';
import { listHosts } from './shared/hosts.ts';
import { parse } from './shared/parse.ts';

const Input = z.object({ host: HostId, domains: z.array(DomainSummary) });

/** Which VM may go where, in the order to try. Preflight decides; this only avoids hosts that cannot take any. */
export const handler = lambda(async (event: unknown): Promise<EvacuationPlan> => {
  const { host, domains } = parse(Input, event, 'evacuation plan');
  return planEvacuation(host, domains, await listHosts());
});
