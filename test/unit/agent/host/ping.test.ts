import { describe, expect, it } from 'vitest';
import { PingOutput } from '../../../../agent/host/ping.ts';

describe('what ping writes', () => {
  const TEXT = `PING 10.77.0.101 (10.77.0.101) 56(84) bytes of data.
[1795432250.427916] 64 bytes from 10.77.0.101: icmp_seq=1 ttl=64 time=0.047 ms
[1795432250.440981] 64 bytes from 10.77.0.101: icmp_seq=2 ttl=64 time=0.018 ms
[1795432250.441000] 64 bytes from 10.77.0.101: icmp_seq=2 ttl=64 time=0.118 ms (DUP!)
[1795432251.440981] From 10.77.0.11 icmp_seq=9 Destination Host Unreachable
[1795432251.540981] 64 bytes from 10.77.0.101: icmp_seq=30 ttl=64 time=0.018 ms

--- 10.77.0.101 ping statistics ---
31 packets transmitted, 3 received, +1 duplicates, +1 errors, 90% packet loss, time 1100ms
`;
  const ANSWERS = [1_795_432_250_427.916, 1_795_432_250_440.981, 1_795_432_251_540.981];

  it.each([1, 7, 64, TEXT.length])('is read in pieces of %i characters', (size) => {
    const output = new PingOutput();
    for (let at = 0; at < TEXT.length; at += size) output.push(TEXT.slice(at, at + size));
    expect(output.answers).toHaveLength(3);
    for (const [index, at] of ANSWERS.entries()) expect(output.answers[index]).toBeCloseTo(at, 2);
    expect(output).toMatchObject({ sent: 31, trouble: 'From 10.77.0.11: Destination Host Unreachable' });
  });

  it('counts what was asked without its sums', () => {
    const output = new PingOutput();
    output.push(TEXT.slice(0, TEXT.indexOf('---')));
    expect(output.sent).toBe(30);
  });

  it('is read from IPv6 too', () => {
    const output = new PingOutput();
    output.push('[1795432252.490349] 64 bytes from fd00::1: icmp_seq=1 ttl=64 time=0.200 ms\n');
    expect(output.answers).toHaveLength(1);
  });
});
