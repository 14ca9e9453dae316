import { describe, expect, it } from 'vitest';
import { CopyState, type Evidence } from '../../../../contract/facts.ts';
import type { Role } from '../../../../contract/names.ts';
import { type CleanupInput, decideCleanup } from '../../../../lambdas/recovery/cleanup-decision.ts';
import { type Decision, decideRecovery, type Seen } from '../../../../lambdas/recovery/recovery.ts';

const see = (state: Evidence['state'], jobActive = false): Evidence => ({
  state,
  detail: state,
  jobActive,
  mover: 'none',
});
const sight = (name: string): Seen => (name === 'unreachable' ? 'unreachable' : see(name as Evidence['state']));
const inWords = (decision: Decision): string => {
  if (decision.kind === 'act') return `${decision.role} ${decision.action}`;
  return decision.kind === 'settle' ? (decision.pendingCleanup.length > 0 ? 'still flagged' : 'clear') : decision.kind;
};

describe('a flagged source that is back', () => {
  it.each([
    // Who owns it, and by which commit record; source, destination -> what is done.
    ['source', 'REVOKED', 'migrating-paused', 'absent', 'source resume'],
    ['source', 'REVOKED', 'migrating-paused', 'unreachable', 'source resume'],
    ['source', 'REVOKED', 'migrating-paused', 'running', 'operator'],
    ['source', 'REVOKED', 'running', 'absent', 'clear'],
    ['source', 'REVOKED', 'shutoff', 'absent', 'clear'],
    ['source', 'REVOKED', 'absent', 'absent', 'clear'],
    ['source', 'REVOKED', 'incoming', 'absent', 'operator'],
    ['source', 'REVOKED', 'unreachable', 'absent', 'still flagged'],
    ['destination', 'COMMITTED', 'migrating-paused', 'running', 'source remove-paused-copy'],
    // The VM may have gone on, or have been shut down: that does not make the source's copy any fresher.
    ['destination', 'COMMITTED', 'migrating-paused', 'absent', 'source remove-paused-copy'],
    ['destination', 'COMMITTED', 'migrating-paused', 'unreachable', 'source remove-paused-copy'],
    ['destination', 'COMMITTED', 'shutoff', 'running', 'source remove-paused-copy'],
    ['destination', 'COMMITTED', 'shutoff', 'absent', 'operator'],
    ['destination', 'COMMITTED', 'absent', 'running', 'clear'],
    ['destination', 'COMMITTED', 'running', 'running', 'operator'],
    ['destination', 'COMMITTED', 'unreachable', 'running', 'still flagged'],
  ] as const)('owner %s, %s, source %s, destination %s: %s', (owner, commitRecord, source, destination, expected) => {
    const seen = { source: sight(source), destination: sight(destination) };
    expect(inWords(decideCleanup({ commitRecord, ...seen, owner, pendingCleanup: ['source'], movedOn: false }))).toBe(
      expected,
    );
  });

  it('is not resumed when a newer migration says that the VM is elsewhere', () => {
    const seen = { source: sight('migrating-paused'), destination: sight('absent') };
    const input = {
      commitRecord: 'REVOKED',
      ...seen,
      owner: 'source',
      pendingCleanup: ['source'],
      movedOn: true,
    } as const;
    expect(decideCleanup(input).kind).toBe('operator');
  });

  it("is resumed on an operator's word only while nothing proves otherwise", () => {
    const word = {
      commitRecord: 'COMMITTED',
      owner: 'source',
      word: 'source',
      pendingCleanup: ['source', 'destination'],
    } as const;
    const follow = (destination: string) =>
      decideCleanup({
        ...word,
        source: sight('migrating-paused'),
        destination: sight(destination),
        movedOn: false,
      });
    expect(inWords(follow('unreachable'))).toBe('source resume');
    expect(inWords(follow('absent'))).toBe('source resume');
    expect(inWords(follow('running'))).toBe('operator');
  });
});

describe('a flagged destination that is back', () => {
  it.each([
    ['source', 'REVOKED', 'incoming', 'destination destroy-incoming'],
    ['source', 'REVOKED', 'absent', 'clear'],
    ['source', 'REVOKED', 'running', 'operator'],
    ['source', 'REVOKED', 'unreachable', 'still flagged'],
    ['source', 'COMMITTED', 'incoming', 'wait'],
    ['destination', 'COMMITTED', 'running', 'clear'],
    ['destination', 'COMMITTED', 'shutoff', 'clear'],
    ['destination', 'COMMITTED', 'absent', 'operator'],
  ] as const)('owner %s, %s, destination %s: %s', (owner, commitRecord, destination, expected) => {
    const seen = { source: sight('running'), destination: sight(destination) };
    expect(
      inWords(decideCleanup({ commitRecord, ...seen, owner, pendingCleanup: ['destination'], movedOn: false })),
    ).toBe(expected);
  });
});

describe('over every combination', () => {
  const states = [...CopyState.options, 'unreachable'];
  const roles: Role[] = ['source', 'destination'];
  const all: CleanupInput[] = (['REVOKED', 'COMMITTED'] as const).flatMap((commitRecord) =>
    states.flatMap((source) =>
      states.flatMap((destination) =>
        roles.flatMap((owner) =>
          [['source'], ['destination'], ['source', 'destination']].flatMap((pendingCleanup) =>
            [true, false].flatMap((movedOn) =>
              [true, false].map((started) => ({
                commitRecord,
                source: sight(source),
                destination: sight(destination),
                owner,
                pendingCleanup: pendingCleanup as Role[],
                movedOn,
                started,
              })),
            ),
          ),
        ),
      ),
    ),
  );

  it('acts on flagged hosts that answer, and on no others', () => {
    for (const input of all) {
      const decision = decideCleanup(input);
      if (decision.kind !== 'act') continue;
      expect(input.pendingCleanup).toContain(decision.role);
      expect(input[decision.role]).not.toBe('unreachable');
    }
  });

  it('resumes only where recovery would, for a source that owns the VM, and never a VM that has moved on', () => {
    for (const input of all) {
      const decision = decideCleanup(input);
      if (decision.kind !== 'act' || decision.action !== 'resume') continue;
      expect(input).toMatchObject({ owner: 'source', movedOn: false });
      expect(decideRecovery(input)).toMatchObject({ kind: 'act', action: 'resume' });
    }
  });

  it('removes a copy only from a source that has lost the VM', () => {
    for (const input of all) {
      const decision = decideCleanup(input);
      if (decision.kind === 'act' && decision.action === 'remove-paused-copy') expect(input.owner).toBe('destination');
    }
  });

  it('clears no flag of a host that was not heard of', () => {
    for (const input of all) {
      const decision = decideCleanup(input);
      if (decision.kind !== 'settle') continue;
      expect(decision.pendingCleanup).toEqual(input.pendingCleanup.filter((role) => input[role] === 'unreachable'));
    }
  });
});
