import { expect, it } from 'vitest';
import { cpio } from '../../../../lab/guest-image/cpio.ts';

it('writes a cpio archive whose parts all begin at multiples of four', () => {
  const archive = cpio([{ path: 'a', mode: 0o100644, data: Buffer.from('hello') }]).toString('latin1');
  expect(archive.indexOf('070701', 1) % 4).toBe(0);
  expect(archive.slice(14, 22)).toBe('000081a4');
  expect(archive.slice(110, 112)).toBe('a\0');
  expect(archive.slice(112, 117)).toBe('hello');
  expect(archive).toContain('TRAILER!!!');
});
