import { setTimeout as sleep } from 'node:timers/promises';
import { ended, request } from '../clients/migrations.ts';
import { guestStatus } from '../guest/guests.ts';
import { exec } from '../hosts/node.ts';
import type { HostName } from '../hosts/plan.ts';
import { DomainStateMonitor } from './domain-state-monitor.ts';
import type { FaultTestbed } from './fault-testbed.ts';

/** The result of a migration whose control connection was cut between Finish and its answer. */
export interface AfterTheCut {
  how: string;
  /** The migration's status, or virsh's error. */
  said: string;
  states: { source: string; destination: string };
  doubleRunning: boolean;
  /** Ticks on the VM's disk that the other running copy overwrote, as a running copy reports. */
  diskErrors: number;
}

/** Two running copies have both written to the disk by then, and read what the other wrote (guest.c looks at the ticks of the last three seconds). */
const OBSERVED_MS = 6_000;

/**
 * `virsh migrate --p2p` and Handoff, each with the same cut: Finish reaches the destination, its answer does not come back.
 * The VM that ends up running twice is destroyed.
 */
export async function sameCut(testbed: FaultTestbed): Promise<{ plainVirsh: AfterTheCut; handoff: AfterTheCut }> {
  const handoff = await cutAtFinish(testbed, 'Handoff', async (vm, from, to) => {
    const view = await ended(testbed.managed, await request(testbed.managed, { vm, from, to }));
    return `${view.status}, runs on ${view.runsOn}`;
  });
  const plainVirsh = await cutAtFinish(testbed, 'virsh migrate --live --p2p', async (vm, from, to) => {
    const uri = `qemu+tcp://${testbed.lab.subnet}.2:${testbed.relayTo(to).port}/system`;
    const pendingCleanups = ['--live', '--p2p', '--persistent', '--undefinesource'];
    const { exitCode, stderr } = await exec(testbed.lab, from, ['virsh', 'migrate', ...pendingCleanups, vm, uri]);
    return exitCode === 0 ? 'success' : stderr.trim();
  });
  await testbed.dropGuest();
  return { plainVirsh, handoff };
}

async function cutAtFinish(
  testbed: FaultTestbed,
  how: string,
  move: (vm: string, from: HostName, to: HostName) => Promise<string>,
): Promise<AfterTheCut> {
  const { name: vm, home: from } = await testbed.readyGuest();
  const to: HostName = from === 'kvm1' ? 'kvm2' : 'kvm1';
  const relay = testbed.relayTo(to);
  let cut = false;
  relay.rule((direction, procedure) => {
    if (cut || direction !== 'reply' || procedure !== 'DOMAIN_MIGRATE_FINISH3_PARAMS') return 'pass';
    cut = true;
    relay.cut();
    return 'swallow';
  });
  const monitor = new DomainStateMonitor(testbed.lab, vm, { from, to }, () => {});
  try {
    const said = await move(vm, from, to);
    if (!cut) throw new Error(`${how} never asked for Finish: ${said}`);
    const diskErrors = await overwrittenTicks(testbed.guestAddress);
    const { source, destination } = await monitor.read();
    return {
      how,
      said,
      states: { source: source.detail, destination: destination.detail },
      doubleRunning: monitor.doubles > 0,
      diskErrors,
    };
  } finally {
    testbed.observe();
    await monitor.stop();
  }
}

/** Of two copies, either may answer at the address, or neither for a while: so the address is asked until a copy reports an error. */
async function overwrittenTicks(address: string): Promise<number> {
  const until = performance.now() + OBSERVED_MS;
  let most = 0;
  while (most === 0 && performance.now() < until) {
    const status = await guestStatus(address).catch(() => undefined);
    most = Math.max(most, status?.diskErrors ?? 0);
    await sleep(200);
  }
  return most;
}
