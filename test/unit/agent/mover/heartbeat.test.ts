import { expect, it } from 'vitest';
import { startHeartbeat } from '../../../../agent/mover/heartbeat.ts';
import { VirtualClock } from '../../../../simulator/virtual-clock.ts';

it('beats every 2 s until it is stopped', async () => {
  const clock = new VirtualClock();
  const begun = clock.now();
  const beats: number[] = [];
  const stop = startHeartbeat(clock, () => beats.push(clock.now() - begun));
  await clock.advance(7_000);
  stop();
  await clock.advance(7_000);
  expect(beats).toEqual([2_000, 4_000, 6_000]);
});
