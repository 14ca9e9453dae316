import { fail, type Verdict } from '../check.ts';

/** File systems, as the kernel names them, that several hosts can mount at once. FUSE file systems go by their subtype. */
const NETWORK_FILE_SYSTEMS = ['nfs', 'nfs4', 'cifs', 'smb3', 'ceph', 'gfs2', 'ocfs2', 'glusterfs', 'lustre'];

export function isNetworkFileSystem(type: string): boolean {
  return NETWORK_FILE_SYSTEMS.includes(type.replace(/^fuse\./, ''));
}

export function refuseLocalFileSystem(path: string, type: string | undefined): Verdict {
  return type === undefined
    ? fail(`${path} does not exist on this host`, 'mount the storage of the image at the same path here')
    : fail(
        `${path} lies on ${type}, a file system of this host alone`,
        'put the image on storage that both hosts mount, or allow the policy to copy it along (migrateStorage)',
      );
}
