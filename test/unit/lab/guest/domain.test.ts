import { describe, expect, it } from 'vitest';
import { domainXml } from '../../../../lab/guest/domain.ts';

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
