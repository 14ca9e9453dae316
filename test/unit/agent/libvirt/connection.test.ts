import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Domain, HypervisorConnection } from '../../../../agent/hypervisor.ts';
import { HypervisorError } from '../../../../agent/hypervisor.ts';
import { connectLibvirt, type LibvirtOptions } from '../../../../agent/libvirt/connect.ts';
import { encodeFrame } from '../../../../agent/libvirt/frame.ts';
import { FakeDaemon, type ReceivedCall, replyFrame } from './fake-daemon.ts';

let daemon: FakeDaemon;
const connected: HypervisorConnection[] = [];

beforeEach(async () => {
  daemon = await FakeDaemon.start();
  daemon.on('DOMAIN_LOOKUP_BY_NAME', ({ succeed }) =>
    succeed((writer) => writer.string('web01').fixedOpaque(Buffer.alloc(16, 0xab)).int(4)),
  );
});

afterEach(async () => {
  for (const hypervisor of connected.splice(0)) await hypervisor.close();
  await daemon.stop();
});

async function connect(options?: LibvirtOptions): Promise<HypervisorConnection> {
  const hypervisor = await connectLibvirt(daemon.uri, options);
  connected.push(hypervisor);
  return hypervisor;
}

async function domain(options?: LibvirtOptions): Promise<Domain> {
  return (await (await connect(options)).find('web01'))!;
}

/** Keeps the calls of a procedure for the test to answer. */
function hold(procedure: Parameters<FakeDaemon['on']>[0]): { calls: ReceivedCall[]; next(): Promise<ReceivedCall> } {
  const calls: ReceivedCall[] = [];
  let arrived: (call: ReceivedCall) => void = () => {};
  daemon.on(procedure, (call) => {
    calls.push(call);
    arrived(call);
  });
  return {
    calls,
    next: () =>
      new Promise((resolve) => {
        arrived = resolve;
      }),
  };
}

const unanswered = (message: RegExp) =>
  expect.objectContaining({ name: 'HypervisorError', answered: false, message: expect.stringMatching(message) });

describe('opening a connection', () => {
  it('asks for authentication, then for keepalive, then opens the driver', async () => {
    await connect();
    expect(daemon.calls).toEqual(['AUTH_LIST', 'CONNECT_SUPPORTS_FEATURE', 'CONNECT_OPEN']);
  });

  it('names the authentication it does not support', async () => {
    daemon.on('AUTH_LIST', ({ succeed }) => succeed((writer) => writer.array([2, 1], (item, type) => item.int(type))));
    await expect(connect()).rejects.toThrow(/wants authentication \(polkit, sasl\), which is not supported/);
  });

  it('refuses a daemon without keepalive', async () => {
    daemon.on('CONNECT_SUPPORTS_FEATURE', ({ succeed }) => succeed((writer) => writer.int(0)));
    await expect(connect()).rejects.toThrow(/has no keepalive/);
  });

  it('says which socket nobody listens on', async () => {
    await expect(connectLibvirt('qemu+unix:///system?socket=/nonexistent/sock')).rejects.toEqual(
      unanswered(/libvirt at \/nonexistent\/sock cannot be reached: .*ENOENT/),
    );
  });

  it('gives up on a daemon that accepts and says nothing', async () => {
    daemon.on('AUTH_LIST', () => {});
    await expect(connect({ connectTimeoutMs: 30 })).rejects.toEqual(unanswered(/AUTH_LIST within 30 ms/));
  });
});

describe('closing a connection', () => {
  it('takes leave of the daemon when nothing is under way', async () => {
    const hypervisor = await connect();
    await hypervisor.close();
    expect(daemon.calls.at(-1)).toBe('CONNECT_CLOSE');
    await hypervisor.close();
    await expect(hypervisor.versions()).rejects.toEqual(unanswered(/not sent: no connection .*closed by this side/));
  });

  it('resolves "closed" whichever side ends it', async () => {
    const hypervisor = await connect();
    daemon.drop();
    await hypervisor.closed;
  });
});

describe('calls', () => {
  it('keep their answers apart when these come in another order', async () => {
    const vm = await domain();
    const held = hold('DOMAIN_GET_XML_DESC');
    const both = Promise.all([vm.xml(), vm.xml({ inactive: true })]);
    await held.next();
    const answer = (index: number, xml: string) => held.calls[index]!.succeed((writer) => writer.string(xml));
    while (held.calls.length < 2) await held.next();
    answer(1, '<second/>');
    answer(0, '<first/>');
    expect(await both).toEqual(['<first/>', '<second/>']);
  });

  it('reject with libvirt’s own code and words when it refuses', async () => {
    const vm = await domain();
    daemon.on('DOMAIN_RESUME', ({ refuse }) => refuse(55, 'Requested operation is not valid: domain is not running'));
    await expect(vm.resume()).rejects.toEqual(
      new HypervisorError(
        'Requested operation is not valid: domain is not running (DOMAIN_RESUME: OPERATION_INVALID 55)',
        { answered: true, libvirtCode: 55 },
      ),
    );
    await expect(vm.resume()).rejects.toMatchObject({ answered: true, libvirtCode: 55 });
  });

  it('are unanswered when the connection is lost meanwhile', async () => {
    const vm = await domain();
    daemon.on('DOMAIN_RESUME', () => daemon.drop());
    await expect(vm.resume()).rejects.toEqual(unanswered(/whether DOMAIN_RESUME took effect is unknown/));
    await connected[0]!.closed;
    await expect(vm.resume()).rejects.toEqual(unanswered(/DOMAIN_RESUME was not sent/));
  });

  it('are unanswered when this side closes the connection', async () => {
    const vm = await domain();
    const held = hold('DOMAIN_RESUME');
    const outcome = expect(vm.resume()).rejects.toEqual(unanswered(/closed by this side/));
    await held.next();
    await connected[0]!.close();
    await outcome;
  });

  it('are unanswered after their time, and a late answer harms no other call', async () => {
    const vm = await domain({ callTimeoutMs: 40 });
    const held = hold('DOMAIN_RESUME');
    await expect(vm.resume()).rejects.toEqual(unanswered(/did not answer DOMAIN_RESUME within 40 ms/));
    held.calls[0]!.succeed();
    daemon.on('DOMAIN_IS_PERSISTENT', ({ succeed }) => succeed((writer) => writer.int(1)));
    expect(await vm.persistent()).toBe(true);
  });

  it('of the copy itself have no time limit', async () => {
    const vm = await domain({ callTimeoutMs: 20 });
    const held = hold('DOMAIN_MIGRATE_PERFORM3_PARAMS');
    hold('DOMAIN_RESUME');
    const performing = vm.perform({
      name: 'web01',
      persistent: true,
      xml: '',
      cookie: Buffer.alloc(0),
      uri: 'tcp:x:1',
    });
    await held.next();
    await expect(vm.resume()).rejects.toEqual(unanswered(/within 20 ms/));
    held.calls[0]!.succeed((writer) => writer.opaque(Buffer.from('done')));
    expect(await performing).toEqual({ cookie: Buffer.from('done') });
  });

  it('never take the daemon’s last slot, which its keepalive needs', async () => {
    const vm = await domain();
    const held = hold('DOMAIN_RESUME');
    const resumed = Promise.all(Array.from({ length: 6 }, () => vm.resume()));
    while (held.calls.length < 4) await held.next();
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(held.calls).toHaveLength(4);
    held.calls[0]!.succeed();
    await held.next();
    expect(held.calls).toHaveLength(5);
    held.calls.slice(1).forEach((call) => {
      call.succeed();
    });
    (await held.next()).succeed();
    await resumed;
  });

  it('that never were sent say so', async () => {
    const vm = await domain({ callTimeoutMs: 60 });
    hold('DOMAIN_RESUME');
    const outcomes = await Promise.allSettled(Array.from({ length: 5 }, () => vm.resume()));
    expect(outcomes.map((outcome) => outcome.status === 'rejected' && outcome.reason.message)).toEqual([
      ...Array(4).fill(expect.stringMatching(/whether it took effect is unknown/)),
      expect.stringMatching(/it was not sent/),
    ]);
  });
});

describe('what cannot be understood ends the connection', () => {
  const cases: [string, RegExp, (call: ReceivedCall) => void][] = [
    [
      'a frame of impossible length',
      /a message of 3 bytes is impossible/,
      (call) => call.socket.write(Buffer.from('00000003', 'hex')),
    ],
    ['a body that is too short', /4 bytes expected, 0 left/, (call) => call.succeed()],
    ['a body that is too long', /4 bytes are left over/, (call) => call.succeed((writer) => writer.int(1).int(1))],
    [
      'an answer to nobody’s call',
      /unknown call 4711/,
      (call) => call.socket.write(replyFrame(call.frame, { serial: 4711 })),
    ],
    [
      'an answer as another procedure',
      /answered as 1/,
      (call) => call.socket.write(replyFrame(call.frame, { procedure: 1 })),
    ],
    [
      'a message of an unknown program',
      /unknown program 5/,
      (call) => call.socket.write(replyFrame(call.frame, { program: 5 })),
    ],
    ['a call to the client', /message of type 0/, (call) => call.socket.write(replyFrame(call.frame, { type: 0 }))],
    ['an end in the middle of a message', /cut short/, (call) => call.socket.end(Buffer.from('0000', 'hex'))],
  ];
  it.each(cases)('%s', async (_, reason, answer) => {
    const vm = await domain();
    daemon.on('DOMAIN_IS_PERSISTENT', answer);
    await expect(vm.persistent()).rejects.toEqual(unanswered(reason));
    await connected[0]!.closed;
  });

  it('but events that nobody asked for are passed over', async () => {
    const vm = await domain();
    daemon.on('DOMAIN_IS_PERSISTENT', (call) => {
      call.socket.write(replyFrame(call.frame, { type: 2, procedure: 318, serial: 0, body: Buffer.alloc(8) }));
      call.succeed((writer) => writer.int(0));
    });
    expect(await vm.persistent()).toBe(false);
  });
});

describe('keepalive', () => {
  const ping = encodeFrame({ program: 0x6b656570, procedure: 1, type: 2, serial: 0, status: 0, body: Buffer.alloc(0) });

  it('answers the daemon’s pings', async () => {
    const hypervisor = await connect();
    daemon.send(ping);
    while (daemon.pongs.length === 0) await new Promise((resolve) => setTimeout(resolve, 5));
    await hypervisor.close();
    expect(daemon.pongs).toEqual([0]);
  });

  it('gives a silent daemon up after the pings it was told to wait for', async () => {
    const vm = await domain({ keepaliveIntervalMs: 15, keepaliveCount: 2 });
    hold('DOMAIN_RESUME');
    await expect(vm.resume()).rejects.toEqual(unanswered(/the daemon has been silent for 45 ms/));
    await connected[0]!.closed;
    expect(daemon.pings).toHaveLength(2);
  });
});
