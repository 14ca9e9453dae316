import type { HostView } from '../../contract/api.ts';
import type { HostItem } from '../platform/control-table.ts';

/** A host as the API shows it. */
export function viewOf(host: HostItem): HostView {
  return {
    hostId: host.sk,
    nodeId: host.nodeId,
    address: host.address,
    libvirtUri: host.libvirtUri,
    limits: host.limits,
    state: host.state,
    outgoing: [...(host.outgoing ?? [])],
    incoming: [...(host.incoming ?? [])],
    reservedMiB: Object.values(host.reservations).reduce((sum, mib) => sum + mib, 0),
  };
}
