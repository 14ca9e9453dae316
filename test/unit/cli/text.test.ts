import { expect, it } from 'vitest';
import { bar, bytes, duration } from '../../../cli/text.ts';
import { MIB } from '../../../common/units.ts';

it.each([
  [0, '0 ms'],
  [85.4, '85 ms'],
  [999.4, '999 ms'],
  [999.6, '1.0 s'],
  [2_440, '2.4 s'],
  [59_900, '59.9 s'],
  [59_980, '1 min 0 s'],
  [60_000, '1 min 0 s'],
  [119_600, '2 min 0 s'],
  [200_000, '3 min 20 s'],
  [3_599_700, '1 h 0 min'],
  [7_500_000, '2 h 5 min'],
  [7_199_000, '2 h 0 min'],
])('writes a duration: %d ms is %s', (ms, text) => expect(duration(ms)).toBe(text));

it.each([
  [0, '0 KiB'],
  [512 * 1024, '512 KiB'],
  [MIB - 1, '1.0 MiB'],
  [16.6 * MIB, '16.6 MiB'],
  [1024 * MIB - 1, '1.0 GiB'],
  [1.5 * 1024 * MIB, '1.5 GiB'],
])('writes an amount of memory: %d bytes are %s', (count, text) => expect(bytes(count)).toBe(text));

it.each([
  ['nothing known yet', { bytesTotal: 0, bytesRemaining: 0 }, '[....] 0 %'],
  ['nothing copied', {}, '[....] 0 %'],
  ['half', { bytesRemaining: 50 * MIB }, '[##..] 50 %'],
  ['all', { bytesRemaining: 0 }, '[####] 100 %'],
  ['more left than there is, as QEMU counts when a guest grew', { bytesRemaining: 120 * MIB }, '[....] 0 %'],
])('draws a progress bar: %s', (_, more, text) =>
  expect(bar({ bytesTotal: 100 * MIB, bytesRemaining: 100 * MIB, ...more }, 4)).toBe(text),
);
