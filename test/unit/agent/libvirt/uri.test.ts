import { describe, expect, it } from 'vitest';
import { parseLibvirtUri } from '../../../../agent/libvirt/uri.ts';

const unix = (...paths: string[]) => ({ driver: 'qemu:///system', transport: { kind: 'unix', paths } });
const tcp = (host: string, port = 16509) => ({ driver: 'qemu:///system', transport: { kind: 'tcp', host, port } });

describe('libvirt URIs', () => {
  it.each([
    ['qemu:///system', unix('/run/libvirt/libvirt-sock', '/run/libvirt/virtqemud-sock')],
    ['qemu+unix:///system', unix('/run/libvirt/libvirt-sock', '/run/libvirt/virtqemud-sock')],
    ['qemu+unix:///system?socket=/run/other/sock', unix('/run/other/sock')],
    ['qemu:///system?socket=/run/other/sock', unix('/run/other/sock')],
    ['qemu+tcp://10.0.0.2/system', tcp('10.0.0.2')],
    ['qemu+tcp://kvm2.example.org:17000/system', tcp('kvm2.example.org', 17000)],
    ['qemu+tcp://[fd00::2]/system', tcp('fd00::2')],
  ])('%s is understood', (uri, address) => {
    expect(parseLibvirtUri(uri)).toEqual(address);
  });

  it.each([
    ['not a URI', /not a URI/],
    ['xen:///system', /only the driver "qemu"/],
    ['qemu:///session', /only the path "\/system"/],
    ['qemu+tls://host/system', /TLS is not supported/],
    ['qemu://host/system', /TLS is not supported/],
    ['qemu+ssh://root@host/system', /a user has no meaning/],
    ['qemu+ssh://host/system', /ssh is not supported/],
    ['qemu+carrier-pigeon://host/system', /"carrier-pigeon" is unknown/],
    ['qemu+tcp:///system', /a host is missing/],
    ['qemu+unix://host/system', /a unix socket has no host/],
    ['qemu+tcp://host/system?no_verify=1', /"no_verify" is not supported/],
    ['qemu+tcp://host/system?socket=/run/x', /"socket" is not supported/],
    ['qemu+unix:///system?socket=', /must be a path/],
  ])('%s is refused by name', (uri, reason) => {
    expect(() => parseLibvirtUri(uri)).toThrow(reason);
  });
});
