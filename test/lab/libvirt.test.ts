/** The wire client against real libvirt daemons and a real guest, with virsh as the second opinion. */

import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Domain, HypervisorConnection, HypervisorError, JobStats } from '../../agent/hypervisor.ts';
import { connectLibvirt, type LibvirtOptions } from '../../agent/libvirt/connect.ts';
import { measureDirtyRate } from '../../agent/measure/dirty-rate.ts';
import { systemClock } from '../../common/clock.ts';
import { MIB } from '../../common/units.ts';
import { type Relay, relayTo } from '../../lab/clients/libvirt-relay.ts';
import { run } from '../../lab/command.ts';
import { destroyGuest, type GuestStatus, guestStatus, startGuest } from '../../lab/guest/guests.ts';
import { signalLibvirtd } from '../../lab/hosts/libvirtd.ts';
import { addressOf, type HostName, libvirtSocketOf, libvirtUriOf } from '../../lab/hosts/plan.ts';
import { until } from '../../lab/hosts/until.ts';
import { describeWithLab, guestAddress } from './support/describe-with-lab.ts';

const guest = { name: 'lv-a', memoryMiB: 256, workingSetMiB: 64, dirtyMiBps: 20 };
const vm = { name: guest.name, persistent: true };

describeWithLab('the wire client', (lab) => {
  let before: GuestStatus;
  let address: string;
  const connected: HypervisorConnection[] = [];

  beforeEach(async () => {
    address = guestAddress(lab());
    await startGuest(lab(), 'kvm1', { ...guest, address });
    before = await guestStatus(address);
  });

  afterEach(async () => {
    await Promise.all(connected.splice(0).map((hypervisor) => hypervisor.close()));
    await destroyGuest(lab(), guest.name);
  });

  async function connectTo(uri: string, options?: LibvirtOptions): Promise<HypervisorConnection> {
    const hypervisor = await connectLibvirt(uri, options);
    connected.push(hypervisor);
    return hypervisor;
  }

  function connect(host: HostName, options?: LibvirtOptions): Promise<HypervisorConnection> {
    return connectTo(libvirtUriOf(lab(), host), options);
  }

  async function virsh(host: HostName, ...args: string[]): Promise<string> {
    return (await run(['virsh', '-q', '-c', libvirtUriOf(lab(), host), ...args])).trim();
  }

  /** A mover's two connections, with Begin and Prepare done. */
  async function prepared(from = libvirtUriOf(lab(), 'kvm1'), to = libvirtUriOf(lab(), 'kvm2')) {
    const source = await connectTo(from);
    const destination = await connectTo(to);
    const domain = (await source.find(guest.name))!;
    const { xml, cookie } = await domain.begin(vm);
    const { uri, cookie: ready } = await destination.prepare({ ...vm, xml, cookie });
    return { source, destination, domain, input: { ...vm, xml, uri }, cookie: ready };
  }

  /** The copy under way at 40 MiB/s: at least some seconds of it. */
  async function performing(...uris: string[]) {
    const mover = await prepared(...uris);
    const { domain, input, cookie } = mover;
    const copy = domain.perform({ ...input, cookie });
    const outcome = copy.then(
      () => undefined,
      (error: HypervisorError) => error,
    );
    // A speed set before QEMU has begun is forgotten.
    await until('the copy begins', async () => ((await domain.job())?.bytesTotal ?? 0) > 0);
    await domain.setMaxSpeedMiBps(40);
    return { ...mover, copy, outcome };
  }

  async function migrate(from: HostName, to: HostName): Promise<JobStats | undefined> {
    const { destination, domain, input, cookie } = await prepared(libvirtUriOf(lab(), from), libvirtUriOf(lab(), to));
    const copied = await domain.perform({ ...input, cookie });
    const finished = await destination.finish({ ...input, cookie: copied.cookie, cancelled: false });
    await domain.confirm({ ...vm, cookie: finished.cookie, cancelled: false });
    return await (await destination.find(guest.name))!.lastJob();
  }

  /** What recovery would see, asked over connections of its own. */
  async function seen(host: HostName): Promise<string> {
    const hypervisor = await connect(host);
    const domain = await hypervisor.find(guest.name);
    return domain === undefined ? 'absent' : (await domain.state()).state;
  }

  async function expectUnharmed(): Promise<void> {
    const after = await until('the guest answers', () => guestStatus(address).catch(() => undefined));
    expect(after).toMatchObject({ bootId: before.bootId, patternErrors: 0, diskErrors: 0 });
  }

  describe('beside virsh', () => {
    it('sees the same hosts and guests, over TCP and the unix socket', async () => {
      const tcp = await connect('kvm1');
      const unix = await connectTo(`qemu+unix:///system?socket=${libvirtSocketOf(lab(), 'kvm1')}`);
      expect(await unix.list()).toEqual(await tcp.list());
      expect(await tcp.list()).toEqual([
        { name: guest.name, uuid: await virsh('kvm1', 'domuuid', guest.name), state: 'running', memoryMiB: 256 },
      ]);
      expect(await virsh('kvm1', 'capabilities')).toContain(`<uuid>${await tcp.hostUuid()}</uuid>`);
      expect(await tcp.hostUuid()).not.toBe(await (await connect('kvm2')).hostUuid());

      const { libvirt, qemu } = await tcp.versions();
      const dotted = (version: number) =>
        [version / 1_000_000, (version / 1_000) % 1_000, version % 1_000].map(Math.floor).join('.');
      const text = await virsh('kvm1', 'version');
      expect(text).toContain(`library: libvirt ${dotted(libvirt)}`);
      expect(text).toContain(`hypervisor: QEMU ${dotted(qemu)}`);
    });

    // As after a cancelled preflight, which measures on; the second one begins in the midst of a look, and between two.
    it.each([300, 1_010])('has a guest measured by two agents at a time, one %d ms after the other', async (later) => {
      const looks = { vcpus: 1, mostBytes: 256 * MIB, linkBytesPerSecond: Promise.resolve(MIB) };
      const measured = await Promise.all(
        [0, later].map(async (delay) => {
          const domain = (await (await connect('kvm1')).find(guest.name))!;
          await systemClock.sleep(delay);
          return measureDirtyRate(domain, systemClock, looks);
        }),
      );
      for (const { dirtyBytesPerSecond } of measured) expect(dirtyBytesPerSecond).toBeGreaterThan(4 * MIB);
    });

    it('says the same of a guest', async () => {
      const domain = (await (await connect('kvm1')).find(guest.name))!;
      expect((await domain.state()).detail).toBe(await virsh('kvm1', 'domstate', '--reason', guest.name));
      expect((await domain.xml()).trim()).toBe(await virsh('kvm1', 'dumpxml', guest.name));
      expect((await domain.xml({ inactive: true })).trim()).toBe(
        await virsh('kvm1', 'dumpxml', '--inactive', guest.name),
      );
      expect((await domain.xml({ migratable: true })).trim()).toBe(
        await virsh('kvm1', 'dumpxml', '--migratable', guest.name),
      );
      expect(await domain.persistent()).toBe(true);
      expect(await domain.disks()).toEqual(['vda']);
      expect(await domain.diskErrors()).toEqual([]);
      expect(await domain.job()).toBeUndefined();
      expect(await domain.lastJob()).toBeUndefined();
    });

    it('follows it through pause, resume, end and removal', async () => {
      const hypervisor = await connect('kvm1');
      const domain = (await hypervisor.find(guest.name))!;
      await virsh('kvm1', 'suspend', guest.name);
      expect(await domain.state()).toEqual({ state: 'paused', detail: 'paused (user)' });
      const stopped = await domain.cpuTimeNs();
      expect(await domain.cpuTimeNs()).toBe(stopped);
      await domain.resume();
      await until('the vCPU runs again', async () => (await domain.cpuTimeNs()) > stopped);
      await domain.destroy();
      expect(await domain.state()).toEqual({ state: 'shutoff', detail: 'shut off (destroyed)' });
      expect(await domain.job()).toBeUndefined();
      expect(await hypervisor.list()).toMatchObject([{ name: guest.name, state: 'shutoff' }]);
      await domain.undefine();
      expect(await hypervisor.find(guest.name)).toBeUndefined();
      expect(await domain.state()).toMatchObject({ state: 'absent' });
      await expect(domain.resume()).rejects.toMatchObject({ answered: true, libvirtCode: 42 });
    });

    it('judges platforms as libvirt does', async () => {
      const hypervisor = await connect('kvm2');
      const platform = { emulator: '/usr/bin/qemu-system-x86_64', arch: 'x86_64', machine: 'pc', virtType: 'qemu' };
      expect(await hypervisor.domainCapabilities(platform)).toContain('<domainCapabilities>');
      await expect(hypervisor.domainCapabilities({ ...platform, machine: 'nonesuch' })).rejects.toMatchObject({
        answered: true,
        message: expect.stringContaining("the machine 'nonesuch' is not supported"),
      });
      const cpu = (model: string) => `<cpu mode='custom' match='exact'><model fallback='forbid'>${model}</model></cpu>`;
      expect(await hypervisor.compareCpu(platform, cpu('qemu64'))).toBe('superset');
      expect(await hypervisor.networkActive('nonesuch')).toBe(false);
      expect(await hypervisor.freeMemoryMiB()).toBeGreaterThan(0);
    });

    it('reads the same numbers of a job', async () => {
      const { domain, outcome } = await performing();
      const job = (await domain.job())!;
      const text = await virsh('kvm1', 'domjobinfo', '--rawstats', guest.name);
      expect(text).toContain(`data_total: ${job.bytesTotal}`);
      expect(text).toContain(`memory_iteration: ${job.iteration}`);
      const remaining = Number(/data_remaining: (\d+)/.exec(text)?.[1]);
      expect(remaining).toBeLessThanOrEqual(job.bytesRemaining);
      expect(remaining).toBeGreaterThan(0);
      expect(job.operation).toBe('migration-out');
      await domain.abortJob();
      await outcome;
    });
  });

  describe('the five calls', () => {
    it('move a guest there and back, its memory intact', async () => {
      for (const [from, to] of [['kvm1', 'kvm2'] as const, ['kvm2', 'kvm1'] as const]) {
        const job = await migrate(from, to);
        expect(job).toMatchObject({ operation: 'migration-in', downtimeMs: expect.any(Number) });
        expect([await seen(from), await seen(to)]).toEqual(['absent', 'running']);
        await expectUnharmed();
      }
      expect(await virsh('kvm1', 'dominfo', guest.name)).toMatch(/Persistent: +yes/);
    });

    it('leave each side in the state recovery expects, phase by phase', async () => {
      const { destination, domain, input, cookie } = await prepared();
      expect([await seen('kvm1'), await seen('kvm2')]).toEqual(['running', 'incoming']);
      const copied = await domain.perform({ ...input, cookie });
      expect([await seen('kvm1'), await seen('kvm2')]).toEqual(['migrating-paused', 'incoming']);
      expect(await (await connect('kvm2')).list()).toMatchObject([{ name: guest.name, state: 'incoming' }]);
      const finished = await destination.finish({ ...input, cookie: copied.cookie, cancelled: false });
      expect([await seen('kvm1'), await seen('kvm2')]).toEqual(['migrating-paused', 'running']);
      await domain.confirm({ ...vm, cookie: finished.cookie, cancelled: false });
      expect([await seen('kvm1'), await seen('kvm2')]).toEqual(['absent', 'running']);
    });

    it('leave all other calls free while the copy lasts, more at once than libvirt takes', async () => {
      const { source, domain, outcome } = await performing();
      const answers = await Promise.all(
        Array.from({ length: 12 }, (_, n) => (n % 2 === 0 ? domain.job() : source.list())),
      );
      expect(answers.filter((answer) => answer === undefined)).toEqual([]);
      expect((await domain.job())?.operation).toBe('migration-out');
      await domain.abortJob();
      await outcome;
    });

    it('cancelled after Perform: the copy goes, then the source runs on', async () => {
      const { destination, domain, input, cookie } = await prepared();
      const copied = await domain.perform({ ...input, cookie });
      const finished = await destination.finish({ ...input, cookie: copied.cookie, cancelled: true });
      expect([await seen('kvm1'), await seen('kvm2')]).toEqual(['migrating-paused', 'absent']);
      await domain.confirm({ ...vm, cookie: finished.cookie, cancelled: true });
      expect(await seen('kvm1')).toBe('running');
      await expectUnharmed();
    });

    it('aborted during Perform: the source never stops', async () => {
      const { destination, domain, input, outcome } = await performing();
      await domain.abortJob();
      expect(await outcome).toMatchObject({ answered: true });
      await destination.finish({ ...input, cookie: Buffer.alloc(0), cancelled: true });
      await until('the job is gone', async () => (await domain.job()) === undefined);
      expect([await seen('kvm1'), await seen('kvm2')]).toEqual(['running', 'absent']);
      await expectUnharmed();
      await migrate('kvm1', 'kvm2');
      await expectUnharmed();
    });
  });

  describe('the brake', () => {
    it('holds the copy before its end, and lets it switch when released', async () => {
      const { domain, destination, input, copy, outcome } = await performing();
      let switched = false;
      void outcome.then(() => {
        switched = true;
      });
      const remaining = async () => (await domain.job())!.bytesRemaining;
      await until('the copy nears its end', async () => (await remaining()) < 15 * MIB, { timeoutMs: 60_000 });
      await Promise.all([domain.setMaxSpeedMiBps(1), domain.setMaxDowntimeMs(1)]);
      const reserve = await remaining();
      await new Promise((resolve) => setTimeout(resolve, 3_000));
      expect(switched).toBe(false);
      expect((await domain.state()).state).toBe('running');
      expect(reserve - (await remaining())).toBeLessThan(10 * MIB);

      const released = performance.now();
      await Promise.all([domain.setMaxDowntimeMs(300), domain.setMaxSpeedMiBps(0)]);
      const { cookie } = await copy;
      const switchMs = performance.now() - released;
      const finished = await destination.finish({ ...input, cookie, cancelled: false });
      await domain.confirm({ ...vm, cookie: finished.cookie, cancelled: false });
      const job = await (await destination.find(guest.name))!.lastJob();
      console.log(
        `held with ${(reserve / MIB).toFixed(1)} MiB left; ${switchMs.toFixed(0)} ms to switch; downtime ${job?.downtimeMs} ms`,
      );
      await expectUnharmed();
    });
  });

  describe('when the mover dies', () => {
    /** Connections that can be cut with nobody's leave, as a SIGKILL cuts them. */
    async function wires() {
      const both = [await relayTo(addressOf(lab(), 'kvm1')), await relayTo(addressOf(lab(), 'kvm2'))] as const;
      relays.push(...both);
      return {
        uris: both.map(({ uri }) => uri),
        destination: both[1],
        cut: () => both.map((relay) => relay.cut()),
      };
    }

    const relays: Relay[] = [];
    afterEach(() => {
      for (const relay of relays.splice(0)) relay.close();
    });

    it.each<[string, (mover: Awaited<ReturnType<typeof prepared>>) => Promise<unknown>, string, string]>([
      ['after Prepare', async () => {}, 'running', 'absent'],
      [
        'after Perform',
        ({ domain, input, cookie }) => domain.perform({ ...input, cookie }),
        'migrating-paused',
        'absent',
      ],
      [
        'after Finish',
        async ({ domain, destination, input, cookie }) => {
          const copied = await domain.perform({ ...input, cookie });
          await destination.finish({ ...input, cookie: copied.cookie, cancelled: false });
        },
        'migrating-paused',
        'running',
      ],
    ])('%s', async (_, reach, source, destination) => {
      const { uris, cut } = await wires();
      const mover = await prepared(...uris);
      await reach(mover);
      cut();
      await until('both sides settle', async () => {
        return (await seen('kvm1')) === source && (await seen('kvm2')) === destination;
      });
      expect(await jobOf('kvm1')).toBeUndefined();
      if (source === 'migrating-paused' && destination === 'absent') {
        await (await (await connect('kvm1')).find(guest.name))!.resume();
        await expectUnharmed();
      }
    });

    it('during Perform: the source runs on, and the call’s outcome is unknown', async () => {
      const { uris, cut } = await wires();
      const { outcome } = await performing(...uris);
      cut();
      expect(await outcome).toMatchObject({ name: 'HypervisorError', answered: false });
      await until('the copy is gone', async () => (await seen('kvm2')) === 'absent');
      await until('the job is gone', async () => (await jobOf('kvm1')) === undefined);
      expect(await seen('kvm1')).toBe('running');
      await expectUnharmed();
    });

    it('while Finish is under way: its answer is lost, and only the state of the domain shows that the guest runs', async () => {
      const { uris, destination: wire } = await wires();
      const { destination, domain, input, cookie } = await prepared(...uris);
      const copied = await domain.perform({ ...input, cookie });
      wire.cutAfterNextCall();
      await expect(destination.finish({ ...input, cookie: copied.cookie, cancelled: false })).rejects.toMatchObject({
        answered: false,
      });
      await until('the guest runs at the destination', async () => (await seen('kvm2')) === 'running');
      expect(await seen('kvm1')).toBe('migrating-paused');
      // The source's connection is still there, so the handover can be brought to its end.
      await domain.confirm({ ...vm, cookie: Buffer.alloc(0), cancelled: false });
      expect([await seen('kvm1'), await seen('kvm2')]).toEqual(['absent', 'running']);
      await expectUnharmed();
    });

    async function jobOf(host: HostName): Promise<JobStats | undefined> {
      const domain: Domain = (await (await connect(host)).find(guest.name))!;
      return await domain.job();
    }
  });

  it('detects by itself that a daemon is dead', async () => {
    const hypervisor = await connect('kvm1', { keepaliveIntervalMs: 200, keepaliveCount: 2 });
    const domain = (await hypervisor.find(guest.name))!;
    await signalLibvirtd(lab(), 'kvm1', 'SIGSTOP');
    try {
      await expect(domain.state()).rejects.toMatchObject({
        answered: false,
        message: expect.stringMatching(/the daemon has been silent for 600 ms/),
      });
      await hypervisor.closed;
    } finally {
      await signalLibvirtd(lab(), 'kvm1', 'SIGCONT');
    }
  });
});
