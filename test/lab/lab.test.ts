/** Bringing labs up and down: again, at the same time, and after a run that ended in the middle. */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { afterAll, describe, expect, it, vi } from 'vitest';
import { run } from '../../lab/command.ts';
import { guestStatus, startGuest } from '../../lab/guest/guests.ts';
import { downLab, type Lab, labStatus, openLab, upLab } from '../../lab/hosts/lab.ts';
import { exec, nodePid } from '../../lab/hosts/node.ts';
import { addressOf, labFolder, uplinkOf } from '../../lab/hosts/plan.ts';
import { labSupport } from '../../lab/hosts/support.ts';
import { until } from '../../lab/hosts/until.ts';
import { guestAddress } from './support/describe-with-lab.ts';

/** No other run of these tests has it. */
const NAME = `t${process.pid.toString(36)}`;
const MODULE = new URL('../../lab/hosts/lab.ts', import.meta.url).href;

describe.skipIf(!labSupport().able && process.env.CI === undefined)('bringing a lab up and down', () => {
  afterAll(() => downLab(NAME));

  it('is up twice in a row, the second time afresh', async () => {
    const first = await upLab({ name: NAME });
    await startGuest(first, 'kvm1', { name: 'left', address: guestAddress(first), disk: 'none' });
    const second = await upLab({ name: NAME });
    expect((await labStatus(second)).map(({ guests }) => guests)).toEqual([{}, {}]);
    expect(await openLab(NAME)).toEqual(second);
  }, 60_000);

  it('leaves nothing when it is taken down', async () => {
    const lab = await upLab({ name: NAME });
    await startGuest(lab, 'kvm1', { name: 'left', address: guestAddress(lab) });
    await downLab(NAME);
    expect(await tracesOf(NAME)).toEqual([]);
    await expect(openLab(NAME)).rejects.toThrow(`lab "${NAME}" is not up`);
  }, 60_000);

  it('says what is wrong with a lab that lost a node', async () => {
    const lab = await upLab({ name: NAME });
    const pid = nodePid(lab, 'kvm1');
    process.kill(pid, 'SIGKILL');
    await until('the node is gone', () => !existsSync(`/proc/${pid}`));
    await expect(openLab(NAME)).rejects.toThrow('kvm1 gone');
  });

  it('does not take a network that is in use, or a name that another process needs', async () => {
    const lab = await upLab();
    try {
      await expect(upLab({ name: NAME, subnet: lab.subnet })).rejects.toThrow(`${lab.subnet}.0/24 is in use by`);
      expect(await tracesOf(NAME)).toEqual([]);
      await expect(upLab({ name: lab.name })).rejects.toThrow(`lab "${lab.name}" belongs to process ${process.pid}`);
      expect(await labStatus(await openLab(lab.name))).toHaveLength(2);
    } finally {
      await downLab(lab.name);
    }
  }, 60_000);

  it('chooses another subnet and other names for each of several labs that come up at the same moment', async () => {
    const others = [startProcess('await up();'), startProcess('await up();')];
    const own = await upLab();
    try {
      const labs = [own, ...(await Promise.all(others.map((each) => each.lab)))];
      for (const part of ['name', 'subnet', 'folder', 'uplink'] as const) {
        expect(new Set(labs.map((lab) => lab[part])).size, part).toBe(labs.length);
      }
      // The same guest in each, at the same place: none meets another's network, disk or definition.
      await Promise.all(
        labs.map((lab) => startGuest(lab, 'kvm1', { name: 'web', address: guestAddress(lab), memoryMiB: 256 })),
      );
      const boots = await Promise.all(labs.map((lab) => guestStatus(guestAddress(lab))));
      expect(new Set(boots.map(({ bootId }) => bootId)).size).toBe(labs.length);
      for (const { diskErrors } of boots) expect(diskErrors).toBe(0);
      for (const lab of labs) {
        const other = labs.find((each) => each !== lab)!;
        const ping = (address: string) => exec(lab, 'client', ['ping', '-c', '1', '-W', '1', address]);
        expect((await ping(addressOf(lab, 'kvm2'))).exitCode).toBe(0);
        expect((await ping(addressOf(other, 'kvm2'))).exitCode).not.toBe(0);
      }
    } finally {
      await Promise.all(others.map(({ child }) => kill(child)));
      await downLab(own.name);
    }
    await expectRemovedByTheNext(await Promise.all(others.map(async (each) => (await each.lab).name)));
  }, 120_000);

  it('removes what a killed run left, wherever it was killed', async () => {
    const moments: [string, (name: string) => boolean | Promise<boolean>][] = [
      ['it has its folder', (name) => existsSync(labFolder(name))],
      [
        'its first node runs',
        async (name) => (await tracesOf(name)).some((trace) => trace.includes('handoff-lab-node')),
      ],
      ['it has its network', (name) => existsSync(`/sys/class/net/${uplinkOf(name)}`)],
      ['its libvirtd starts', (name) => existsSync(`${labFolder(name)}/kvm1/run/libvirt`)],
    ];
    for (const [moment, isReached] of moments) {
      const { child } = startProcess(`await upLab({ name: '${NAME}' });`);
      await until(moment, () => isReached(NAME));
      await kill(child);
      await downLab(NAME);
      await expectNothingOf(NAME);
    }
    // Nobody takes this one down: the next lab to come up, of whatever name, finds it.
    const { child } = startProcess(`await upLab({ name: '${NAME}' });`);
    await until('it has its network', () => existsSync(`/sys/class/net/${uplinkOf(NAME)}`));
    await kill(child);
    await expectRemovedByTheNext([NAME]);
    expect(await labStatus(await upLab({ name: NAME }))).toHaveLength(2);
  }, 120_000);
});

async function expectRemovedByTheNext(names: readonly string[]): Promise<void> {
  const next = await upLab();
  await downLab(next.name);
  for (const name of names) await expectNothingOf(name);
}

async function expectNothingOf(name: string): Promise<void> {
  await vi.waitFor(async () => expect(await tracesOf(name)).toEqual([]), { timeout: 5_000, interval: 100 });
}

/** Kills a process, and waits for the command that it was running: one that outlives it may still add something to its lab. */
async function kill(child: ChildProcess): Promise<void> {
  const started = readFileSync(`/proc/${child.pid}/task/${child.pid}/children`, 'utf8').split(' ').filter(Boolean);
  child.kill('SIGKILL');
  await until('it is dead', () => child.signalCode !== null);
  await until('its commands are over', async () => !(await Promise.all(started.map(isCommand))).includes(true));
}

/** Whether the process runs, and is not a node of a lab, which lives on. */
async function isCommand(pid: string): Promise<boolean> {
  const command = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '');
  return command !== '' && !command.includes('handoff-lab-node');
}

/** A process that brings a lab up and lives on; `up()` in its script brings it up and reports it. */
function startProcess(script: string): { child: ChildProcess; lab: Promise<Lab> } {
  const program = `import { upLab } from '${MODULE}';
    const up = async () => console.log(JSON.stringify(await upLab()));
    ${script}
    setInterval(() => {}, 1_000);`;
  const argv = ['--input-type=module', '--eval', program];
  const child = spawn(process.execPath, argv, { stdio: ['ignore', 'pipe', 'inherit'] });
  let output = '';
  const lab = new Promise<Lab>((resolve, reject) => {
    child.stdout.on('data', (chunk: Buffer) => {
      output += chunk;
      if (output.includes('\n')) resolve(JSON.parse(output) as Lab);
    });
    child.once('close', (code) => reject(new Error(`the process ended with ${code}`)));
  });
  // Only some wait for it.
  lab.catch(() => {});
  return { child, lab };
}

/** Whatever of a lab the machine still has: processes, interfaces, mounts, files. */
async function tracesOf(name: string): Promise<string[]> {
  const mark = new RegExp(`handoff-${name}(?![0-9a-z])`);
  const processes = (await readdir('/proc')).filter((entry) => /^\d+$/.test(entry) && Number(entry) !== process.pid);
  const commands = await Promise.all(processes.map((pid) => readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')));
  return [
    ...commands.filter((command) => mark.test(command)),
    ...(await run(['ip', '-oneline', 'link', 'show'])).split('\n').filter((line) => mark.test(line)),
    ...(await readFile('/proc/mounts', 'utf8')).split('\n').filter((line) => mark.test(line)),
    ...(await readdir('/run')).filter((entry) => entry === `handoff-${name}`),
  ];
}
