import { expect } from 'vitest';
import type { Verdict } from '../../../../agent/checks/check.ts';

/** A verdict says what was found, and a failed one what would help. */
export function expectVerdict(verdict: Verdict, passed: boolean): void {
  expect(verdict.passed).toBe(passed);
  expect(verdict.found).not.toBe('');
  if (!verdict.passed) expect(verdict.remedy).not.toBe('');
}
