import { chmod, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { askMover, listenForControl } from '../../../../agent/mover/control-socket.ts';
import type { MoverStatus } from '../../../../agent/mover/mover.ts';
import { MoverProcesses } from '../../../../agent/mover/process.ts';
import { systemClock } from '../../../../common/clock.ts';

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'handoff-run-'));
});
afterEach(() => rm(directory, { recursive: true }));

describe('the control socket', () => {
  const status: MoverStatus = { migrationId: 'web01-5f2c', moverId: 'm', phase: 'held' };
  const heard: unknown[] = [];
  const mover = {
    status: () => status,
    cutover: (requestId: string) => void heard.push(requestId),
  };
  const path = () => join(directory, 'deeper/web01.sock');

  it('takes commands and answers with the state of the mover', async () => {
    const server = await listenForControl(path(), mover);
    try {
      expect(await askMover(path(), { command: 'status' })).toEqual({ ok: true, ...status });
      expect(await askMover(path(), { command: 'cutover', requestId: 'r' })).toMatchObject({ ok: true });
      expect(heard).toEqual(['r']);
      expect(await askMover(path(), { command: 'dance' } as never)).toMatchObject({
        ok: false,
        error: expect.stringContaining('dance'),
      });
      expect(await askMover(path(), { command: 'cutover' } as never)).toMatchObject({ ok: false });
    } finally {
      server.close();
    }
  });

  it('is for root alone', async () => {
    const server = await listenForControl(path(), mover);
    try {
      expect((await stat(path())).mode & 0o777).toBe(0o600);
      expect((await stat(join(directory, 'deeper'))).mode & 0o777).toBe(0o700);
    } finally {
      server.close();
    }
  });

  it('takes the place of one that a killed mover left', async () => {
    await writeFile(join(directory, 'web01.sock'), '');
    const server = await listenForControl(join(directory, 'web01.sock'), mover);
    expect(await askMover(join(directory, 'web01.sock'), { command: 'status' })).toMatchObject({ ok: true });
    server.close();
  });

  it('that nobody listens on is no mover', async () => {
    expect(await askMover(join(directory, 'none.sock'), { command: 'status' })).toBeUndefined();
  });
});

describe('a mover process', () => {
  /** Stands for `handoff-agent mover <id>`: makes itself known as a mover does, then waits. */
  async function script(): Promise<string> {
    const path = join(directory, 'agent.ts');
    const at = (file: string) => JSON.stringify(new URL(`../../../../agent/mover/${file}`, import.meta.url).href);
    await writeFile(
      path,
      `import { runMoverProcess } from ${at('process.ts')};
       const [, , , requestId] = process.argv;
       const migrationId = requestId.split('.')[0];
       const status = () => ({ migrationId, moverId: process.env.MARK, phase: 'held' });
       const mover = { status, cutover() {}, cancel: () => true, run: () => new Promise((resolve) => setTimeout(resolve, 60_000)) };
       await runMoverProcess(mover, migrationId, ${JSON.stringify(directory)});`,
    );
    await chmod(path, 0o755);
    return path;
  }

  async function processes(): Promise<MoverProcesses> {
    return new MoverProcesses({
      runDirectory: directory,
      launcher: 'spawn',
      clock: systemClock,
      command: [process.execPath, await script()],
      env: { ...process.env, MARK: 'given' },
    });
  }
  const task = { migrationId: 'web01-5f2c', requestId: 'web01-5f2c.precopy.source.1' };
  const pidOf = async () =>
    (JSON.parse(await readFile(join(directory, 'web01-5f2c.pid'), 'utf8')) as { pid: number }).pid;

  it('answers once it is started, leads its own session, takes the cutover, and is proven dead when fenced', async () => {
    const movers = await processes();
    await movers.start(task);
    const pid = await pidOf();
    try {
      // Fields 5 and 6: process group and session. SSM kills the process group of its command.
      const fields = (await readFile(`/proc/${pid}/stat`, 'utf8')).split(') ')[1]!.split(' ');
      expect([fields[2], fields[3]]).toEqual([String(pid), String(pid)]);
      expect(await askMover(join(directory, 'web01-5f2c.sock'), { command: 'status' })).toMatchObject({
        moverId: 'given',
      });
      expect(await movers.cutover('web01-5f2c', 'r')).toBe(true);

      expect(await movers.fence('web01-5f2c')).toBe('killed');
      expect(await movers.fence('web01-5f2c')).toBe('none');
      expect(await movers.cutover('web01-5f2c', 'r')).toBe(false);
    } finally {
      try {
        process.kill(pid, 'SIGKILL');
      } catch {}
    }
  });

  it('is not taken for a later process with the same pid', async () => {
    await writeFile(join(directory, 'web01-5f2c.pid'), JSON.stringify({ pid: process.pid, startTime: '1' }));
    expect(await (await processes()).fence('web01-5f2c')).toBe('none');
  });

  it('whose pid file makes no sense is not taken for dead', async () => {
    await writeFile(join(directory, 'web01-5f2c.pid'), 'half a fi');
    await expect((await processes()).fence('web01-5f2c')).rejects.toThrow();
  });

  it('that does not start is said so', async () => {
    const movers = new MoverProcesses({
      runDirectory: directory,
      launcher: 'spawn',
      clock: systemClock,
      command: ['/nonexistent/agent'],
      env: {},
    });
    await expect(movers.start(task)).rejects.toThrow('ENOENT');
    expect(await readdir(directory)).toEqual(['web01-5f2c.log']);
  });
});
