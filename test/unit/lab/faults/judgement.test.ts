import { describe, expect, it } from 'vitest';
import { type FinalState, judge } from '../../../../lab/faults/judgement.ts';

const outcome = (
  given: Partial<Omit<FinalState, 'view'>> & { view?: Partial<NonNullable<FinalState['view']>> },
): FinalState => ({
  fault: 'mover',
  phase: 'committed',
  injected: true,
  states: { source: 'absent', destination: 'running' },
  ...given,
  view: { status: 'SUCCEEDED', source: 'kvm1', destination: 'kvm2', ...given.view },
});

describe('judging a case of the fault matrix', () => {
  it.each<[name: string, given: Parameters<typeof outcome>[0], lost: boolean, truthful: boolean]>([
    ['moved, and it says so', { view: { runsOn: 'kvm2' } }, false, true],
    [
      'stayed, and it says so',
      { view: { status: 'FAILED', runsOn: 'kvm1' }, states: { source: 'running', destination: 'absent' } },
      false,
      true,
    ],
    [
      'said to have moved, but it stayed',
      { view: { runsOn: 'kvm2' }, states: { source: 'running', destination: 'absent' } },
      false,
      false,
    ],
    ['said to have stayed, but it moved', { view: { status: 'FAILED', runsOn: 'kvm1' } }, false, false],
    [
      'said to have stayed, but it is paused there',
      { view: { status: 'FAILED', runsOn: 'kvm1' }, states: { source: 'migrating-paused', destination: 'absent' } },
      true,
      false,
    ],
    [
      'runs twice: no record is true',
      { view: { runsOn: 'kvm2' }, states: { source: 'running', destination: 'running' } },
      false,
      false,
    ],
    [
      'kept for an operator, with a reason',
      {
        view: { status: 'NEEDS_OPERATOR', failure: { code: 'NeedsOperator', message: 'why' } },
        states: { source: 'migrating-paused', destination: 'absent' },
      },
      false,
      true,
    ],
    [
      'kept for an operator, but nothing is left to keep',
      {
        view: { status: 'NEEDS_OPERATOR', failure: { code: 'NeedsOperator', message: 'why' } },
        states: { source: 'absent', destination: 'absent' },
      },
      true,
      true,
    ],
    [
      'ended with its QEMU',
      {
        fault: 'source-qemu',
        phase: 'copying',
        view: { status: 'FAILED' },
        states: { source: 'shutoff', destination: 'absent' },
      },
      false,
      true,
    ],
    [
      'ended although only the copy it no longer needed was killed',
      {
        fault: 'source-qemu',
        phase: 'finished',
        view: { status: 'FAILED' },
        states: { source: 'shutoff', destination: 'absent' },
      },
      true,
      true,
    ],
  ])('%s', (_, given, lost, truthful) => {
    expect(judge(outcome(given))).toMatchObject({ lost, truthful });
  });
});
