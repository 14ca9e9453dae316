import { describe, expect, it } from 'vitest';
import { checkReachable, libvirtEndpoint } from '../../../../agent/checks/reachability.ts';
import type { TcpAnswer } from '../../../../agent/host/facts.ts';
import { expectVerdict } from './expect-verdict.ts';

const accepted: TcpAnswer = { answer: 'accepted', ms: 0.3 };
const refused: TcpAnswer = { answer: 'refused', ms: 0.3 };
const silent: TcpAnswer = { answer: 'none', ms: 3_000, error: 'no answer within 3000 ms' };

describe('the check that a host is reachable', () => {
  it.each([
    ['a refused migration port, which proves that packets pass', checkReachable('10.0.0.2', accepted, refused), true],
    ['a silent migration port', checkReachable('10.0.0.2', accepted, silent), false],
    ['a refused libvirt port', checkReachable('10.0.0.2', refused, refused), false],
    ['a silent libvirt port', checkReachable('10.0.0.2', silent, refused), false],
    ['a local libvirt', checkReachable('10.0.0.2', undefined, accepted), true],
  ])('%s', (_, verdict, passed) => expectVerdict(verdict, passed));
});

it.each([
  ['qemu+tcp://10.0.0.2/system', { host: '10.0.0.2', port: 16_509 }],
  ['qemu+tcp://10.0.0.2:7/system', { host: '10.0.0.2', port: 7 }],
  ['qemu+tcp://[fd00::2]/system', { host: 'fd00::2', port: 16_509 }],
  ['qemu+tcp://[fd00::2]:7/system', { host: 'fd00::2', port: 7 }],
  ['qemu://kvm2/system', { host: 'kvm2', port: 16_514 }],
  ['qemu:///system', undefined],
  ['qemu+unix:///system?socket=/run/x', undefined],
])('libvirt at %s listens on %j', (uri, endpoint) => {
  expect(libvirtEndpoint(uri)).toEqual(endpoint);
});
