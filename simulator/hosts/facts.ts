import type { HostFacts } from '../../agent/host/facts.ts';
import { MIB } from '../../common/units.ts';
import type { SimulatedFleet } from '../hypervisor/fleet.ts';
import { LOCAL_IMAGES } from '../hypervisor/images.ts';
import { simulatedProbe } from './probe.ts';

const ROUND_TRIP_MS = 0.2;

/** SIMULATED: what a host of the fleet finds out about itself. All hosts have br0, one shared file system and one of their own. */
export function simulatedFacts(fleet: SimulatedFleet, hostId: string): HostFacts {
  return {
    hostname: () => hostId,
    async connectTcp(address) {
      const host = fleet.at(address);
      const answers = host === undefined || (host.reachable && fleet.network.isUp(hostId, host.spec.hostId));
      return answers ? { answer: 'accepted', ms: ROUND_TRIP_MS } : { answer: 'none', ms: 3_000, error: 'timed out' };
    },
    fileSystemType: async (directory) => (directory === LOCAL_IMAGES ? 'ext4' : 'nfs4'),
    exists: async () => true,
    async list(directory) {
      const inside = [...fleet.sharedFiles].filter((path) => path.startsWith(`${directory}/`));
      return inside.map((path) => path.slice(directory.length + 1));
    },
    async touch(path) {
      fleet.sharedFiles.add(path);
    },
    async remove(path) {
      fleet.sharedFiles.delete(path);
    },
    interfaceKind: async (name) => (name === 'br0' ? 'bridge' : 'absent'),
    masterOf: async () => 'br0',
    ping: async (address) => fleet.answersAt(address),
    probe: (address) => simulatedProbe(fleet, address),
    async sendLinkTest(address) {
      const to = fleet.at(address);
      const up = to?.reachable === true && fleet.network.isUp(hostId, to.spec.hostId);
      const { linkMiBps, linkTestsPass } = fleet.host(hostId).spec;
      return up && linkTestsPass ? { bytesPerSecond: linkMiBps * MIB } : { why: 'no answer' };
    },
    receiveLinkTest: async () => {},
    guestResidentBytes: async () => undefined,
  };
}
