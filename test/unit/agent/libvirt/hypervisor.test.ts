import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { HypervisorConnection } from '../../../../agent/hypervisor.ts';
import { connectLibvirt } from '../../../../agent/libvirt/connect.ts';
import { type TypedParameter, writeTypedParameter } from '../../../../agent/libvirt/typed-parameters.ts';
import type { XdrWriter } from '../../../../agent/libvirt/xdr.ts';
import { FakeDaemon } from './fake-daemon.ts';

let daemon: FakeDaemon;
let hypervisor: HypervisorConnection;

beforeEach(async () => {
  daemon = await FakeDaemon.start();
  daemon.on('DOMAIN_LOOKUP_BY_NAME', ({ succeed }) => succeed(writeWeb01));
  hypervisor = await connectLibvirt(daemon.uri);
});

afterEach(async () => {
  await hypervisor.close();
  await daemon.stop();
});

function writeWeb01(writer: XdrWriter): XdrWriter {
  return writer.string('web01').fixedOpaque(Buffer.from('00112233445566778899aabbccddeeff', 'hex')).int(4);
}

function answerState(state: number, reason: number): void {
  daemon.on('DOMAIN_GET_STATE', ({ succeed }) => succeed((writer) => writer.int(state).int(reason)));
}

function answerJob(type: number, parameters: TypedParameter[] = []): void {
  daemon.on('DOMAIN_GET_JOB_STATS', ({ succeed }) =>
    succeed((writer) => writer.int(type).array(parameters, writeTypedParameter)),
  );
}

const web01 = async () => (await hypervisor.find('web01'))!;
const notFound = 'Domain not found: no domain with matching name';

describe('Finish', () => {
  const input = { name: 'web01', persistent: true, xml: '<domain/>', uri: 'tcp:h:49152', cookie: Buffer.alloc(0) };

  it('cancelled succeeds when libvirt says "finished" by its error for that', async () => {
    daemon.on('DOMAIN_MIGRATE_FINISH3_PARAMS', ({ refuse }) => refuse(93, 'migration successfully aborted'));
    expect(await hypervisor.finish({ ...input, cancelled: true })).toEqual({ cookie: Buffer.alloc(0) });
  });

  it('cancelled succeeds when another error came of clearing up, but the copy is gone', async () => {
    daemon.on('DOMAIN_MIGRATE_FINISH3_PARAMS', ({ refuse }) => refuse(38, 'Unable to get XATTR'));
    daemon.on('DOMAIN_LOOKUP_BY_NAME', ({ refuse }) => refuse(42, notFound));
    expect(await hypervisor.finish({ ...input, cancelled: true })).toEqual({ cookie: Buffer.alloc(0) });
  });

  it('cancelled fails with that error while the copy is still there', async () => {
    daemon.on('DOMAIN_MIGRATE_FINISH3_PARAMS', ({ refuse }) => refuse(38, 'Unable to get XATTR'));
    answerState(3, 2);
    answerJob(0);
    await expect(hypervisor.finish({ ...input, cancelled: true })).rejects.toMatchObject({ libvirtCode: 38 });
  });

  it('cancelled never guesses when the answer is lost', async () => {
    daemon.on('DOMAIN_MIGRATE_FINISH3_PARAMS', () => daemon.drop());
    await expect(hypervisor.finish({ ...input, cancelled: true })).rejects.toMatchObject({ answered: false });
    expect(daemon.calls.at(-1)).toBe('DOMAIN_MIGRATE_FINISH3_PARAMS');
  });

  it('not cancelled passes every error on', async () => {
    daemon.on('DOMAIN_MIGRATE_FINISH3_PARAMS', ({ refuse }) => refuse(93, 'migration successfully aborted'));
    await expect(hypervisor.finish({ ...input, cancelled: false })).rejects.toMatchObject({ libvirtCode: 93 });
  });
});

describe('a domain', () => {
  it('is undefined only when libvirt says so', async () => {
    daemon.on('DOMAIN_LOOKUP_BY_NAME', ({ refuse }) => refuse(42, notFound));
    expect(await hypervisor.find('web01')).toBeUndefined();
    daemon.on('DOMAIN_LOOKUP_BY_NAME', ({ refuse }) => refuse(1, 'internal error'));
    await expect(hypervisor.find('web01')).rejects.toMatchObject({ libvirtCode: 1 });
  });

  it('has a UUID as people write it', async () => {
    expect((await web01()).uuid).toBe('00112233-4455-6677-8899-aabbccddeeff');
  });

  it('that vanished after it was found is absent, and has no statistics', async () => {
    const vm = await web01();
    daemon.on('DOMAIN_GET_STATE', ({ refuse }) => refuse(42, notFound));
    daemon.on('CONNECT_GET_ALL_DOMAIN_STATS', ({ succeed }) => succeed((writer) => writer.array([], writeWeb01)));
    expect(await vm.state()).toMatchObject({ state: 'absent' });
    await expect(vm.cpuTimeNs()).rejects.toMatchObject({ answered: true, libvirtCode: 42 });
  });

  it('is asked again when its state changes while its job is looked at', async () => {
    const vm = await web01();
    answerState(3, 2);
    daemon.on('DOMAIN_GET_JOB_STATS', ({ refuse }) => {
      // Finish came between the two questions: the incoming copy is the VM now.
      answerState(1, 2);
      refuse(55, 'Requested operation is not valid');
    });
    expect(await vm.state()).toEqual({ state: 'running', detail: 'running (migrated)' });
  });

  it('being received is known by the numbers libvirt does not have of it', async () => {
    const vm = await web01();
    answerState(3, 2);
    daemon.on('DOMAIN_GET_JOB_STATS', ({ refuse }) =>
      refuse(84, 'migration statistics are available only on the source'),
    );
    expect(await vm.state()).toEqual({ state: 'incoming', detail: 'paused (migrating)' });
    expect(await vm.job()).toMatchObject({ operation: 'migration-in', bytesTotal: 0 });
  });
});

describe('the addresses of a guest', () => {
  it('are given for each interface, whose hardware address may not be known', async () => {
    const vm = await web01();
    daemon.on('DOMAIN_INTERFACE_ADDRESSES', ({ frame, succeed }) => {
      // After the domain: which source, and no flags.
      expect(frame.body.subarray(-8)).toEqual(Buffer.from([0, 0, 0, 1, 0, 0, 0, 0]));
      succeed((writer) => {
        writer.uint(2).string('lo').optionalString(undefined);
        writer.array(['127.0.0.1'], (item, address) => item.int(0).string(address).uint(8));
        writer.string('eth0').optionalString('52:54:00:AA:BB:CC');
        writer.array(['10.0.0.5', 'fd00::5'], (item, address) => item.int(0).string(address).uint(24));
      });
    });
    expect(await vm.guestAddresses('guest-agent')).toEqual([
      { mac: undefined, addresses: ['127.0.0.1'] },
      { mac: '52:54:00:aa:bb:cc', addresses: ['10.0.0.5', 'fd00::5'] },
    ]);
  });

  it('are not waited for longer than they are of use', async () => {
    const vm = await web01();
    daemon.on('DOMAIN_INTERFACE_ADDRESSES', () => {});
    await expect(vm.guestAddresses('guest-agent')).rejects.toThrow(/did not answer .* within 2000 ms/);
  });
});

describe('announcing a guest', () => {
  const answer = (json: string) =>
    daemon.on('QEMU_DOMAIN_MONITOR_COMMAND', ({ succeed }) => succeed((writer) => writer.string(json)));

  it("is QEMU's own command, in libvirt's program for such", async () => {
    const vm = await web01();
    answer('{"return":{},"id":"libvirt-7"}');
    await vm.announce();
    expect(daemon.calls.at(-1)).toBe('QEMU_DOMAIN_MONITOR_COMMAND');
  });

  it('fails when QEMU refuses it, or libvirt does', async () => {
    const vm = await web01();
    answer('{"error":{"class":"CommandNotFound","desc":"no such command"}}');
    await expect(vm.announce()).rejects.toThrow(/no such command/);
    daemon.on('QEMU_DOMAIN_MONITOR_COMMAND', ({ refuse }) => refuse(55, 'domain is not running'));
    await expect(vm.announce()).rejects.toMatchObject({ answered: true, libvirtCode: 55 });
  });
});

describe('jobs', () => {
  it('are none when libvirt says so, or the domain is not active', async () => {
    const vm = await web01();
    answerJob(0);
    expect(await vm.job()).toBeUndefined();
    daemon.on('DOMAIN_GET_JOB_STATS', ({ refuse }) => refuse(55, 'domain is not running'));
    expect(await vm.job()).toBeUndefined();
  });

  it('count dirty pages in bytes', async () => {
    const vm = await web01();
    answerJob(2, [
      { field: 'operation', type: 'int', value: 5 },
      { field: 'memory_dirty_rate', type: 'ullong', value: 100n },
      { field: 'memory_page_size', type: 'ullong', value: 4096n },
    ]);
    const job = await vm.job();
    expect(job).toMatchObject({ operation: 'migration-out', dirtyBytesPerSecond: 409_600 });
    expect(job).not.toHaveProperty('downtimeMs');
  });

  it.each([
    ['completed', 3, { downtimeMs: 31 }],
    ['failed', 4, undefined],
    ['cancelled', 5, undefined],
    ['none', 0, undefined],
  ])('of the past count when they completed: %s', async (_, type, expected) => {
    const vm = await web01();
    answerJob(type, [{ field: 'downtime', type: 'ullong', value: 31n }]);
    const job = await vm.lastJob();
    if (expected === undefined) expect(job).toBeUndefined();
    else expect(job).toMatchObject(expected);
  });
});

describe('a host', () => {
  it('gives its UUID as text, even one that looks like a number', async () => {
    daemon.on('CONNECT_GET_CAPABILITIES', ({ succeed }) =>
      succeed((writer) => writer.string('<capabilities><host><uuid>1e10</uuid></host></capabilities>')),
    );
    expect(await hypervisor.hostUuid()).toBe('1e10');
  });

  it('without a UUID says how to give it one', async () => {
    daemon.on('CONNECT_GET_CAPABILITIES', ({ succeed }) =>
      succeed((writer) => writer.string('<capabilities><host/></capabilities>')),
    );
    await expect(hypervisor.hostUuid()).rejects.toThrow(/set host_uuid in libvirtd.conf/);
  });

  it('counts a network it does not know as not active', async () => {
    daemon.on('NETWORK_LOOKUP_BY_NAME', ({ refuse }) => refuse(43, 'Network not found'));
    expect(await hypervisor.networkActive('default')).toBe(false);
    daemon.on('NETWORK_LOOKUP_BY_NAME', ({ succeed }) =>
      succeed((writer) => writer.string('default').fixedOpaque(Buffer.alloc(16))),
    );
    daemon.on('NETWORK_IS_ACTIVE', ({ succeed }) => succeed((writer) => writer.int(1)));
    expect(await hypervisor.networkActive('default')).toBe(true);
  });
});
