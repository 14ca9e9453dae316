import type { Lab } from '../hosts/lab.ts';
import { startProbe } from './probe.ts';

export interface PingResult {
  sent: number;
  answered: number;
  /** The longest time between two answers that followed each other, in ms: the blackout as others see it. */
  longestGapMs: number;
  /** When the longest gap began, in ms since the epoch. */
  longestGapAt: number;
  /** When each answer came, in ms since the epoch. */
  answeredAt: readonly number[];
}

/** Pings from the client, every 10 ms unless told otherwise. Resolves once the address answers. */
export async function startPing(
  lab: Lab,
  address: string,
  { intervalMs = 10 }: { intervalMs?: number } = {},
): Promise<{ stop(): Promise<PingResult> }> {
  const command = ['ping', '-n', '-D', '-i', `${intervalMs / 1000}`, address];
  // Ctrl-C is how ping is asked for its sums.
  const probe = await startProbe(lab, command, { ready: /bytes from/, signal: 'SIGINT' });
  return { stop: async () => parsePing(await probe.stop()) };
}

/** Reads what `ping -D` of iputils writes. */
export function parsePing(output: string): PingResult {
  const answers = Array.from(
    output.matchAll(/^\[(\d+\.\d+)\] \d+ bytes from .*icmp_seq=/gm),
    ([, at]) => Number(at) * 1000,
  );
  const sums = /(\d+) packets transmitted/.exec(output);
  if (sums === null) throw new Error(`ping did not sum up: ${output.slice(-200)}`);
  let longestGapMs = 0;
  let longestGapAt = answers[0] ?? 0;
  for (const [index, at] of answers.entries()) {
    const previous = answers[index - 1] ?? at;
    if (at - previous > longestGapMs) {
      longestGapMs = at - previous;
      longestGapAt = previous;
    }
  }
  return { sent: Number(sums[1]), answered: answers.length, longestGapMs, longestGapAt, answeredAt: answers };
}
