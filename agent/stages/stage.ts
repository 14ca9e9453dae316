import { HandoffError } from '../../contract/errors.ts';
import type { AgentDeps } from '../deps.ts';
import type { Domain, HypervisorConnection } from '../hypervisor.ts';

/** Opens a connection for the time of `use`. Throws HypervisorUnreachable when that libvirt does not answer. */
export async function withHypervisor<T>(
  deps: AgentDeps,
  uri: string,
  use: (hypervisor: HypervisorConnection) => Promise<T>,
): Promise<T> {
  const hypervisor = await connectOrSay(deps, uri);
  try {
    return await use(hypervisor);
  } finally {
    await hypervisor.close().catch(() => {});
  }
}

export async function connectOrSay(deps: Pick<AgentDeps, 'connect'>, uri: string): Promise<HypervisorConnection> {
  try {
    return await deps.connect(uri);
  } catch (cause) {
    throw new HandoffError('HypervisorUnreachable', `libvirt at ${uri} could not be reached: ${messageOf(cause)}`, {
      cause,
    });
  }
}

export async function mustFind(hypervisor: HypervisorConnection, vm: string): Promise<Domain> {
  const domain = await hypervisor.find(vm);
  if (domain === undefined) throw new Error(`there is no VM "${vm}" on ${hypervisor.uri}`);
  return domain;
}

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** Looks every `everyMs` until `look` says true; false when it has not within `limitMs`. */
export async function eventually(
  deps: Pick<AgentDeps, 'clock'>,
  times: { everyMs: number; limitMs: number },
  look: () => Promise<boolean>,
): Promise<boolean> {
  const deadline = deps.clock.now() + times.limitMs;
  while (!(await look())) {
    if (deps.clock.now() >= deadline) return false;
    await deps.clock.sleep(times.everyMs);
  }
  return true;
}
