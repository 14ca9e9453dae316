import type { DiskSource } from '../../domain-xml.ts';
import { fail, type Verdict } from '../check.ts';

/**
 * What proves that a disk is the same disk on both hosts. Nothing else is accepted: two images of the same name on two local disks
 * cannot be told apart until the guest's file system is damaged.
 */
export type DiskProof =
  /** The server answers from the destination too. */
  | { kind: 'server-answers'; protocol: string; servers: { host: string; port: number }[] }
  /** A file the source writes beside the image shows up on the destination. */
  | { kind: 'shared-directory'; directory: string }
  /** The name is the device's own identity. */
  | { kind: 'same-name'; path: string }
  | { kind: 'refused'; verdict: Verdict };

/** libvirt's network disk protocols and the ports they have by default. */
const DEFAULT_PORTS: Record<string, number> = {
  nbd: 10_809,
  iscsi: 3_260,
  rbd: 6_789,
  gluster: 24_007,
  http: 80,
  https: 443,
  ftp: 21,
  ftps: 990,
  ssh: 22,
  nfs: 2_049,
};

export function proofFor(source: DiskSource): DiskProof {
  switch (source.kind) {
    case 'file':
      return { kind: 'shared-directory', directory: source.path.slice(0, source.path.lastIndexOf('/')) || '/' };
    case 'block':
      if (source.path.startsWith('/dev/disk/by-id/')) return { kind: 'same-name', path: source.path };
      return refused(
        `${source.path} is a name that may mean another device on another host`,
        'attach the disk by its /dev/disk/by-id/ name, which is the same on every host that has it',
      );
    case 'unsupported':
      return refused(
        `${source.what} is not supported`,
        'put the disk on shared storage: a file, a block device or a network disk',
      );
    case 'network': {
      const standard = DEFAULT_PORTS[source.protocol];
      const servers = source.hosts.map(({ name, port }) => ({ host: name, port: port ?? standard ?? 0 }));
      if (servers.length === 0) {
        return refused(
          `the ${source.protocol} disk "${source.name}" names no server`,
          'name its servers in <host> elements, so that this host can be checked for reaching them',
        );
      }
      if (servers.some(({ port }) => port === 0)) {
        return refused(
          `the ${source.protocol} disk "${source.name}" names no port`,
          'name the port in its <host> element',
        );
      }
      return { kind: 'server-answers', protocol: source.protocol, servers };
    }
  }
}

function refused(found: string, remedy: string): DiskProof {
  return { kind: 'refused', verdict: fail(found, remedy) };
}
