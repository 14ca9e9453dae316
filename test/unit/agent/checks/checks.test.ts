import { describe, expect, it } from 'vitest';
import { fail, pass, runChecks } from '../../../../agent/checks/check.ts';
import { isNetworkFileSystem, refuseLocalFileSystem } from '../../../../agent/checks/disks/file-systems.ts';
import { proofFor } from '../../../../agent/checks/disks/proof.ts';
import {
  checkDevices,
  checkHostsDiffer,
  checkNoOtherJob,
  checkNotHereYet,
  checkRunning,
} from '../../../../agent/checks/guest.ts';
import { checkBridge, checkEnslaved, checkInterface, checkNetwork, needOf } from '../../../../agent/checks/networks.ts';
import {
  checkCpu,
  checkMemory,
  checkVersions,
  supportsAvailSwitchoverBandwidth,
} from '../../../../agent/checks/platform.ts';
import { checkReachable, libvirtEndpoint } from '../../../../agent/checks/reachability.ts';
import type { TcpAnswer } from '../../../../agent/host/facts.ts';
import type { JobStats } from '../../../../agent/hypervisor.ts';

const accepted: TcpAnswer = { answer: 'accepted', ms: 0.3 };
const refused: TcpAnswer = { answer: 'refused', ms: 0.3 };
const silent: TcpAnswer = { answer: 'none', ms: 3_000, error: 'no answer within 3000 ms' };
const version = (libvirt: number, qemu: number) => ({ libvirt, qemu });
const OLD = version(9_000_000, 7_002_022);
const NEW = version(11_003_000, 10_000_002);

describe('supportsAvailSwitchoverBandwidth', () => {
  it.each([
    ['pc-q35-8.2', NEW, true],
    ['pc-i440fx-10.0', NEW, true],
    ['virt-9.1', version(11_001_000, 9_001_000), true],
    // Started by an older QEMU than the one installed, or possibly so.
    ['pc-q35-8.1', NEW, false],
    ['pc-i440fx-7.2', NEW, false],
    ['pc-q35-rhel9.4.0', NEW, false],
    ['', NEW, false],
    ['pc-q35-8.2', version(11_000_000, 10_000_002), false],
  ])('%s on %o: %s', (machine, versions, expected) => {
    expect(supportsAvailSwitchoverBandwidth(versions, machine)).toBe(expected);
  });
});

describe('checks pass or fail', () => {
  it.each([
    ['running', checkRunning('running', 'running (booted)'), true],
    ['paused', checkRunning('paused', 'paused (user)'), false],
    ['shut off', checkRunning('shutoff', 'shut off (destroyed)'), false],
    ['no job', checkNoOtherJob(undefined), true],
    ['a job', checkNoOtherJob({ operation: 'other' } as JobStats), false],
    ['no host-bound device', checkDevices([]), true],
    ['a host-bound device', checkDevices(['hostdev pci']), false],
    ['two hosts', checkHostsDiffer('a', 'b'), true],
    ['one host', checkHostsDiffer('a', 'a'), false],
    ['no copy yet', checkNotHereYet([]), true],
    ['a definition only', checkNotHereYet([{ name: 'web', state: 'shutoff' }]), true],
    ['a running namesake', checkNotHereYet([{ name: 'web', state: 'running' }]), false],
    ['a copy being received', checkNotHereYet([{ name: 'web', state: 'incoming' }]), false],
    ['same versions', checkVersions(OLD, OLD), true],
    ['newer versions', checkVersions(OLD, NEW), true],
    ['older libvirt', checkVersions(NEW, version(9_000_000, 10_000_002)), false],
    ['older QEMU', checkVersions(NEW, version(11_003_000, 7_002_022)), false],
    ['the same CPU', checkCpu('custom', 'identical'), true],
    ['a richer CPU', checkCpu('custom', 'superset'), true],
    ['a poorer CPU', checkCpu('custom', 'incompatible'), false],
    ['a richer CPU for a passthrough one', checkCpu('host-passthrough', 'superset'), false],
    ['the same CPU for a passthrough one', checkCpu('host-passthrough', 'identical'), true],
    // 4,096 MiB and 256 MiB + 2 % overhead = 4,434 MiB.
    ['just enough memory', checkMemory(4_434, 0, 4_096), true],
    ['a little too few memory', checkMemory(4_433, 0, 4_096), false],
    ['memory promised to others', checkMemory(8_000, 4_000, 4_096), false],
    ['a bridge', checkBridge('br0', 'bridge'), true],
    ['no such bridge', checkBridge('br0', 'absent'), false],
    ['an interface that is no bridge', checkBridge('br0', 'other'), false],
    ['an interface', checkInterface('eth0', 'other'), true],
    ['no such interface', checkInterface('eth0', 'absent'), false],
    ['an active network', checkNetwork('lan', true), true],
    ['an inactive network', checkNetwork('lan', false), false],
    ['a tap on its bridge', checkEnslaved('br0', 'vnet0', 'br0'), true],
    ['a tap on another bridge', checkEnslaved('br0', 'vnet0', 'br1'), false],
    ['a tap on none', checkEnslaved('br0', 'vnet0', undefined), false],
    ['no tap', checkEnslaved('br0', undefined, undefined), false],
    ['a refused migration port, which proves the way', checkReachable('10.0.0.2', accepted, refused), true],
    ['a silent migration port', checkReachable('10.0.0.2', accepted, silent), false],
    ['a refused libvirt port', checkReachable('10.0.0.2', refused, refused), false],
    ['a silent libvirt port', checkReachable('10.0.0.2', silent, refused), false],
    ['a local libvirt', checkReachable('10.0.0.2', undefined, accepted), true],
    ['a missing directory', refuseLocalFileSystem('/images', undefined), false],
    ['a local file system', refuseLocalFileSystem('/images', 'ext4'), false],
  ])('%s', (_, verdict, passed) => {
    expect(verdict.passed).toBe(passed);
    expect(verdict.found).not.toBe('');
    if (!verdict.passed) expect(verdict.remedy).not.toBe('');
  });

  it('and say the numbers', () => {
    expect(checkMemory(8_000, 4_000, 4_096)).toMatchObject({
      found: '8000 MiB free, 4000 MiB of it promised to other migrations; needed: 4096 MiB and 338 MiB overhead',
      remedy: 'free 434 MiB on this host, or choose another',
    });
    expect(checkVersions(NEW, OLD).found).toBe(
      'libvirt 9.0.0 and QEMU 7.2.22 here, libvirt 11.3.0 and QEMU 10.0.2 on the source',
    );
    expect(refuseLocalFileSystem('/images', 'ext4').found).toContain('ext4');
  });
});

describe('running checks', () => {
  it('runs all of them, and takes one that throws for a failed one', async () => {
    const checks = await runChecks([
      ['a', () => fail('bad', 'mend it')],
      ['b', () => Promise.reject(new Error('libvirt went away'))],
      ['c', () => pass('good')],
    ]);
    expect(checks).toMatchObject([
      { name: 'a', passed: false, found: 'bad', remedy: 'mend it' },
      { name: 'b', passed: false, found: 'libvirt went away', remedy: expect.any(String) },
      { name: 'c', passed: true, found: 'good' },
    ]);
  });
});

describe('what proves a disk', () => {
  it.each([
    [{ kind: 'file', path: '/srv/images/a.qcow2' } as const, { kind: 'shared-directory', directory: '/srv/images' }],
    [{ kind: 'file', path: '/a.qcow2' } as const, { kind: 'shared-directory', directory: '/' }],
    [
      { kind: 'block', path: '/dev/disk/by-id/wwn-0x5' } as const,
      { kind: 'same-name', path: '/dev/disk/by-id/wwn-0x5' },
    ],
    [{ kind: 'block', path: '/dev/vg0/web' } as const, { kind: 'refused' }],
    [
      { kind: 'unsupported', what: 'a disk of type "nvme"' } as const,
      { kind: 'refused', verdict: { found: 'a disk of type "nvme" is not supported' } },
    ],
    [
      { kind: 'network', protocol: 'nbd', name: 'a', hosts: [{ name: 's', port: undefined }] } as const,
      { kind: 'server-answers', servers: [{ host: 's', port: 10_809 }] },
    ],
    [
      { kind: 'network', protocol: 'nbd', name: 'a', hosts: [{ name: 's', port: 7 }] } as const,
      { kind: 'server-answers', servers: [{ host: 's', port: 7 }] },
    ],
    [{ kind: 'network', protocol: 'rbd', name: 'a', hosts: [] } as const, { kind: 'refused' }],
    [
      { kind: 'network', protocol: 'sheepdog', name: 'a', hosts: [{ name: 's', port: undefined }] } as const,
      { kind: 'refused' },
    ],
  ])('%j', (source, proof) => {
    expect(proofFor(source as Parameters<typeof proofFor>[0])).toMatchObject(proof);
  });

  it.each([
    ['nfs4', true],
    ['ceph', true],
    ['fuse.glusterfs', true],
    ['fuse.ceph', true],
    ['gfs2', true],
    ['lustre', true],
    ['ext4', false],
    ['overlay', false],
    ['fuse.sshfs', false],
    ['tmpfs', false],
  ])('%s is a file system of several hosts: %s', (type, expected) => {
    expect(isNetworkFileSystem(type)).toBe(expected);
  });
});

it.each([
  ['bridge', { kind: 'bridge', name: 'x' }],
  ['network', { kind: 'network', name: 'x' }],
  ['direct', { kind: 'interface', name: 'x' }],
  ['user', { kind: 'nothing' }],
  ['ethernet', { kind: 'refused', verdict: { found: 'interfaces of type "ethernet" are not supported' } }],
  ['vhostuser', { kind: 'refused' }],
])('an interface of type %s needs %j', (type, need) => {
  expect(needOf({ type, source: 'x', bridge: undefined, tap: undefined, mac: undefined })).toMatchObject(need);
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
