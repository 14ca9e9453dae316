import { describe, expect, it } from 'vitest';
import { type CleanupEvidence, decideCleanup } from '../../../../common/ownership/decide-cleanup.ts';
import { decideOwnership, type OwnershipDecision } from '../../../../common/ownership/decide-ownership.ts';
import type { HostState } from '../../../../common/ownership/evidence.ts';
import type { Role } from '../../../../contract/names.ts';
import { evidenceOf, HOST_STATES } from './host-states.ts';

const summary = (decision: OwnershipDecision): string => {
  if (decision.kind === 'act') return `${decision.role} ${decision.action}`;
  return decision.kind === 'settle' ? (decision.pendingCleanup.length > 0 ? 'still pending' : 'clear') : decision.kind;
};

describe('a pending cleanup of a source that is back', () => {
  it.each([
    // Who owns it, and by which commit record; source, destination -> what is done.
    ['source', 'REVOKED', 'migrating-paused', 'absent', 'source resume'],
    ['source', 'REVOKED', 'migrating-paused', 'unreachable', 'source resume'],
    ['source', 'REVOKED', 'migrating-paused', 'running', 'operator'],
    ['source', 'REVOKED', 'running', 'absent', 'clear'],
    ['source', 'REVOKED', 'shutoff', 'absent', 'clear'],
    ['source', 'REVOKED', 'absent', 'absent', 'clear'],
    ['source', 'REVOKED', 'incoming', 'absent', 'operator'],
    ['source', 'REVOKED', 'unreachable', 'absent', 'still pending'],
    ['destination', 'COMMITTED', 'migrating-paused', 'running', 'source remove-paused-copy'],
    // The VM may have gone on, or have been shut down: that does not make the source's copy any fresher.
    ['destination', 'COMMITTED', 'migrating-paused', 'absent', 'source remove-paused-copy'],
    ['destination', 'COMMITTED', 'migrating-paused', 'unreachable', 'source remove-paused-copy'],
    ['destination', 'COMMITTED', 'shutoff', 'running', 'source remove-paused-copy'],
    ['destination', 'COMMITTED', 'shutoff', 'absent', 'operator'],
    ['destination', 'COMMITTED', 'absent', 'running', 'clear'],
    ['destination', 'COMMITTED', 'running', 'running', 'operator'],
    ['destination', 'COMMITTED', 'unreachable', 'running', 'still pending'],
  ] as const)('owner %s, %s, source %s, destination %s: %s', (owner, commitRecord, source, destination, expected) => {
    const seen = { source: evidenceOf(source), destination: evidenceOf(destination) };
    expect(summary(decideCleanup({ commitRecord, ...seen, owner, pendingCleanup: ['source'], movedOn: false }))).toBe(
      expected,
    );
  });

  it('is not resumed when a newer migration says that the VM is elsewhere', () => {
    const seen = { source: evidenceOf('migrating-paused'), destination: evidenceOf('absent') };
    const input = {
      commitRecord: 'REVOKED',
      ...seen,
      owner: 'source',
      pendingCleanup: ['source'],
      movedOn: true,
    } as const;
    expect(decideCleanup(input).kind).toBe('operator');
  });

  it('is resumed by decision of an operator only while nothing proves otherwise', () => {
    const named = {
      commitRecord: 'COMMITTED',
      owner: 'source',
      operatorDecision: 'source',
      pendingCleanup: ['source', 'destination'],
    } as const;
    const follow = (destination: HostState) =>
      decideCleanup({
        ...named,
        source: evidenceOf('migrating-paused'),
        destination: evidenceOf(destination),
        movedOn: false,
      });
    expect(summary(follow('unreachable'))).toBe('source resume');
    expect(summary(follow('absent'))).toBe('source resume');
    expect(summary(follow('running'))).toBe('operator');
  });
});

describe('a pending cleanup of a destination that is back', () => {
  it.each([
    ['source', 'REVOKED', 'incoming', 'destination destroy-incoming'],
    ['source', 'REVOKED', 'absent', 'clear'],
    ['source', 'REVOKED', 'running', 'operator'],
    ['source', 'REVOKED', 'unreachable', 'still pending'],
    ['source', 'COMMITTED', 'incoming', 'wait'],
    ['destination', 'COMMITTED', 'running', 'clear'],
    ['destination', 'COMMITTED', 'shutoff', 'clear'],
    ['destination', 'COMMITTED', 'absent', 'operator'],
  ] as const)('owner %s, %s, destination %s: %s', (owner, commitRecord, destination, expected) => {
    const seen = { source: evidenceOf('running'), destination: evidenceOf(destination) };
    expect(
      summary(decideCleanup({ commitRecord, ...seen, owner, pendingCleanup: ['destination'], movedOn: false })),
    ).toBe(expected);
  });
});

describe('over every combination', () => {
  const roles: Role[] = ['source', 'destination'];
  const all: CleanupEvidence[] = (['REVOKED', 'COMMITTED'] as const).flatMap((commitRecord) =>
    HOST_STATES.flatMap((source) =>
      HOST_STATES.flatMap((destination) =>
        roles.flatMap((owner) =>
          [['source'], ['destination'], ['source', 'destination']].flatMap((pendingCleanup) =>
            [true, false].flatMap((movedOn) =>
              [true, false].map((startReported) => ({
                commitRecord,
                source: evidenceOf(source),
                destination: evidenceOf(destination),
                owner,
                pendingCleanup: pendingCleanup as Role[],
                movedOn,
                startReported,
              })),
            ),
          ),
        ),
      ),
    ),
  );

  it('acts on hosts whose cleanup is pending and that answer, and on no others', () => {
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
      expect(decideOwnership(input)).toMatchObject({ kind: 'act', action: 'resume' });
    }
  });

  it('removes a copy only from a source that has lost the VM', () => {
    for (const input of all) {
      const decision = decideCleanup(input);
      if (decision.kind === 'act' && decision.action === 'remove-paused-copy') expect(input.owner).toBe('destination');
    }
  });

  it('ends no cleanup of a host that did not answer', () => {
    for (const input of all) {
      const decision = decideCleanup(input);
      if (decision.kind !== 'settle') continue;
      expect(decision.pendingCleanup).toEqual(input.pendingCleanup.filter((role) => input[role] === 'unreachable'));
    }
  });
});
