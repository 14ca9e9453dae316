import { readFileSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { connectLibvirt } from '../../../../agent/libvirt/connect.ts';

/** One call of a real session with libvirt 11.3.0 and QEMU 10.0.2, both ways as bytes. */
interface Exchange {
  call: string;
  reply: string;
}

const servers: Server[] = [];

afterEach(async () => {
  await Promise.all(servers.splice(0).map((server) => new Promise((resolve) => server.close(resolve))));
});

/** Answers as the recorded daemon did, as long as it is asked byte by byte what that one was asked. */
async function replay(name: string): Promise<{ uri: string; rest: () => number }> {
  const file = new URL(`../../../fixtures/libvirt/${name}.json`, import.meta.url);
  const exchanges = JSON.parse(readFileSync(file, 'utf8')) as Exchange[];
  let next = 0;
  const server = createServer((socket) => {
    let received = '';
    socket.on('data', (chunk: Buffer) => {
      received += chunk.toString('hex');
      for (;;) {
        const exchange = exchanges[next];
        // After the last call there is only the client's leave-taking.
        if (exchange === undefined && received !== '') socket.end();
        if (exchange === undefined || received.length < exchange.call.length) return;
        const call = received.slice(0, exchange.call.length);
        if (call !== exchange.call) {
          socket.destroy(new Error(`call ${next} differs`));
          return;
        }
        received = received.slice(call.length);
        next += 1;
        socket.write(Buffer.from(exchange.reply, 'hex'));
      }
    });
    socket.on('error', () => {});
  });
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address() as { port: number };
  return { uri: `qemu+tcp://127.0.0.1:${address.port}/system`, rest: () => exchanges.length - next };
}

const uuid = 'b036cddb-4fa7-4977-bfc8-3c29fb5993a2';
const vm = { name: 'lv-a', persistent: true };

describe('a session recorded with a real libvirt', () => {
  it('is spoken byte by byte: facts, and a migration through all five calls', async () => {
    const recorded = { source: await replay('source'), destination: await replay('destination') };
    const source = await connectLibvirt(recorded.source.uri);
    const destination = await connectLibvirt(recorded.destination.uri);

    expect(await source.versions()).toEqual({ libvirt: 11_003_000, qemu: 10_000_002 });
    expect(await source.freeMemoryMiB()).toBe(23_143);
    expect(await source.networkActive('default')).toBe(false);
    expect(await source.list()).toEqual([
      { name: 'demo', uuid: '4c3d8435-ce31-4301-b7ee-4cf6be42d559', state: 'running', memoryMiB: 512 },
      { name: 'lv-a', uuid, state: 'running', memoryMiB: 256 },
    ]);
    expect(await source.find('nobody')).toBeUndefined();

    const guest = (await source.find('lv-a'))!;
    expect(guest).toMatchObject({ name: 'lv-a', uuid });
    expect(await guest.state()).toEqual({ state: 'running', detail: 'running (migrated)' });
    expect(await guest.persistent()).toBe(true);
    expect(await guest.job()).toBeUndefined();
    expect(await guest.cpuTimeNs()).toBe(7_650_000_000n);
    expect(await guest.disks()).toEqual(['vda']);
    expect(await guest.diskErrors()).toEqual([]);

    const platform = { emulator: '/usr/bin/qemu-system-x86_64', arch: 'x86_64', machine: 'pc', virtType: 'qemu' };
    const cpu = "<cpu mode='custom' match='exact'><model fallback='forbid'>qemu64</model></cpu>";
    expect(await source.compareCpu(platform, cpu)).toBe('superset');
    await expect(source.domainCapabilities({ ...platform, machine: 'nonesuch' })).rejects.toMatchObject({
      answered: true,
      libvirtCode: 8,
      message: expect.stringContaining("the machine 'nonesuch' is not supported by emulator"),
    });

    const begun = await guest.begin(vm);
    const prepared = await destination.prepare({ ...vm, ...begun });
    expect(prepared.uri).toBe('tcp:10.77.0.12:49152');
    const copy = (await destination.find('lv-a'))!;
    expect(await copy.state()).toEqual({ state: 'incoming', detail: 'paused (migrating)' });

    const input = { ...vm, xml: begun.xml, uri: prepared.uri };
    const performing = guest.perform({ ...input, cookie: prepared.cookie });
    await guest.setMaxSpeedMiBps(1);
    await guest.setMaxDowntimeMs(1);
    expect(await guest.job()).toEqual({
      operation: 'migration-out',
      elapsedMs: 305,
      bytesTotal: 269_230_080,
      bytesProcessed: 4_992_877,
      bytesRemaining: 263_274_496,
      bytesPerSecond: 0,
      dirtyBytesPerSecond: 0,
      iteration: 1,
      throttlePercent: 0,
      downtimeMs: 300,
    });
    await guest.setMaxSpeedMiBps(0);
    await guest.setMaxDowntimeMs(300);
    const performed = await performing;
    expect(await guest.state()).toEqual({ state: 'migrating-paused', detail: 'paused (migrating)' });

    const finished = await destination.finish({ ...input, cookie: performed.cookie, cancelled: false });
    expect(await copy.state()).toEqual({ state: 'running', detail: 'running (migrated)' });
    expect(await copy.lastJob()).toMatchObject({ operation: 'migration-in', downtimeMs: 267, iteration: 4 });
    await guest.confirm({ ...vm, cookie: finished.cookie, cancelled: false });
    expect(await guest.state()).toMatchObject({ state: 'absent' });

    expect(recorded.source.rest() + recorded.destination.rest()).toBe(0);
    await Promise.all([source.close(), destination.close()]);
  });
});
