import { describe, expect, it } from 'vitest';
import { parseEvents } from '../../../lab/clients/domain-events.ts';
import { parsePing } from '../../../lab/clients/ping-probe.ts';
import { cpio } from '../../../lab/guest/cpio.ts';
import { domainXml } from '../../../lab/guest/domain.ts';
import { backportsSource, osField, suitesOffering } from '../../../lab/hosts/apt.ts';
import { addressOf, nodesOf, planLab } from '../../../lab/hosts/plan.ts';

const DEB822 = `Types: deb
# a comment
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates
Components: main
Signed-By: /usr/share/keyrings/debian.gpg

Types: deb
URIs: http://mirror.example/security
Suites: bookworm-security
Components: main
`;

const BACKPORTS = (rest: string) => `Types: deb\nURIs: ${rest}`;

describe('the backports source', () => {
  const suite = 'Suites: bookworm-backports\nComponents: main\n';
  it.each([
    [
      'a deb822 stanza',
      DEB822,
      BACKPORTS(`http://mirror.example/debian\n${suite}Signed-By: /usr/share/keyrings/debian.gpg\n`),
    ],
    [
      'one line with options',
      'deb [arch=amd64 signed-by=/k.gpg] http://m/debian bookworm main contrib\n',
      BACKPORTS(`http://m/debian\n${suite}Signed-By: /k.gpg\n`),
    ],
    ['one line without options', 'deb http://m/debian bookworm main\n', BACKPORTS(`http://m/debian\n${suite}`)],
    ['sources only', 'deb-src http://m/debian bookworm main\n', undefined],
    ['a commented line', '# deb http://m/debian bookworm main\n', undefined],
    ['another release', DEB822.replaceAll('bookworm', 'trixie'), undefined],
    ['a disabled stanza', `Enabled: no\n${DEB822}`, undefined],
  ])('is made from %s', (_, source, expected) => {
    expect(backportsSource(['# nothing here', source], 'bookworm')).toBe(expected);
  });

  it('keeps a key that is written out in the source', () => {
    const key = 'Signed-By:\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n mQ==\n -----END PGP PUBLIC KEY BLOCK-----';
    const source = DEB822.replace('Signed-By: /usr/share/keyrings/debian.gpg', key);
    expect(backportsSource([source], 'bookworm')).toContain(key);
  });
});

it.each([
  ['PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nID=debian\n', 'ID', 'debian'],
  ['PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nID=debian\n', 'PRETTY_NAME', 'Debian GNU/Linux 12 (bookworm)'],
  ['VERSION_ID="12"\n', 'ID', undefined],
])('%j has the field %s', (text, field, value) => {
  expect(osField(text, field)).toBe(value);
});

it('takes only suites whose QEMU is new enough', () => {
  const madison = `qemu-system-x86 | 1:10.0.2+ds-2~bpo12+1 | http://m/debian bookworm-backports/main amd64 Packages
qemu-system-x86 | 1:7.2+dfsg-7 | http://m/debian bookworm/main amd64 Packages
qemu-system-x86 | 1:9.0 | http://m/debian trixie/main Sources
`;
  expect(suitesOffering(madison, 9)).toEqual(['bookworm-backports']);
  expect(suitesOffering(madison, 7)).toEqual(['bookworm-backports', 'bookworm']);
  expect(suitesOffering('', 9)).toEqual([]);
});

describe('the ping probe', () => {
  const answer = (at: number, sequence: number) =>
    `[${at.toFixed(6)}] 64 bytes from 10.0.0.1: icmp_seq=${sequence} ttl=64 time=0.3 ms\n`;

  it('finds the longest gap between answers, and when it began', () => {
    const answers = [answer(100, 1), answer(100.01, 2), answer(100.1, 9), answer(100.11, 10)];
    const output = `PING 10.0.0.1\n${answers.join('')}\n12 packets transmitted, 4 received, 66% packet loss\n`;
    const result = parsePing(output);
    expect(result).toMatchObject({ sent: 12, answered: 4 });
    expect(result.longestGapMs).toBeCloseTo(90);
    expect(result.longestGapAt).toBeCloseTo(100_010);
  });

  it('does not take a ping that was cut off for one without gaps', () => {
    expect(() => parsePing(answer(100, 1))).toThrow('did not sum up');
  });
});

describe("libvirt's events", () => {
  const output = `ready
2026-01-23 09:46:42.233+0000: event 'migration-iteration' for domain 'web': iteration: '1'
2026-01-23 09:46:42.300+0000: event 'lifecycle' for domain 'other': Stopped Destroyed
2026-01-23 09:46:46.890+0000: event 'lifecycle' for domain 'web': Suspended Migrated
2026-01-23 09:46:47.371+0000: event 'job-completed' for domain 'web':
\toperation: 5
\tdowntime: 252
\tdowntime_net: 250
event loop interrupted
events received: 4
`;
  it('are those of one guest, with their time and detail', () => {
    const events = parseEvents(output, 'web');
    expect(events.map(({ kind }) => kind)).toEqual(['migration-iteration', 'lifecycle', 'job-completed']);
    expect(events[1]).toEqual({
      at: Date.UTC(2026, 0, 23, 9, 46, 46, 890),
      kind: 'lifecycle',
      what: 'Suspended Migrated',
    });
    expect(events[2]?.what).toMatch(/^\s*downtime: 252$/m);
  });
});

it('writes a cpio archive whose parts all begin at multiples of four', () => {
  const archive = cpio([{ path: 'a', mode: 0o100644, data: Buffer.from('hello') }]).toString('latin1');
  expect(archive.indexOf('070701', 1) % 4).toBe(0);
  expect(archive.slice(14, 22)).toBe('000081a4');
  expect(archive.slice(110, 112)).toBe('a\0');
  expect(archive.slice(112, 117)).toBe('hello');
  expect(archive).toContain('TRAILER!!!');
});

describe('a guest definition', () => {
  const guest = {
    name: 'web',
    memoryMiB: 256,
    dirtyMiBps: 5,
    workingSetMiB: 64,
    bridge: 'br0',
    address: '10.77.0.101',
  };
  const image = { kernel: '/k', initramfs: '/i' };

  it('takes its address into its command line and its MAC', () => {
    const xml = domainXml({ ...guest, disk: undefined }, image);
    expect(xml).toContain('handoff.address=10.77.0.101/24 handoff.dirty=5 handoff.workset=64');
    expect(xml).toContain("<mac address='52:54:0a:4d:00:65'/>");
    expect(xml).not.toContain('<disk');
  });

  it.each([
    [{ file: '/d.raw' }, "<source file='/d.raw'/>"],
    [{ name: 'web', address: '10.77.0.10', port: 10801 }, "<host name='10.77.0.10' port='10801'/>"],
  ])('has the disk %j', (disk, expected) => {
    expect(domainXml({ ...guest, disk }, image)).toContain(expected);
  });
});

it('plans hosts and addresses', () => {
  const plan = planLab({ name: 'x', subnet: '10.1.2', hosts: 3 });
  expect(nodesOf(plan).map((node) => [node, addressOf(plan, node)])).toEqual([
    ['rack', '10.1.2.10'],
    ['client', '10.1.2.20'],
    ['kvm1', '10.1.2.11'],
    ['kvm2', '10.1.2.12'],
    ['kvm3', '10.1.2.13'],
  ]);
});
