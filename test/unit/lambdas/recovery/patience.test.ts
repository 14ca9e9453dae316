import { describe, expect, it } from 'vitest';
import type { OwnershipDecision } from '../../../../common/ownership/decide-ownership.ts';
import { pauseSeconds, type Round, withCleanupPatience, withPatience } from '../../../../lambdas/recovery/patience.ts';

const MINUTE = 60_000;
const at = (elapsedMs: number, round = 2, runsInPostCopy = false): Round => ({ round, elapsedMs, runsInPostCopy });
const wait: OwnershipDecision = { kind: 'wait', why: 'no proof' };
const act: OwnershipDecision = { kind: 'act', role: 'source', action: 'resume', why: 'proof', pendingCleanup: [] };
const operator: OwnershipDecision = { kind: 'operator', why: 'both run' };
const settled: OwnershipDecision = { kind: 'settle', owner: 'source', why: 'proof', pendingCleanup: [] };
const settledWithout: OwnershipDecision = { ...settled, pendingCleanup: ['destination'] };
const IN_VAIN = 'waiting has not changed that';

describe('the patience of recovery', () => {
  it.each([
    ['waits for evidence', wait, at(15 * MINUTE), 'wait'],
    ['asks an operator when evidence does not come in time', wait, at(15 * MINUTE + 1), 'operator'],
    ['asks an operator after the last round', wait, at(0, 40), 'operator'],
    ['tries an action again', act, at(15 * MINUTE), 'act'],
    ['asks an operator when an action does not work in time', act, at(15 * MINUTE + 1), 'operator'],
    ['settles at once when all hosts answer', settled, at(0, 1), 'settle'],
    ['settles at any time', settled, at(60 * MINUTE, 40), 'settle'],
    ['waits for a silent host whose evidence is not needed', settledWithout, at(MINUTE), 'wait'],
    ['settles without a silent host in the end', settledWithout, at(MINUTE + 1), 'settle'],
    ['settles without a silent host in the last round', settledWithout, at(0, 40), 'settle'],
    ['asks an operator at once when waiting cannot help', operator, at(0, 1), 'operator'],
    ['spends nothing while the guest runs in post-copy', wait, at(60 * MINUTE, 29, true), 'wait'],
    ['is spent in a post-copy that has taken its rounds', wait, at(60 * MINUTE, 30, true), 'operator'],
  ] as const)('%s', (_, decision, round, kind) => {
    const patient = withPatience(decision, round);
    expect(patient.kind).toBe(kind);
    if (kind === 'operator' && decision.kind !== 'operator') expect(patient.why).toContain(IN_VAIN);
  });
});

describe('the patience of a cleanup', () => {
  it.each([
    ['settles without waiting for a silent host', settledWithout, at(0, 1), 'settle'],
    ['waits for libvirt', wait, at(3 * MINUTE), 'wait'],
    ['asks an operator when libvirt does not end its job in time', wait, at(3 * MINUTE + 1), 'operator'],
    ['asks an operator when an action does not work in time', act, at(3 * MINUTE + 1), 'operator'],
    ['asks an operator after the last round', act, at(0, 40), 'operator'],
  ] as const)('%s', (_, decision, round, kind) => {
    expect(withCleanupPatience(decision, round).kind).toBe(kind);
  });
});

it('the pauses between rounds grow to 30 s, and in a post-copy to 5 minutes', () => {
  const pauses = (runsInPostCopy: boolean) =>
    [1, 2, 4, 5, 9, 29, 30].map((n) => pauseSeconds(at(0, n, runsInPostCopy)));
  expect(pauses(false)).toEqual([2, 4, 16, 30, 30, 30, 30]);
  expect(pauses(true)).toEqual([2, 4, 16, 32, 300, 300, 30]);
});
