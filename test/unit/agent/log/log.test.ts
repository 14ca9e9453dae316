import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { LineWriter } from '../../../../agent/log/line-writer.ts';
import { createLog, type LogRecord } from '../../../../agent/log/log.ts';
import { appendTo } from '../../../../agent/log/log-file.ts';

describe('a log', () => {
  it('writes records with time, level, message, the fields of the log and those of the call', () => {
    const records: LogRecord[] = [];
    const log = createLog((record) => records.push(record), { now: () => 0 }, { hostId: 'kvm-a' });
    log.with({ migrationId: 'web01-5f2c', stage: 'precopy' }).warn('downtime limit raised', { limitMs: 40 });
    log.info('no more fields than its own');
    expect(records).toEqual([
      {
        time: '1970-01-01T00:00:00.000Z',
        level: 'warn',
        message: 'downtime limit raised',
        hostId: 'kvm-a',
        migrationId: 'web01-5f2c',
        stage: 'precopy',
        limitMs: 40,
      },
      expect.objectContaining({ level: 'info', hostId: 'kvm-a' }),
    ]);
    expect(records[1]).not.toHaveProperty('migrationId');
  });

  it('never throws, whatever it is to write', () => {
    const log = createLog((record) => void JSON.stringify(record), { now: () => 0 });
    const circle: Record<string, unknown> = {};
    circle.of = circle;
    expect(() => log.error('cannot be written', circle)).not.toThrow();
  });
});

describe('a line writer', () => {
  it('writes lines in order, those that wait in one batch', async () => {
    const batches: string[] = [];
    const first = Promise.withResolvers<void>();
    const writer = new LineWriter(async (text) => {
      batches.push(text);
      if (batches.length === 1) await first.promise;
    });
    writer.push('one');
    await Promise.resolve();
    for (const line of ['two', 'three']) writer.push(line);
    first.resolve();
    await writer.written();
    expect(batches).toEqual(['one\n', 'two\nthree\n']);
  });

  it('goes on after a batch that could not be written', async () => {
    const batches: string[] = [];
    const writer = new LineWriter(async (text) => {
      batches.push(text);
      if (batches.length === 1) throw new Error('no space left on device');
    });
    writer.push('lost');
    await writer.written();
    writer.push('kept');
    await writer.written();
    expect(batches).toEqual(['lost\n', 'kept\n']);
  });

  it('keeps a bounded number of lines for a disk that hangs, and nobody waits', () => {
    let written = 0;
    const writer = new LineWriter(() => {
      written += 1;
      return new Promise(() => {});
    });
    for (let line = 0; line < 5_000; line++) writer.push(`${line}`);
    expect(written).toBeLessThanOrEqual(1);
  });
});

describe('a log file', () => {
  let folder: string;
  let path: string;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'handoff-log-'));
    path = join(folder, 'deeper/agent.jsonl');
  });
  afterEach(() => rm(folder, { recursive: true }));

  it('is made with its folder, and not readable to everybody', async () => {
    await appendTo(path, 1_000)('{}\n');
    expect(await readFile(path, 'utf8')).toBe('{}\n');
    expect((await stat(path)).mode & 0o007).toBe(0);
    expect((await stat(join(folder, 'deeper'))).mode & 0o007).toBe(0);
  });

  it('is rotated before it grows past its size, and four old files are kept', async () => {
    const append = appendTo(path, 10);
    for (let line = 1; line <= 8; line++) await append(`line ${line}\n`);
    expect((await readdir(join(folder, 'deeper'))).sort()).toEqual([
      'agent.jsonl',
      ...[1, 2, 3, 4].map((number) => `agent.jsonl.${number}`),
    ]);
    expect(await readFile(path, 'utf8')).toBe('line 8\n');
    expect(await readFile(`${path}.1`, 'utf8')).toBe('line 7\n');
    expect(await readFile(`${path}.4`, 'utf8')).toBe('line 4\n');
  });

  it('takes the lines of several processes, and follows a rotation by another', async () => {
    const [one, other] = [appendTo(path, 20), appendTo(path, 20)];
    await one('one 1\n');
    await other('other 1\n');
    await one('one 2\n');
    await other('other 2\n');
    expect(await readFile(`${path}.1`, 'utf8')).toBe('one 1\nother 1\none 2\n');
    expect(await readFile(path, 'utf8')).toBe('other 2\n');
  });

  it('that cannot be written is tried again with the next lines', async () => {
    await writeFile(join(folder, 'deeper'), 'a file where the folder should be');
    const append = appendTo(path, 1_000);
    await expect(append('lost\n')).rejects.toThrow();
    await rm(join(folder, 'deeper'));
    await append('kept\n');
    expect(await readFile(path, 'utf8')).toBe('kept\n');
  });
});
