import { describe, expect, it } from 'vitest';
import { isNetworkFileSystem, refuseLocalFileSystem } from '../../../../../agent/checks/disks/file-systems.ts';
import { expectVerdict } from '../expect-verdict.ts';

describe('file systems', () => {
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

  it.each([
    ['a missing directory', refuseLocalFileSystem('/images', undefined), false],
    ['a local file system', refuseLocalFileSystem('/images', 'ext4'), false],
  ])('%s', (_, verdict, passed) => expectVerdict(verdict, passed));

  it('are named where they are refused', () => {
    expect(refuseLocalFileSystem('/images', 'ext4').found).toContain('ext4');
  });
});
