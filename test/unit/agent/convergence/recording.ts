import { readFileSync } from 'node:fs';
import type { JobStats } from '../../../../agent/hypervisor.ts';
import type { Plan } from '../../../../contract/forecast.ts';
import type { Policy } from '../../../../contract/policy.ts';

const FIXTURES = new URL('../../../fixtures/copies/', import.meta.url);

/** What libvirt said of one real copy from its release to its end, and what came of it. Made by test/lab/steering.test.ts. */
export interface Recording {
  linkMiBps: number;
  workingSetMiB: number;
  /** What the guest dirtied a second, as a multiple of the link's rate; `later` from the release on. */
  rate: number;
  later?: number;
  policy: Policy;
  plan: Plan;
  end: 'switched' | 'failed';
  downtimeMs?: number;
  activeMs: number;
  decisions: { event: string; detail: Record<string, unknown> }[];
  looks: JobStats[];
}

/** A look as a row of numbers, in this task. */
const COLUMNS = [
  'elapsedMs',
  'bytesTotal',
  'bytesProcessed',
  'bytesRemaining',
  'bytesPerSecond',
  'dirtyBytesPerSecond',
  'iteration',
  'throttlePercent',
] as const;

export function recordingOf(
  circumstances: Pick<Recording, 'linkMiBps' | 'workingSetMiB' | 'rate' | 'later' | 'policy' | 'plan'>,
  outcome: Pick<Recording, 'end' | 'downtimeMs' | 'activeMs' | 'decisions' | 'looks'> & { releasedAt: number },
): string {
  const { end, downtimeMs, activeMs, decisions } = outcome;
  const rows = outcome.looks.slice(outcome.releasedAt).map((look) => COLUMNS.map((column) => look[column] ?? 0));
  const head = JSON.stringify({ ...circumstances, end, downtimeMs, activeMs, decisions }, undefined, 2);
  // A line for each look, so that a recording made anew can be compared with the one before.
  const looks = rows.map((row) => `    ${JSON.stringify(row)}`).join(',\n');
  return `${head.slice(0, -2)},\n  "looks": [\n${looks}\n  ]\n}\n`;
}

export function readRecording(name: string): Recording {
  const text = readFileSync(new URL(`${name}.json`, FIXTURES), 'utf8');
  const { looks, ...recording } = JSON.parse(text) as Omit<Recording, 'looks'> & { looks: number[][] };
  const named = looks.map((row) => Object.fromEntries(COLUMNS.map((column, index) => [column, row[index]])));
  return { ...recording, looks: named.map((look) => ({ operation: 'migration-out', ...look }) as JobStats) };
}
