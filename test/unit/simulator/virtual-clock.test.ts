import { describe, expect, it } from 'vitest';
import { VirtualClock } from '../../../simulator/virtual-clock.ts';

describe('VirtualClock', () => {
  it('fires timers by moment, and those of one moment in the order they were set', async () => {
    const clock = new VirtualClock(0);
    const fired: string[] = [];
    const delays = [500, 100, 300, 100, 200, 400, 100];
    delays.forEach((ms, index) => {
      void clock.sleep(ms).then(() => fired.push(`${clock.now()}#${index}`));
    });
    await clock.runUntilIdle();
    expect(fired).toEqual(['100#1', '100#3', '100#6', '200#4', '300#2', '400#5', '500#0']);
    expect(clock.pending).toBe(0);
  });

  it('stops between timers when advanced part of the way', async () => {
    const clock = new VirtualClock(0);
    const woke: number[] = [];
    void clock.sleep(10).then(() => woke.push(10));
    void clock.sleep(20).then(() => woke.push(20));
    await clock.advanceTo(15);
    expect([woke, clock.now(), clock.pending]).toEqual([[10], 15, 1]);
  });

  it('runs what a fired timer sets in turn', async () => {
    const clock = new VirtualClock(0);
    const at: number[] = [];
    void (async () => {
      for (let i = 0; i < 3; i++) {
        await clock.sleep(7);
        at.push(clock.now());
      }
    })();
    await clock.runUntilIdle();
    expect(at).toEqual([7, 14, 21]);
  });

  it('resolves an aborted sleep at once and forgets its timer', async () => {
    const clock = new VirtualClock(0);
    const controller = new AbortController();
    let woke = false;
    void clock.sleep(1_000, controller.signal).then(() => {
      woke = true;
    });
    controller.abort();
    await clock.settle();
    expect([woke, clock.pending, clock.now()]).toEqual([true, 0, 0]);
    await clock.sleep(1_000, controller.signal);
    await clock.runUntilIdle();
    expect(clock.now()).toBe(0);
  });

  it('wakes all that wait for one signal, and none that has slept its time', async () => {
    const clock = new VirtualClock(0);
    const controller = new AbortController();
    const woke: string[] = [];
    for (const ms of [5, 50, 500])
      void clock.sleep(ms, controller.signal).then(() => woke.push(`${ms} at ${clock.now()}`));
    await clock.advanceTo(10);
    expect([woke, clock.pending]).toEqual([['5 at 5'], 2]);
    controller.abort();
    await clock.settle();
    expect([woke, clock.pending]).toEqual([['5 at 5', '50 at 10', '500 at 10'], 0]);
  });
});
