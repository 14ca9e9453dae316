import { expect, it } from 'vitest';
import { SimulatedProcess } from '../../../../simulator/hosts/process.ts';
import { VirtualClock } from '../../../../simulator/virtual-clock.ts';

function started() {
  const clock = new VirtualClock();
  const process = new SimulatedProcess('mover', 'kvm-a', 'web01-5f2c', clock);
  const done: string[] = [];
  const note = (what: string) => () => void done.push(`${what} at ${clock.now() - begun}`);
  const begun = clock.now();
  return { clock, process, done, note };
}

it('a process that stands still does nothing until it wakes, and then what has become due', async () => {
  const { clock, process, done, note } = started();
  const own = process.clock(clock);
  void own.sleep(1_000).then(note('slept'));
  own.timer(500, note('timer'));
  own.timer(500, note('cancelled'))();
  void process.call('find', () => clock.sleep(2_000)).then(note('answered'));
  await clock.advance(100);
  process.stall(3_000);
  void process.call('job', async () => note('asked')());
  await clock.advance(2_999);
  expect(done).toEqual([]);
  await clock.advance(1);
  expect(done.toSorted()).toEqual(['answered at 3100', 'asked at 3100', 'slept at 3100', 'timer at 3100']);
});

it('a process that is killed while it stands still never wakes', async () => {
  const { clock, process, done, note } = started();
  process.stall(1_000);
  process.stall(10);
  expect(process.stalled).toBe(true);
  void process.call('job', async () => note('asked')());
  process.clock(clock).timer(10, note('timer'));
  process.kill();
  await clock.runUntilIdle();
  expect(done).toEqual([]);
});
