/** What the simulation takes for libvirt, against libvirt: the same scenarios leave the same behind on both. */
import { expect, it } from 'vitest';
import type { MigrationTarget } from '../../agent/hypervisor.ts';
import { connectLibvirt } from '../../agent/libvirt/connect.ts';
import { systemClock } from '../../contract/clock.ts';
import { SimulatedFleet } from '../../local/simulated/fleet.ts';
import { destroyGuest, startGuest } from './guest/guests.ts';
import type { Lab } from './hosts/lab.ts';
import { signalQemu } from './hosts/libvirtd.ts';
import { addressOf, libvirtUriOf } from './hosts/plan.ts';
import { until } from './hosts/until.ts';
import { relayTo } from './libvirt-relay.ts';
import { type Client, HANDSHAKE, type Scenario } from './scenarios.ts';
import { describeWithLab } from './support/lab.ts';

const GUEST = { memoryMiB: 256, workingSetMiB: 32, dirtyMiBps: 8 };
const SLOW_MIBPS = 24;
const ROLES = ['source', 'destination'] as const;
const HOST = { source: 'kvm1', destination: 'kvm2' } as const;

/** Two hosts with the VM running on the source, and a client that has nothing else to do. */
interface Pair {
  client: Client;
  /** A look through a connection of its own, as recovery's. */
  look(role: (typeof ROLES)[number]): Promise<MigrationTarget>;
}

/** Sets the speed when QEMU has begun: before, it would be forgotten. */
async function slowed({ domain }: Pick<Client, 'domain'>, perform: () => Promise<unknown>) {
  const outcome = perform().then(
    () => undefined,
    (error: unknown) => error,
  );
  await until('the copy begins', async () => ((await domain.job())?.bytesTotal ?? 0) > 0);
  await domain.setMaxSpeedMiBps(SLOW_MIBPS);
  return { outcome };
}

async function realPair(
  lab: Lab,
  { name, address, persistent }: { name: string; address: string; persistent: boolean },
): Promise<Pair & { clear(): Promise<void> }> {
  await startGuest(lab, HOST.source, { name, address, persistent, ...GUEST });
  const [one, other] = await Promise.all(ROLES.map((role) => relayTo(addressOf(lab, HOST[role]))));
  const wires = { source: one!, destination: other! };
  const source = await connectLibvirt(wires.source.uri);
  const destination = await connectLibvirt(wires.destination.uri);
  const domain = (await source.find(name))!;
  const die = () => {
    for (const wire of Object.values(wires)) wire.cut();
  };
  return {
    client: {
      source,
      destination,
      domain,
      die,
      async dieDuring(role, call) {
        wires[role].cutAfterNextCall();
        await call().catch(() => {});
        die();
      },
      loseDestination: () => wires.destination.cut(),
      killQemu: (role) => signalQemu(lab, HOST[role], name, 'SIGKILL'),
      slowly: (perform) => slowed({ domain }, perform),
    },
    look: (role) => connectLibvirt(libvirtUriOf(lab, HOST[role])),
    async clear() {
      for (const wire of Object.values(wires)) wire.close();
      await destroyGuest(lab, name);
    },
  };
}

async function simulatedPair(name: string, persistent: boolean): Promise<Pair> {
  const fleet = new SimulatedFleet(systemClock);
  for (const role of ROLES) fleet.addHost({ hostId: HOST[role] });
  fleet.addGuest(HOST.source, { name, persistent, ...GUEST });
  const connect = (role: (typeof ROLES)[number]) => fleet.connect('mover', fleet.host(HOST[role]).spec.libvirtUri);
  const source = await connect('source');
  const destination = await connect('destination');
  const domain = (await source.find(name))!;
  const die = () => {
    for (const connection of [source, destination]) void connection.close();
  };
  return {
    client: {
      source,
      destination,
      domain,
      die,
      async dieDuring(_, call) {
        const answer = call().catch(() => {});
        // A call is on its way for 1 ms, and Finish, the shortest of them, takes 20.
        await systemClock.sleep(8);
        die();
        await answer;
      },
      loseDestination: () => void destination.close(),
      killQemu: async (role) => void fleet.host(HOST[role]).killQemu(name),
      slowly: (perform) => slowed({ domain }, perform),
    },
    look: connect,
  };
}

/** What is left on one host: the copy's state, whether libvirt has a job on it, and whether it has a definition. */
async function leftOn(pair: Pair, role: (typeof ROLES)[number], name: string): Promise<string> {
  const hypervisor = await pair.look(role);
  try {
    const domain = await hypervisor.find(name);
    if (domain === undefined) return 'absent';
    const { state } = await domain.state();
    if (state === 'absent') return 'absent';
    const job = (await domain.job()) !== undefined;
    return `${state}${job ? ', job' : ''}, ${(await domain.persistent()) ? 'persistent' : 'transient'}`;
  } finally {
    await hypervisor.close();
  }
}

/** libvirt takes a second or two to notice and to wind up; what has not changed for longer than that is the end. */
const QUIET_MS = 3_000;

async function end(pair: Pair, { play }: Scenario, vm: { name: string; persistent: boolean }) {
  await play(pair.client, vm);
  let left: Record<string, string> = {};
  let since = performance.now();
  await until(
    'nothing changes any more',
    async () => {
      const now: Record<string, string> = {};
      // A domain may go between two questions.
      for (const role of ROLES) now[role] = await leftOn(pair, role, vm.name).catch(() => 'in between');
      if (JSON.stringify(now) !== JSON.stringify(left)) since = performance.now();
      left = now;
      return performance.now() - since > QUIET_MS && !Object.values(now).some((each) => /job|in between/.test(each));
    },
    { timeoutMs: 45_000 },
  ).catch(() => {});
  return left;
}

describeWithLab('the simulated hypervisor', { name: 'model', subnet: '10.86.0' }, (lab) => {
  it.concurrent.each(HANDSHAKE.map((scenario, index) => ({ ...scenario, index })))(
    'leaves what libvirt leaves when $name',
    async ({ index, ...scenario }) => {
      const vm = { name: `model${index}`, persistent: scenario.persistent ?? true };
      const [real, simulated] = await Promise.all([
        realPair(lab(), { ...vm, address: `${lab().subnet}.${101 + index}` }),
        simulatedPair(vm.name, vm.persistent),
      ]);
      try {
        const [onLibvirt, inSimulation] = await Promise.all([end(real, scenario, vm), end(simulated, scenario, vm)]);
        console.log(`${scenario.name}: ${onLibvirt.source} / ${onLibvirt.destination}`);
        expect(inSimulation).toEqual(onLibvirt);
      } finally {
        await real.clear();
      }
    },
    180_000,
  );
});
