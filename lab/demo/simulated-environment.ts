import { synthesize } from '../../cdk/synthesize.ts';
import { type Access, ApiClient } from '../../cli/api-client.ts';
import { systemClock } from '../../common/clock.ts';
import { startEmbeddedAws } from '../../embedded-aws/embedded-aws.ts';
import { manage } from '../../simulator/hosts/managed-host.ts';
import { SimulatedFleet } from '../../simulator/hypervisor/fleet.ts';
import type { DemoEnvironment } from './demo-environment.ts';

const HOSTS = ['kvm1', 'kvm2'] as const;
/** Copied in about two seconds: long enough to show progress, short enough to wait for. */
const GUEST = { name: 'web', memoryMiB: 2_048, dirtyMiBps: 30, workingSetMiB: 128, address: '10.0.0.101' };

/** The real control plane and the agents' own code, on simulated hosts. There is no client outside the guest to measure it. */
export async function openSimulatedEnvironment(log: (line: string) => void): Promise<DemoEnvironment> {
  log('starting the embedded AWS from the synthesized template');
  const aws = await startEmbeddedAws({
    assembly: await synthesize(),
    clock: systemClock,
    listen: { hosts: ['127.0.0.1'], port: 0 },
  });
  try {
    if (aws.apiUrl === undefined) throw new Error('the template has no HTTP API');
    const access: Access = {
      url: aws.apiUrl,
      region: aws.region,
      credentials: aws.adminCredentials,
      embedded: { endpoint: new URL(aws.apiUrl).origin, agentLogs: {} },
    };
    const api = new ApiClient(access);
    log(`registering the simulated hosts ${HOSTS.join(' and ')}, with the guest ${GUEST.name} on ${HOSTS[0]}`);
    const fleet = new SimulatedFleet(systemClock);
    for (const hostId of HOSTS) {
      fleet.addHost({ hostId });
      await api.call('PUT', `/hosts/${hostId}`, { body: manage(aws, fleet, hostId).registration });
    }
    fleet.addGuest(HOSTS[0], GUEST);
    return {
      hypervisor: 'simulated',
      api,
      access,
      vm: GUEST.name,
      from: HOSTS[0],
      to: HOSTS[1],
      guestAddress: GUEST.address,
      observe: async () => ({ stop: async () => ({}) }),
      hints: [`empty a host:       npx handoff evacuate ${HOSTS[1]} --watch`],
      close: () => aws.stop(),
    };
  } catch (error) {
    await aws.stop();
    throw error;
  }
}
