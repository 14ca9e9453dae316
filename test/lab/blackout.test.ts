import { setTimeout as sleep } from 'node:timers/promises';
import { beforeAll, expect, it } from 'vitest';
import { connectLibvirt } from '../../agent/libvirt/connect.ts';
import { getMigration } from '../../cli/follow-migration.ts';
import type { Observation } from '../../contract/forecast.ts';
import { ended, migrate, reaches, request } from '../../lab/clients/migrations.ts';
import { startPing } from '../../lab/clients/ping-probe.ts';
import { stateOn } from '../../lab/guest/domain-state.ts';
import { guestStatus, startGuest } from '../../lab/guest/guests.ts';
import type { Lab } from '../../lab/hosts/lab.ts';
import { exec, execText } from '../../lab/hosts/node.ts';
import { type HostName, libvirtSocketOf } from '../../lab/hosts/plan.ts';
import { until } from '../../lab/hosts/until.ts';
import type { ManagedLab } from '../../lab/managed-lab.ts';
import { guestAddress } from './support/describe-with-lab.ts';
import { describeWithManagedLab } from './support/describe-with-managed-lab.ts';

/** A copy of some seconds: at the link's full speed a busy machine may be late to brake it, and the guest switches before it is held. */
const SLOW_MIBPS = 100;

describeWithManagedLab('the blackout as seen from outside', (its) => {
  let lab: Lab;
  let managed: ManagedLab;
  let address: string;
  beforeAll(async () => {
    managed = its();
    lab = managed.lab;
    address = guestAddress(lab);
    await startGuest(lab, 'kvm1', { name: 'web', address });
  });

  /** Forgets where the guest is, as a host that has had nothing to say to it. */
  const forget = (host: HostName) => execText(lab, host, ['ip', 'neigh', 'flush', 'dev', 'br0']);
  /**
   * Keeps a host from learning where the guest is, while `action` runs. Forgetting is not enough: a guest that has talked to
   * the host asks for it again by ARP within seconds, and such a question is an answer too. A permanent entry is not overwritten.
   */
  const withoutNeighbour = async <T>(hosts: readonly HostName[], action: () => Promise<T>): Promise<T> => {
    const entry = ['to', address, 'dev', 'br0'];
    const nobody = ['lladdr', '02:00:00:00:00:01', 'nud', 'permanent'];
    for (const host of hosts) await execText(lab, host, ['ip', 'neigh', 'replace', ...entry, ...nobody]);
    try {
      return await action();
    } finally {
      for (const host of hosts) await execText(lab, host, ['ip', 'neigh', 'del', ...entry]);
    }
  };
  const pingFrom = (host: HostName) => execText(lab, host, ['ping', '-n', '-q', '-c', '1', '-W', '5', address]);
  const domainOn = async (host: HostName) => {
    const hypervisor = await connectLibvirt(`qemu+unix:///system?socket=${libvirtSocketOf(lab, host)}`);
    return { domain: (await hypervisor.find('web'))!, close: () => hypervisor.close() };
  };
  const noProbeIsLeft = () =>
    until('no probe is left on the hosts', async () => {
      const pings = await Promise.all(lab.hosts.map((host) => exec(lab, host, ['pgrep', '-x', 'ping'])));
      return pings.every(({ exitCode }) => exitCode === 1);
    });

  /** Of two that saw it, and a third that stands on neither host. */
  function expectAlike(seen: (Observation | undefined)[], thirdMs: number, downtimeMs: number): void {
    for (const each of seen) {
      if (!each?.observed) throw new Error(`not observed: ${JSON.stringify(each)}`);
      expect(each.answered).toBeLessThan(each.sent);
      // QEMU counts until the guest may run, and not until it answers; questions lie an interval apart, more on a busy machine.
      expect(each.blackoutMs).toBeGreaterThan(downtimeMs / 2 - 2 * each.intervalMs);
      expect(each.blackoutMs).toBeLessThan(2 * thirdMs + 200);
    }
  }

  it('is what a third host sees, at the address of the request', async () => {
    const ping = await startPing(lab, address);
    const view = await migrate(managed, { vm: 'web', from: 'kvm1', to: 'kvm2', guestAddress: address });
    const third = await ping.stop();
    expect(view, JSON.stringify(view.failure)).toMatchObject({ status: 'SUCCEEDED' });
    const { source, destination } = view.result!.blackout!;
    const seen = { address, addressFrom: 'request', announcedAgain: false };
    expect([source, destination]).toMatchObject([seen, seen]);
    expectAlike([source, destination], third.longestGapMs, view.result!.downtimeMs!);
    await noProbeIsLeft();
  }, 180_000);

  it('is seen at the address that the source host’s own neighbour table has', async () => {
    await forget('kvm1');
    await pingFrom('kvm2');
    const ping = await startPing(lab, address);
    const view = await migrate(managed, { vm: 'web', from: 'kvm2', to: 'kvm1' });
    const third = await ping.stop();
    const { source, destination } = view.result!.blackout!;
    const seen = { address, addressFrom: 'arp' };
    expect([source, destination]).toMatchObject([seen, seen]);
    expectAlike([source, destination], third.longestGapMs, view.result!.downtimeMs!);
  }, 180_000);

  it('is seen from the destination at an address that only its own neighbour table has', async () => {
    await forget('kvm2');
    await pingFrom('kvm2');
    const view = await withoutNeighbour(['kvm1'], () => migrate(managed, { vm: 'web', from: 'kvm1', to: 'kvm2' }));
    expect(view.result!.blackout).toMatchObject({
      source: { observed: false, why: expect.stringContaining('no address') },
      destination: { observed: true, address, addressFrom: 'arp' },
    });
  }, 180_000);

  it('is not observed, and not zero, when nobody knows the address', async () => {
    const view = await withoutNeighbour(lab.hosts, () => migrate(managed, { vm: 'web', from: 'kvm2', to: 'kvm1' }));
    expect(view.status).toBe('SUCCEEDED');
    const unseen = { observed: false, why: expect.stringContaining('no address') };
    expect(view.result!.blackout).toEqual({ source: unseen, destination: unseen });
    await noProbeIsLeft();
  }, 180_000);

  it('finds addresses as virsh does, and no agent where there is none', async () => {
    await pingFrom('kvm1');
    const { domain, close } = await domainOn('kvm1');
    try {
      const table = await execText(lab, 'kvm1', ['virsh', '--quiet', 'domifaddr', 'web', '--source', 'arp']);
      const [, mac, , cidr] = table.trim().split(/\s+/);
      expect(await domain.guestAddresses('arp')).toEqual([{ mac, addresses: [cidr!.split('/')[0]] }]);
      await expect(domain.guestAddresses('guest-agent')).rejects.toMatchObject({ answered: true });
    } finally {
      await close();
    }
  });

  it('ends sooner where the guest is announced again, which leaves it as it was', async () => {
    const before = await guestStatus(address);
    const { tap, mac } = await nicOn('kvm1');
    const entry = async () => (await execText(lab, 'kvm1', ['bridge', 'fdb', 'show', 'br', 'br0'])).split('\n');
    const known = async () => (await entry()).some((line) => line.startsWith(`${mac} dev ${tap} `));
    const { domain, close } = await domainOn('kvm1');
    try {
      // The end of its last connection may still be on its way, and would tell the bridge as well.
      await until('the guest is silent, and the bridge does not know where it is', async () => {
        await execText(lab, 'kvm1', ['bridge', 'fdb', 'replace', mac, 'dev', 'eth0', 'master', 'dynamic']);
        await sleep(300);
        return !(await known());
      });
      await domain.announce();
      await until('the bridge knows where the guest is', known);
    } finally {
      await close();
    }
    expect(await guestStatus(address)).toMatchObject({ bootId: before.bootId, patternErrors: 0 });
  });

  it('is ended by another announcement when the network has not heard the first ones', async () => {
    await stateIs('kvm1');
    const id = await request(managed, {
      vm: 'web',
      from: 'kvm1',
      to: 'kvm2',
      guestAddress: address,
      policy: { cutover: 'manual', bandwidthMiBps: SLOW_MIBPS },
    });
    await reaches(managed, id, 'is held', ({ status }) => status === 'HELD');
    // The destination's own bridge drops the guest's frames, and still forwards frames for the guest to its old place.
    const tap = await incomingTap('kvm2');
    const bridge = (...rule: string[]) => execText(lab, 'kvm2', ['ebtables', '-t', 'nat', ...rule]);
    await bridge('-A', 'PREROUTING', '-i', tap, '-p', '0x8035', '-j', 'CONTINUE');
    await bridge('-A', 'PREROUTING', '-i', tap, '-j', 'DROP');
    const announcements = async () =>
      Number(/RARP.*pcnt = (\d+)/.exec(await bridge('-L', 'PREROUTING', '--Lc'))?.[1] ?? Number.NaN);
    expect(await announcements()).toBe(0);
    await managed.api.call('POST', `/migrations/${id}/cutover`);
    // QEMU announces its guest five times by itself; the sixth is ours, and the network hears the rest of them.
    await until('it is announced again', async () => (await announcements()) > 5, { timeoutMs: 60_000 }).catch(
      async (error) => {
        const { timeline } = await getMigration(managed.api, id);
        throw new Error(`${await announcements()} announcements: ${JSON.stringify(timeline)}`, { cause: error });
      },
    );
    await bridge('-F', 'PREROUTING');
    const view = await ended(managed, id);
    expect(view, JSON.stringify(view.failure)).toMatchObject({ status: 'SUCCEEDED', runsOn: 'kvm2' });
    const reported = await until('the destination has reported', async () => {
      const { result, timeline } = await getMigration(managed.api, id);
      return (
        timeline.some(({ event }) => event === 'observe-guest succeeded') && {
          blackout: result?.blackout?.destination,
          timeline,
        }
      );
    });
    expect(reported.blackout, JSON.stringify(reported.blackout)).toMatchObject({
      observed: true,
      announcedAgain: true,
    });
    expect(reported.timeline.map(({ event }) => event)).toContain('guest announced again');
    await noProbeIsLeft();
  }, 180_000);

  it('leaves no probe behind when the mover is killed', async () => {
    const id = await request(managed, {
      vm: 'web',
      from: 'kvm2',
      to: 'kvm1',
      guestAddress: address,
      policy: { cutover: 'manual', heartbeatTimeoutSeconds: 10, bandwidthMiBps: SLOW_MIBPS },
    });
    await reaches(managed, id, 'is held', ({ status }) => status === 'HELD');
    expect((await exec(lab, 'kvm2', ['pgrep', '-x', 'ping'])).exitCode).toBe(0);
    const { pid } = JSON.parse(await execText(lab, 'kvm2', ['cat', `/run/handoff/${id}.pid`])) as { pid: number };
    await execText(lab, 'kvm2', ['kill', '-KILL', `${pid}`]);
    await noProbeIsLeft();
    await managed.api.call('POST', `/migrations/${id}/cutover`);
    expect(await ended(managed, id)).toMatchObject({ status: 'FAILED', runsOn: 'kvm2' });
  }, 180_000);

  const stateIs = async (host: HostName) => expect(await stateOn(lab, host, 'web')).toMatch(/^running/);

  /** libvirt lists no interfaces of an incoming copy. */
  async function incomingTap(host: HostName): Promise<string> {
    const ports = await execText(lab, host, ['ip', '-json', 'link', 'show', 'master', 'br0', 'type', 'tun']);
    return (JSON.parse(ports) as { ifname: string }[])[0]!.ifname;
  }

  async function nicOn(host: HostName): Promise<{ tap: string; mac: string }> {
    const [tap, , , , mac] = (await execText(lab, host, ['virsh', '--quiet', 'domiflist', 'web'])).trim().split(/\s+/);
    return { tap: tap!, mac: mac! };
  }
});
