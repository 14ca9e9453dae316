/** What the simulation takes for libvirt, against libvirt: the same scenarios leave the same behind on both. */
import { expect, it } from 'vitest';
import type { DiskSize, HypervisorConnection } from '../../agent/hypervisor.ts';
import { connectLibvirt } from '../../agent/libvirt/connect.ts';
import { systemClock } from '../../common/clock.ts';
import { relayTo } from '../../lab/clients/libvirt-relay.ts';
import { destroyGuest, startGuest } from '../../lab/guest/guests.ts';
import type { Lab } from '../../lab/hosts/lab.ts';
import { signalQemu } from '../../lab/hosts/libvirtd.ts';
import { execText } from '../../lab/hosts/node.ts';
import { addressOf, libvirtUriOf } from '../../lab/hosts/plan.ts';
import { until } from '../../lab/hosts/until.ts';
import { connect as connectTo } from '../../simulator/hypervisor/connection.ts';
import { imageOf } from '../../simulator/hypervisor/copy.ts';
import { SimulatedFleet } from '../../simulator/hypervisor/fleet.ts';
import { type Client, COPIED_DISK, HANDSHAKE, type Scenario, type Vm } from './scenarios.ts';
import { describeWithLab } from './support/describe-with-lab.ts';

const GUEST = { memoryMiB: 256, workingSetMiB: 32, dirtyMiBps: 8 };
const SLOW_MIBPS = 24;
/** Takes a few seconds at that speed. */
const DISK_MIB = 96;
const ROLES = ['source', 'destination'] as const;
const HOST = { source: 'kvm1', destination: 'kvm2' } as const;

/** Two hosts with the VM running on the source, and a client that has nothing else to do. */
interface Pair {
  client: Client;
  vm: Vm;
  /** A look through a connection of its own, as recovery's. */
  look(role: (typeof ROLES)[number]): Promise<HypervisorConnection>;
}

/** Sets the speed when QEMU has begun: before, it would be forgotten. */
async function slowed({ domain }: Pick<Client, 'domain'>, perform: () => Promise<unknown>) {
  const outcome = perform().then(
    () => undefined,
    (error: unknown) => error,
  );
  await until('the copy begins', async () => {
    const { bytesTotal = 0, disks } = (await domain.job()) ?? {};
    return bytesTotal > 0 || (disks?.bytesProcessed ?? 0) > 0;
  });
  await domain.setMaxSpeedMiBps(SLOW_MIBPS);
  return { outcome };
}

async function realPair(
  lab: Lab,
  { name, address, persistent = true, localDisk = false }: Scenario & { address: string },
): Promise<Pair & { clear(): Promise<void> }> {
  const disk = localDisk ? ({ disk: 'local', diskMiB: DISK_MIB } as const) : {};
  await startGuest(lab, HOST.source, { name, address, persistent, ...disk, ...GUEST });
  const [one, other] = await Promise.all(ROLES.map((role) => relayTo(addressOf(lab, HOST[role]))));
  const wires = { source: one!, destination: other! };
  const source = await connectLibvirt(wires.source.uri);
  const destination = await connectLibvirt(wires.destination.uri);
  const domain = (await source.find(name))!;
  const local = await domain.diskSizes();
  const image = `/var/lib/libvirt/${name}.raw`;
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
      makeImage: async () => {
        await execText(lab, HOST.destination, ['truncate', '-s', `${DISK_MIB}M`, image]);
      },
      slowly: (perform) => slowed({ domain }, perform),
    },
    vm: vmOf({ name, persistent, localDisk }, local),
    look: (role) => connectLibvirt(libvirtUriOf(lab, HOST[role])),
    async clear() {
      for (const wire of Object.values(wires)) wire.close();
      await destroyGuest(lab, name);
      for (const host of lab.hosts) await execText(lab, host, ['rm', '-f', image]);
    },
  };
}

async function simulatedPair({ name, persistent = true, localDisk = false }: Scenario): Promise<Pair> {
  const fleet = new SimulatedFleet(systemClock);
  for (const role of ROLES) fleet.addHost({ hostId: HOST[role] });
  const disk = localDisk && { disk: { allocatedMiB: DISK_MIB, newest: 0 } };
  const guest = fleet.addGuest(HOST.source, { name, persistent, ...GUEST, ...disk });
  const connect = (role: (typeof ROLES)[number]) => connectTo(fleet, 'mover', fleet.host(HOST[role]).spec.libvirtUri);
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
      makeImage: () => fleet.host(HOST.destination).images.create(imageOf(guest)),
      slowly: (perform) => slowed({ domain }, perform),
    },
    vm: vmOf({ name, persistent, localDisk }, await domain.diskSizes()),
    look: connect,
  };
}

const vmOf = ({ name, persistent, localDisk }: Required<Omit<Scenario, 'play'>>, disks: readonly DiskSize[]): Vm => ({
  name,
  persistent,
  ...(localDisk && { migratedDisks: disks.map(({ target }) => target), diskMiBps: SLOW_MIBPS }),
});

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

async function end(pair: Pair, { play }: Scenario) {
  const { vm } = pair;
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

describeWithLab('the simulated hypervisor', (lab) => {
  it.concurrent.each([...HANDSHAKE, ...COPIED_DISK].map((scenario, index) => ({ ...scenario, index })))(
    'leaves what libvirt leaves when $name',
    async ({ index, ...scenario }) => {
      const named = { ...scenario, name: `model${index}` };
      const [real, simulated] = await Promise.all([
        realPair(lab(), { ...named, address: `${lab().subnet}.${101 + index}` }),
        simulatedPair(named),
      ]);
      try {
        const [onLibvirt, inSimulation] = await Promise.all([end(real, scenario), end(simulated, scenario)]);
        console.log(`${scenario.name}: ${onLibvirt.source} / ${onLibvirt.destination}`);
        expect(inSimulation).toEqual(onLibvirt);
      } finally {
        await real.clear();
      }
    },
    180_000,
  );
});
