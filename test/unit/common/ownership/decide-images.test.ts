import { expect, it } from 'vitest';
import { decideImages } from '../../../../common/ownership/decide-images.ts';
import type { OwnershipDecision } from '../../../../common/ownership/decide-ownership.ts';
import type { OwnershipEvidence } from '../../../../common/ownership/evidence.ts';

const settle = (owner: 'source' | 'destination' | 'none'): OwnershipDecision => ({
  kind: 'settle',
  owner,
  why: 'proof',
  pendingCleanup: [],
});
const evidence = (images?: string[]): OwnershipEvidence => {
  const seen = { state: 'absent', detail: 'no such domain', jobActive: false, mover: 'not-asked' } as const;
  return {
    commitRecord: 'REVOKED',
    source: { ...seen, state: 'running' },
    destination: { ...seen, ...(images && { madeImages: images }) },
  };
};
const made = evidence(['/images/vda.qcow2']);

it.each([
  ['the VM is on the destination', settle('destination'), made, 'keep-images'],
  ['the VM is on the source', settle('source'), made, 'remove-images'],
  ['the VM is nowhere, and was never started there', settle('none'), made, 'remove-images'],
  // What a guest may have written to is not for us to remove.
  ['the destination ran the VM once', settle('source'), { ...made, startReported: true }, 'keep-images'],
  [
    'an operator says that the source has the VM',
    settle('source'),
    { ...made, operatorDecision: 'source' as const },
    'keep-images',
  ],
] satisfies [string, OwnershipDecision, OwnershipEvidence, string][])('%s: %s', (_, decision, input, action) => {
  expect(decideImages(decision, input)).toMatchObject({ kind: 'act', role: 'destination', action });
});

it.each([
  ['there are none', settle('source'), evidence()],
  ['the destination does not answer', settle('source'), { ...made, destination: 'unreachable' as const }],
  ['more is to be seen first', { kind: 'wait', why: 'a job' }, made],
  ['an operator is to look first', { kind: 'operator', why: 'both run' }, made],
  [
    'something else is to be done first',
    { kind: 'act', role: 'destination', action: 'destroy-incoming', why: 'a copy', pendingCleanup: [] },
    made,
  ],
] satisfies [string, OwnershipDecision, OwnershipEvidence][])('the decision stays where %s', (_, decision, input) => {
  expect(decideImages(decision, input)).toBe(decision);
});

it('a silent host is still flagged afterwards', () => {
  const pendingCleanup: OwnershipDecision = {
    kind: 'settle',
    owner: 'destination',
    why: 'proof',
    pendingCleanup: ['source'],
  };
  expect(decideImages(pendingCleanup, { ...made, source: 'unreachable' })).toMatchObject({
    pendingCleanup: ['source'],
  });
});
