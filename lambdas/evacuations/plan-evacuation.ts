import { z } from 'zod';
import { DomainSummary } from '../../contract/facts.ts';
import { HostId } from '../../contract/names.ts';
import { listHosts } from '../hosts/hosts.ts';
import { lambda } from '../platform/function.ts';
import { parse } from '../platform/parse.ts';
import { type EvacuationPlan, planEvacuation } from './evacuation-plan.ts';

const Input = z.object({ host: HostId, domains: z.array(DomainSummary) });

/** Which VM may go where, in the task to try. Preflight decides; this only avoids hosts that cannot take any. */
export const handler = lambda(async (event: unknown): Promise<EvacuationPlan> => {
  const { host, domains } = parse(Input, event, 'evacuation plan');
  return planEvacuation(host, domains, await listHosts());
});
