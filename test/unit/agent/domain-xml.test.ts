import { describe, expect, it } from 'vitest';
import { hostModelCpu, parseDomain } from '../../../agent/domain-xml.ts';

const around = (devices: string, head = '') => `<domain type='kvm' id='7'>
  <name>web01</name><uuid>5f2c9a7b-0000-4000-8000-000000000001</uuid>
  <memory unit='KiB'>4194304</memory><vcpu placement='static'>4</vcpu>
  <os><type arch='x86_64' machine='pc-q35-8.2'>hvm</type></os>${head}
  <devices><emulator>/usr/bin/qemu-system-x86_64</emulator>${devices}</devices>
</domain>`;

describe('a domain', () => {
  it('is described', () => {
    const cpu =
      "<cpu mode='custom' match='exact' check='full'><model fallback='forbid'>EPYC</model><feature policy='require' name='x2apic'/><feature policy='disable' name='svm'/></cpu>";
    expect(parseDomain(around('', cpu))).toMatchObject({
      name: 'web01',
      uuid: '5f2c9a7b-0000-4000-8000-000000000001',
      memoryMiB: 4_096,
      vcpus: 4,
      platform: { emulator: '/usr/bin/qemu-system-x86_64', arch: 'x86_64', machine: 'pc-q35-8.2', virtType: 'kvm' },
      disks: [],
      interfaces: [],
      hostBound: [],
    });
  });

  it("keeps its CPU's XML as libvirt needs it for a comparison", () => {
    const cpu =
      "<cpu mode='custom' match='exact'><model fallback='forbid'>EPYC</model><feature policy='require' name='x2apic'/><feature policy='disable' name='svm'/></cpu>";
    const described = parseDomain(around('', cpu)).cpu;
    expect(described?.mode).toBe('custom');
    expect(described?.xml.replaceAll('"', "'")).toBe(cpu);
  });

  it.each([
    ["<memory unit='GiB'>2</memory>", 2_048],
    ['<memory>1048576</memory>', 1_024],
    ["<memory unit='b'>1048576</memory>", 1],
  ])('counts %s as %i MiB', (memory, expected) => {
    expect(parseDomain(around('').replace("<memory unit='KiB'>4194304</memory>", memory)).memoryMiB).toBe(expected);
  });

  it.each([
    ['<domainsnapshot/>', 'not a <domain> document'],
    ['nonsense', 'not a <domain> document'],
    ["<domain type='kvm'/>", 'no <name>'],
  ])('is not made of %s', (xml, message) => {
    expect(() => parseDomain(xml)).toThrow(message);
  });
});

it.each([
  [
    'a file with its backing image',
    "<disk type='file'><source file='/nfs/a.qcow2'/><backingStore type='file'><source file='/nfs/base.qcow2'/><backingStore/></backingStore><target dev='vda'/></disk>",
    [
      { kind: 'file', path: '/nfs/a.qcow2' },
      { kind: 'file', path: '/nfs/base.qcow2' },
    ],
  ],
  [
    'a block device',
    "<disk type='block'><source dev='/dev/disk/by-id/wwn-0x5000'/><target dev='vda'/></disk>",
    [{ kind: 'block', path: '/dev/disk/by-id/wwn-0x5000' }],
  ],
  [
    'a network disk',
    "<disk type='network'><source protocol='rbd' name='pool/a'><host name='mon1' port='6789'/><host name='mon2'/></source><target dev='vda'/></disk>",
    [
      {
        kind: 'network',
        protocol: 'rbd',
        name: 'pool/a',
        hosts: [
          { name: 'mon1', port: 6789 },
          { name: 'mon2', port: undefined },
        ],
      },
    ],
  ],
  ['a drive without media', "<disk type='file' device='cdrom'><target dev='vda'/></disk>", []],
  [
    'a pool volume',
    "<disk type='volume'><source pool='p' volume='v'/><target dev='vda'/></disk>",
    [{ kind: 'unsupported', what: 'a disk of type "volume"' }],
  ],
  [
    'a disk behind a local socket',
    "<disk type='network'><source protocol='nbd'><host transport='unix' socket='/run/nbd'/></source><target dev='vda'/></disk>",
    [{ kind: 'unsupported', what: 'a disk served over unix' }],
  ],
])('knows %s', (_, xml, sources) => {
  expect(parseDomain(around(xml)).disks).toMatchObject([{ target: 'vda', sources }]);
});

it.each([
  [
    "<disk type='file'><driver name='qemu' type='qcow2'/><source file='/a'/><target dev='vda'/></disk>",
    { format: 'qcow2', readonly: false, encrypted: false },
  ],
  [
    "<disk type='file'><source file='/a'><encryption format='luks'/></source><target dev='vda'/><readonly/></disk>",
    { format: undefined, readonly: true, encrypted: true },
  ],
])('knows what decides whether %s can be copied', (xml, expected) => {
  expect(parseDomain(around(xml)).disks).toMatchObject([expected]);
});

it.each([
  [
    "<interface type='bridge'><mac address='52:54:00:AA:bb:01'/><source bridge='br0'/><target dev='vnet0'/></interface>",
    { type: 'bridge', source: 'br0', bridge: 'br0', tap: 'vnet0', mac: '52:54:00:aa:bb:01' },
  ],
  [
    "<interface type='network'><source network='lan' bridge='virbr0'/></interface>",
    { type: 'network', source: 'lan', bridge: 'virbr0', tap: undefined },
  ],
  [
    "<interface type='direct'><source dev='eth0' mode='bridge'/></interface>",
    { type: 'direct', source: 'eth0', bridge: undefined, tap: undefined },
  ],
])('knows %s', (xml, expected) => {
  expect(parseDomain(around(xml)).interfaces).toEqual([expected]);
});

describe('devices tied to the host are named', () => {
  it.each([
    ["<hostdev mode='subsystem' type='pci'/>", 'hostdev pci'],
    ["<hostdev mode='subsystem' type='usb'/>", 'hostdev usb'],
    ["<hostdev mode='subsystem' type='mdev'/>", 'mediated device'],
    ["<interface type='hostdev'/>", 'interface hostdev'],
    ["<interface type='vdpa'><source dev='/dev/vhost-vdpa-0'/></interface>", 'interface vdpa'],
    ["<filesystem type='mount'><driver type='virtiofs'/></filesystem>", 'virtiofs'],
    ["<filesystem type='mount'/>", '9p'],
    ["<shmem name='ring'/>", 'shmem ring'],
    ["<memory model='nvdimm'/>", 'memory nvdimm'],
    ["<tpm model='tpm-crb'><backend type='passthrough'/></tpm>", 'tpm passthrough'],
    ["<tpm model='tpm-crb'><backend type='external'/></tpm>", 'tpm external'],
    ["<redirdev bus='usb' type='tcp'/>", 'redirdev usb'],
    ["<serial type='dev'><source path='/dev/ttyS0'/></serial>", 'serial dev'],
  ])('%s', (xml, words) => {
    expect(parseDomain(around(xml)).hostBound).toEqual([expect.stringContaining(words)]);
  });

  it.each([
    ["<tpm model='tpm-crb'><backend type='emulator'/></tpm>"],
    ["<serial type='pty'/><console type='pty'/><channel type='unix'/>"],
    ["<redirdev bus='usb' type='spicevmc'/>"],
    ["<memory model='dimm'/>"],
    ["<rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>"],
  ])('%s is not', (xml) => {
    expect(parseDomain(around(xml)).hostBound).toEqual([]);
  });
});

describe("a host's CPU", () => {
  const capabilities = (supported: string) =>
    `<domainCapabilities><cpu><mode name='host-passthrough' supported='yes'/><mode name='host-model' supported='${supported}'><model fallback='forbid'>EPYC</model><vendor>AMD</vendor><feature policy='require' name='x2apic'/><feature policy='require' name='tsc'/></mode></cpu></domainCapabilities>`;

  it('is what libvirt calls host-model', () => {
    expect(hostModelCpu(capabilities('yes'))?.replaceAll('"', "'")).toBe(
      "<cpu mode='custom'><model fallback='forbid'>EPYC</model><vendor>AMD</vendor><feature policy='require' name='x2apic'/><feature policy='require' name='tsc'/></cpu>",
    );
  });

  it('is not known when libvirt does not say', () => {
    expect(hostModelCpu(capabilities('no'))).toBeUndefined();
  });
});
