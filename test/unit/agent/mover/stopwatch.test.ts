import { expect, it } from 'vitest';
import { Stopwatch } from '../../../../agent/mover/stopwatch.ts';

it('measures from its creation, pauses not counted', () => {
  let now = 1_000;
  const stopwatch = new Stopwatch({ now: () => now });
  now += 300;
  expect(stopwatch.elapsedMs).toBe(300);
  stopwatch.pause();
  now += 5_000;
  expect(stopwatch.elapsedMs).toBe(300);
  stopwatch.pause();
  stopwatch.resume();
  now += 40;
  stopwatch.resume();
  expect(stopwatch.elapsedMs).toBe(340);
});
