import { describe, expect, it } from 'vitest';
import { estimateSeconds } from '../../../bench/duration-estimate.ts';
import { kubevirt, nova } from '../../../bench/virsh-strategies.ts';

describe("Nova's defaults", () => {
  it('begin at 50 ms and reach 500 ms in ten steps, by the GiB', () => {
    const { downtimeSteps = [], abortAfterSeconds } = nova(16);
    expect(downtimeSteps).toHaveLength(11);
    expect(downtimeSteps.slice(0, 2)).toEqual([
      { afterSeconds: 0, ms: 50 },
      { afterSeconds: 1_200, ms: 95 },
    ]);
    expect(downtimeSteps.at(-1)).toEqual({ afterSeconds: 12_000, ms: 500 });
    expect(abortAfterSeconds).toBe(12_800);
  });

  it('take a small guest for one of 2 GiB', () => {
    expect(nova(0.5)).toEqual(nova(2));
  });
});

describe("KubeVirt's defaults", () => {
  it.each([
    [0.5, 150],
    [8, 1_200],
  ])('give %d GiB %d s', (gib, seconds) => {
    expect(kubevirt(gib).abortAfterSeconds).toBe(seconds);
  });
});

describe('the estimate of a case', () => {
  const place = { linkMiBps: 50, firstMiB: 250, setMiB: 200 };
  it.each([
    ['virsh', 'nothing', 0, 15],
    ['virsh', 'nothing', 0.5, 19],
    ['virsh', 'nothing', 1.5, 130],
    ['auto-converge', 'steps', 1.5, 95],
    ['postcopy', 'post-copy', 3, 19],
    ['handoff', 'computed', 1.5, 36],
  ] as const)('%s by %s at %d', (name, convergesBy, rate, seconds) => {
    expect(estimateSeconds({ name, convergesBy }, { ...place, rate })).toBe(seconds);
  });
});
