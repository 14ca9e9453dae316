import { startPing } from '../clients/ping-probe.ts';
import { startTcp } from '../clients/tcp-probe.ts';
import { guestStatus, startGuest } from '../guest/guests.ts';
import { installLab } from '../hosts/install.ts';
import { downLab, upLab } from '../hosts/lab.ts';
import { startManagedLab } from '../managed-lab.ts';
import type { DemoEnvironment } from './demo-environment.ts';

const VM = 'web';

/** Two real libvirt hosts, a guest that serves TCP, and clients that measure it. */
export async function openLabEnvironment(log: (line: string) => void): Promise<DemoEnvironment> {
  await installLab(log);
  log('bringing up two libvirt hosts, a disk server and a client, in network namespaces');
  const lab = await upLab();
  try {
    log('starting the embedded AWS from the synthesized template');
    const managed = await startManagedLab(lab);
    const address = `${lab.subnet}.101`;
    log('booting a guest that serves TCP, writes to its disk and dirties memory');
    await startGuest(lab, 'kvm1', { name: VM, address });
    const before = await guestStatus(address);
    return {
      hypervisor: 'libvirt',
      api: managed.api,
      access: managed.access,
      vm: VM,
      from: 'kvm1',
      to: 'kvm2',
      guestAddress: address,
      observe: async () => {
        const [ping, tcp] = await Promise.all([startPing(lab, address), startTcp(lab, address)]);
        return {
          stop: async () => {
            const [pinged, talked] = await Promise.all([ping.stop(), tcp.stop()]);
            const after = await guestStatus(address);
            return {
              blackoutMs: Math.round(pinged.longestGapMs),
              tcpLongestGapMs: Math.round(talked.longestGapMs),
              tcpIntact: talked.survived && talked.lost === 0 && talked.wrong === 0,
              bytesLost: talked.bytesLost,
              guestIntact: after.bootId === before.bootId && after.patternErrors === 0 && after.diskErrors === 0,
            };
          },
        };
      },
      hints: [
        `on a host:          npm run lab -- --name ${lab.name} exec kvm2 -- virsh list --all`,
        `the guest itself:   npm run lab -- --name ${lab.name} exec client -- bash -c 'exec 3<>/dev/tcp/${address}/7000; echo status >&3; head -1 <&3'`,
      ],
      close: async () => {
        await managed.stop();
        await downLab(lab.name);
      },
    };
  } catch (error) {
    await downLab(lab.name);
    throw error;
  }
}
