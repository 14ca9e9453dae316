import { HandoffError } from '../contract/errors.ts';
import type { AgentDeps } from './deps.ts';
import { messageOf } from './error-message.ts';
import type { Domain, HypervisorConnection } from './hypervisor.ts';

/** Opens a connection for the time of `use`. Throws HypervisorUnreachable when that libvirt does not answer. */
export async function withHypervisor<T>(
  deps: Pick<AgentDeps, 'connect'>,
  uri: string,
  use: (hypervisor: HypervisorConnection) => Promise<T>,
): Promise<T> {
  const hypervisor = await connectHypervisor(deps, uri);
  try {
    return await use(hypervisor);
  } finally {
    await hypervisor.close().catch(() => {});
  }
}

/** As `AgentDeps.connect`; throws HypervisorUnreachable, with the URI, when that libvirt does not answer. */
export async function connectHypervisor(deps: Pick<AgentDeps, 'connect'>, uri: string): Promise<HypervisorConnection> {
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
