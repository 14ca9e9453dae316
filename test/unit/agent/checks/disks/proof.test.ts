import { describe, expect, it } from 'vitest';
import { proofFor } from '../../../../../agent/checks/disks/proof.ts';

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
});
