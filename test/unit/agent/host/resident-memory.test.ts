import { expect, it } from 'vitest';
import { residentOf } from '../../../../agent/host/resident-memory.ts';

it.each([
  ['one block of the right size', 524_288, 294_912],
  ['huge pages, which are counted apart', 1_048_576, 1_048_576],
  ['none of that size', 2_097_152, undefined],
  ['two of that size', 65_404, undefined],
])('resident memory of a guest with %s', (_, kib, resident) => {
  const mapping = (range: string, size: number, rss: number, huge = 0) =>
    `${range} rw-p 00000000 00:00 0\nSize:  ${size} kB\nRss:   ${rss} kB\nPss: 1 kB\nPrivate_Hugetlb:  ${huge} kB\n`;
  const smaps = [
    mapping('7faf23e00000-7faf43e00000', 524_288, 294_912),
    mapping('7faf44000000-7faf84000000', 1_048_576, 0, 1_048_576),
    mapping('7faf84021000-7faf88000000', 65_404, 0),
    mapping('7faf8c021000-7faf90000000', 65_404, 12),
  ].join('');
  expect(residentOf(smaps, kib * 1_024)).toBe(resident === undefined ? undefined : resident * 1_024);
});
