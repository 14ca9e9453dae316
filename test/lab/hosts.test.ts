import { existsSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeEach, expect, it } from 'vitest';
import { startPing } from '../../lab/clients/ping-probe.ts';
import { startTcp } from '../../lab/clients/tcp-probe.ts';
import { CommandError, run } from '../../lab/command.ts';
import { destroyGuest, guestStatus, plainVirsh, setDirtyRate, startGuest } from '../../lab/guest/guests.ts';
import { credentialsFile, installAgent, labStatus } from '../../lab/hosts/lab.ts';
import { signalLibvirtd, signalQemu, startLibvirtd, stopLibvirtd } from '../../lab/hosts/libvirtd.ts';
import { MigrationLink } from '../../lab/hosts/migration-link.ts';
import { addBridge, limitLink, setLink } from '../../lab/hosts/network.ts';
import { exec, execText } from '../../lab/hosts/node.ts';
import { addressOf, folderOf, libvirtSocketOf, libvirtUriOf } from '../../lab/hosts/plan.ts';
import { until } from '../../lab/hosts/until.ts';
import { describeWithLab, guestAddress } from './support/describe-with-lab.ts';

describeWithLab('a lab host', (lab) => {
  it('has its own name, processes, libvirt and /run', async () => {
    for (const host of lab().hosts) {
      expect((await execText(lab(), host, ['hostname'])).trim()).toBe(host);
      expect(await execText(lab(), host, ['virsh', 'uri'])).toContain('qemu:///system');
      expect(await execText(lab(), host, ['pgrep', '--count', 'libvirtd'])).toBe('1\n');
    }
    await execText(lab(), 'kvm1', ['touch', '/run/mine']);
    expect((await exec(lab(), 'kvm2', ['test', '-e', '/run/mine'])).exitCode).toBe(1);
    expect(existsSync('/run/mine')).toBe(false);
  });

  it('is reached over TCP and over its unix socket from the machine, and reaches the machine', async () => {
    const socket = `qemu+unix:///system?socket=${libvirtSocketOf(lab(), 'kvm1')}`;
    expect((await run(['virsh', '-c', socket, 'hostname'])).trim()).toBe('kvm1');
    expect((await run(['virsh', '-c', libvirtUriOf(lab(), 'kvm2'), 'hostname'])).trim()).toBe('kvm2');
    await execText(lab(), 'kvm1', ['ping', '-c', '1', '-W', '2', addressOf(lab(), 'machine')]);
  });

  it('keeps its MAC address when a guest is plugged into its bridge', async () => {
    const macOfBridge = async () => (await execText(lab(), 'kvm1', ['cat', '/sys/class/net/br0/address'])).trim();
    const before = await macOfBridge();
    // Lower than any other, as a bridge goes.
    await execText(lab(), 'kvm1', ['ip', 'tuntap', 'add', 'low', 'mode', 'tap']);
    await execText(lab(), 'kvm1', ['ip', 'link', 'set', 'low', 'address', '00:00:00:00:00:01']);
    await execText(lab(), 'kvm1', ['ip', 'link', 'set', 'low', 'master', 'br0']);
    expect(await macOfBridge()).toBe(before);
    await execText(lab(), 'kvm1', ['ip', 'link', 'delete', 'low']);
  });

  it('runs the agent by name, with the environment it is given and the credentials file of the host', async () => {
    const agent = `console.log(process.argv.slice(2), process.env.GIVEN, process.env.AWS_SHARED_CREDENTIALS_FILE)`;
    await writeFile(join(folderOf(lab(), 'kvm2'), 'run/agent.mjs'), agent);
    await installAgent(lab(), '/run/agent.mjs');
    const outcome = await exec(lab(), 'kvm2', ['handoff-agent', 'run', 'x'], { env: { GIVEN: 'yes' } });
    expect(outcome.stdout.toString()).toBe("[ 'run', 'x' ] yes /run/aws/credentials\n");
    expect(credentialsFile(lab(), 'kvm2')).toBe(join(folderOf(lab(), 'kvm2'), 'run/aws/credentials'));
  });

  it('ends a command and its children when the signal says so', async () => {
    const abort = new AbortController();
    const running = exec(lab(), 'kvm1', ['sh', '-c', 'sleep 1234 & sleep 1234'], { signal: abort.signal });
    await until('it runs', async () => (await exec(lab(), 'kvm1', ['pgrep', '-f', 'sleep 1234'])).exitCode === 0);
    abort.abort();
    expect((await running).exitCode).toBe(137);
    expect((await exec(lab(), 'kvm1', ['pgrep', '-f', 'sleep 1234'])).exitCode).toBe(1);
  });

  it('survives the end of its libvirtd, frozen or killed', async () => {
    await signalLibvirtd(lab(), 'kvm2', 'SIGSTOP');
    const ask = ['timeout', '1', 'virsh', '-c', libvirtUriOf(lab(), 'kvm2'), 'hostname'];
    expect((await exec(lab(), 'kvm1', ask)).exitCode).toBe(124);
    await signalLibvirtd(lab(), 'kvm2', 'SIGCONT');
    await stopLibvirtd(lab(), 'kvm2', 'SIGKILL');
    expect((await exec(lab(), 'kvm1', ask)).exitCode).toBe(1);
    await startLibvirtd(lab(), 'kvm2');
    expect(await execText(lab(), 'kvm1', ask)).toContain('kvm2');
  });

  it('can have its cable pulled and its link held at a rate', async () => {
    const ping = ['ping', '-c', '1', '-W', '1', addressOf(lab(), 'kvm2')];
    await setLink(lab(), 'kvm2', 'down');
    expect((await exec(lab(), 'client', ping)).exitCode).toBe(1);
    await setLink(lab(), 'kvm2', 'up');
    await until('it answers again', async () => (await exec(lab(), 'client', ping)).exitCode === 0);
    await limitLink(lab(), 'kvm2', 100);
    expect(await execText(lab(), 'kvm2', ['tc', 'qdisc', 'show', 'dev', 'eth0'])).toContain('tbf');
    await limitLink(lab(), 'kvm2', undefined);
    expect(await execText(lab(), 'kvm2', ['tc', 'qdisc', 'show', 'dev', 'eth0'])).not.toContain('tbf');
  });

  it('can have a link of its own for migrations, which carries what one host sends the other and nothing else', async () => {
    const link = await MigrationLink.between(lab(), 'kvm1', 'kvm2');
    await link.limit(20);
    expect(await execText(lab(), 'kvm1', ['tc', 'qdisc', 'show', 'dev', 'migration'])).toContain('tbf');
    const before = await link.carriedBytes();
    const ping = ['ping', '-c', '1', '-W', '2', '-s', '10000'];
    await execText(lab(), 'kvm1', [...ping, addressOf(lab(), 'client')]);
    expect((await link.carriedBytes()) - before).toBeLessThan(10_000);
    await execText(lab(), 'kvm1', [...ping, addressOf(lab(), 'kvm2')]);
    expect((await link.carriedBytes()) - before).toBeGreaterThan(20_000);
    await link.limit(undefined);
    expect(await execText(lab(), 'kvm1', ['tc', 'qdisc', 'show', 'dev', 'migration'])).not.toContain('tbf');
  });
});

describeWithLab('a lab guest', (lab) => {
  let address: string;
  beforeEach(() => {
    address = guestAddress(lab());
    return destroyGuest(lab(), 'web');
  });

  it('boots, dirties memory at the rate it is told, and writes to its disk', async () => {
    await startGuest(lab(), 'kvm1', { name: 'web', address, dirtyMiBps: 0 });
    const before = await guestStatus(address);
    expect(before).toMatchObject({ dirtiedBytes: 0, dirtyMiBps: 0, patternErrors: 0, diskErrors: 0 });
    await setDirtyRate(address, 10);
    const after = await until('it has written 10 MiB and 10 ticks', async () => {
      const now = await guestStatus(address);
      return now.dirtiedBytes > 10 * 1024 * 1024 && now.ticks > before.ticks + 10 ? now : undefined;
    });
    expect(after).toMatchObject({ bootId: before.bootId, dirtyMiBps: 10, patternErrors: 0, diskErrors: 0 });
  }, 60_000);

  it('notices a second writer on its disk', async () => {
    await startGuest(lab(), 'kvm1', { name: 'web', address });
    const disk = `nbd://${addressOf(lab(), 'rack')}:10801/web`;
    await until('the guest sees a tick that is not its own', async () => {
      await execText(lab(), 'rack', ['qemu-io', '-f', 'raw', '-c', 'write -P 7 0 4M', disk]);
      return (await guestStatus(address)).diskErrors > 0;
    });
  }, 60_000);

  it('is gone at once when its QEMU is killed', async () => {
    await startGuest(lab(), 'kvm1', { name: 'web', address });
    await signalQemu(lab(), 'kvm1', 'web', 'SIGKILL');
    await until('libvirt has seen it', async () => (await labStatus(lab()))[0]?.guests?.web === 'shut off');
    await expect(guestStatus(address)).rejects.toThrow();
  }, 60_000);

  it('moves with plain virsh, there and back, and neither it nor its clients are harmed', async () => {
    await startGuest(lab(), 'kvm1', { name: 'web', address });
    const before = await guestStatus(address);
    const ping = await startPing(lab(), address);
    const tcp = await startTcp(lab(), address);
    await plainVirsh(lab(), { from: 'kvm1', to: 'kvm2', guest: 'web' });
    expect((await labStatus(lab())).map(({ guests }) => guests)).toEqual([{}, { web: 'running' }]);
    await plainVirsh(lab(), { from: 'kvm2', to: 'kvm1', guest: 'web' });
    const [pinged, talked] = [await ping.stop(), await tcp.stop()];
    const after = await guestStatus(address);

    expect(after).toMatchObject({ bootId: before.bootId, pid: before.pid, patternErrors: 0, diskErrors: 0 });
    expect(after.ticks).toBeGreaterThan(before.ticks);
    expect(talked).toMatchObject({ survived: true, lost: 0, wrong: 0 });
    expect(talked.answered).toBe(talked.sent);
    expect(pinged.answered).toBeGreaterThan(0);
    expect(pinged.longestGapMs).toBeGreaterThan(10);
    expect(talked.longestGapMs).toBeGreaterThan(10);
  }, 60_000);

  it('moves without a definition when it has none', async () => {
    await startGuest(lab(), 'kvm1', { name: 'web', address, persistent: false });
    await plainVirsh(lab(), { from: 'kvm1', to: 'kvm2', guest: 'web' }, { persistent: false });
    expect(await execText(lab(), 'kvm2', ['virsh', 'dominfo', 'web'])).toMatch(/Persistent: +no/);
  }, 60_000);

  it('cannot move with a local disk, or to a host without its bridge', async () => {
    await startGuest(lab(), 'kvm1', { name: 'web', address, disk: 'local' });
    const move = () => plainVirsh(lab(), { from: 'kvm1', to: 'kvm2', guest: 'web' });
    await expect(move()).rejects.toThrow(/shared storage/);
    await destroyGuest(lab(), 'web');
    await addBridge(lab(), 'kvm1', 'br9');
    await startGuest(lab(), 'kvm1', { name: 'web', address, bridge: 'br9' });
    await expect(move()).rejects.toThrow(CommandError);
    await expect(move()).rejects.toThrow(/br9/);
  }, 60_000);
});
