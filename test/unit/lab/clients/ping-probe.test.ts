import { describe, expect, it } from 'vitest';
import { parsePing } from '../../../../lab/clients/ping-probe.ts';

describe('the ping probe', () => {
  const answer = (at: number, sequence: number) =>
    `[${at.toFixed(6)}] 64 bytes from 10.0.0.1: icmp_seq=${sequence} ttl=64 time=0.3 ms\n`;

  it('finds the longest gap between answers, and when it began', () => {
    const answers = [answer(100, 1), answer(100.01, 2), answer(100.1, 9), answer(100.11, 10)];
    const output = `PING 10.0.0.1\n${answers.join('')}\n12 packets transmitted, 4 received, 66% packet loss\n`;
    const result = parsePing(output);
    expect(result).toMatchObject({ sent: 12, answered: 4 });
    expect(result.longestGapMs).toBeCloseTo(90);
    expect(result.longestGapAt).toBeCloseTo(100_010);
  });

  it('does not take a ping that was cut off for one without gaps', () => {
    expect(() => parsePing(answer(100, 1))).toThrow('did not sum up');
  });
});
