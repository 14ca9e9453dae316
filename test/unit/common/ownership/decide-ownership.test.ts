import { describe, expect, it } from 'vitest';
import { decideOwnership, type OwnershipDecision } from '../../../../common/ownership/decide-ownership.ts';
import { stateOf } from '../../../../common/ownership/evidence.ts';
import { evidenceOf, HOST_STATES } from './host-states.ts';

function summary(decision: OwnershipDecision): string {
  switch (decision.kind) {
    case 'settle':
      return `settle ${decision.owner}`;
    case 'act':
      return `act ${decision.role} ${decision.action}`;
    default:
      return decision.kind;
  }
}

describe('who owns the VM', () => {
  // commit record, source, destination -> decision; the rows an operator would look up.
  it.each([
    ['REVOKED', 'running', 'absent', 'settle source'],
    ['REVOKED', 'running', 'unreachable', 'settle source'],
    ['REVOKED', 'running', 'incoming', 'act destination destroy-incoming'],
    ['REVOKED', 'migrating-paused', 'incoming', 'act destination destroy-incoming'],
    ['REVOKED', 'migrating-paused', 'absent', 'act source resume'],
    ['REVOKED', 'migrating-paused', 'unreachable', 'act source resume'],
    ['REVOKED', 'migrating-paused', 'running', 'operator'],
    ['REVOKED', 'paused', 'absent', 'settle source'],
    ['REVOKED', 'unreachable', 'absent', 'settle source'],
    ['REVOKED', 'unreachable', 'unreachable', 'settle source'],
    ['REVOKED', 'absent', 'running', 'settle destination'],
    ['REVOKED', 'absent', 'absent', 'settle none'],
    ['REVOKED', 'shutoff', 'absent', 'settle none'],
    ['COMMITTED', 'migrating-paused', 'running', 'act source remove-paused-copy'],
    ['COMMITTED', 'shutoff', 'running', 'act source remove-paused-copy'],
    ['COMMITTED', 'absent', 'running', 'settle destination'],
    ['COMMITTED', 'unreachable', 'running', 'settle destination'],
    ['COMMITTED', 'migrating-paused', 'absent', 'act source resume'],
    ['COMMITTED', 'migrating-paused', 'shutoff', 'operator'],
    ['COMMITTED', 'running', 'absent', 'settle source'],
    ['COMMITTED', 'running', 'unreachable', 'wait'],
    ['COMMITTED', 'migrating-paused', 'unreachable', 'wait'],
    ['COMMITTED', 'migrating-paused', 'incoming', 'wait'],
    ['COMMITTED', 'unreachable', 'absent', 'wait'],
    ['COMMITTED', 'unreachable', 'unreachable', 'wait'],
    ['COMMITTED', 'absent', 'absent', 'operator'],
    ['REVOKED', 'running', 'running', 'operator'],
    ['COMMITTED', 'running', 'running', 'operator'],
    ['COMMITTED', 'postcopy-failed', 'postcopy-failed', 'act source resume-postcopy'],
    ['COMMITTED', 'postcopy-failed', 'postcopy-running', 'act source resume-postcopy'],
    ['COMMITTED', 'postcopy-paused', 'postcopy-running', 'wait'],
    ['COMMITTED', 'postcopy-paused', 'incoming', 'wait'],
    ['COMMITTED', 'postcopy-failed', 'unreachable', 'wait'],
    ['COMMITTED', 'postcopy-failed', 'absent', 'operator'],
    ['COMMITTED', 'absent', 'postcopy-failed', 'operator'],
    ['COMMITTED', 'postcopy-failed', 'running', 'act source remove-paused-copy'],
    ['COMMITTED', 'postcopy-paused', 'running', 'act source remove-paused-copy'],
    ['REVOKED', 'postcopy-failed', 'postcopy-failed', 'operator'],
  ] as const)('%s, source %s, destination %s: %s', (commitRecord, source, destination, expected) => {
    const decision = decideOwnership({
      commitRecord,
      source: evidenceOf(source),
      destination: evidenceOf(destination),
    });
    expect(summary(decision)).toBe(expected);
  });

  it('waits while libvirt winds up a post-copy on the source', () => {
    const source = evidenceOf('postcopy-paused', true);
    expect(decideOwnership({ commitRecord: 'COMMITTED', source, destination: evidenceOf('running') }).kind).toBe(
      'wait',
    );
  });

  it('waits while libvirt is still at work on the source', () => {
    expect(
      decideOwnership({
        commitRecord: 'REVOKED',
        source: evidenceOf('running', true),
        destination: evidenceOf('absent'),
      }).kind,
    ).toBe('wait');
  });
});

describe('when the mover reported that the destination runs the VM', () => {
  it.each([
    // An answer is not needed.
    ['COMMITTED', 'absent', 'unreachable', 'settle destination'],
    ['COMMITTED', 'unreachable', 'unreachable', 'settle destination'],
    ['COMMITTED', 'migrating-paused', 'unreachable', 'act source remove-paused-copy'],
    ['COMMITTED', 'shutoff', 'unreachable', 'act source remove-paused-copy'],
    // It has run there: what the source kept is older than the disks.
    ['COMMITTED', 'migrating-paused', 'absent', 'operator'],
    ['COMMITTED', 'migrating-paused', 'shutoff', 'operator'],
    ['COMMITTED', 'unreachable', 'shutoff', 'operator'],
    ['COMMITTED', 'absent', 'absent', 'operator'],
    ['COMMITTED', 'running', 'absent', 'operator'],
    ['COMMITTED', 'running', 'unreachable', 'operator'],
    // It has ended there, and there is no older copy that anybody could start instead.
    ['COMMITTED', 'absent', 'shutoff', 'settle none'],
    // The report does not outweigh what is seen.
    ['COMMITTED', 'migrating-paused', 'running', 'act source remove-paused-copy'],
    ['COMMITTED', 'migrating-paused', 'incoming', 'wait'],
    // Without a commit there was nothing to report on.
    ['REVOKED', 'migrating-paused', 'unreachable', 'act source resume'],
  ] as const)('%s, source %s, destination %s: %s', (commitRecord, source, destination, expected) => {
    const input = {
      commitRecord,
      source: evidenceOf(source),
      destination: evidenceOf(destination),
      startReported: true,
    };
    expect(summary(decideOwnership(input))).toBe(expected);
  });

  it("an operator's decision does not resume what the source kept", () => {
    const input = {
      commitRecord: 'COMMITTED' as const,
      destination: evidenceOf('unreachable'),
      startReported: true,
      operatorDecision: 'source' as const,
    };
    expect(decideOwnership({ ...input, source: evidenceOf('migrating-paused') })).toMatchObject({
      kind: 'operator',
      why: expect.stringContaining('older than the disks'),
    });
    expect(summary(decideOwnership({ ...input, source: evidenceOf('running') }))).toBe('settle source');
  });
});

it.each([
  ['REVOKED', 'running', 'absent', []],
  ['REVOKED', 'running', 'unreachable', ['destination']],
  ['REVOKED', 'unreachable', 'absent', ['source']],
  ['REVOKED', 'unreachable', 'unreachable', ['source', 'destination']],
  ['COMMITTED', 'unreachable', 'running', ['source']],
] as const)(
  'settling %s with source %s and destination %s leaves cleanups of %j pending',
  (commitRecord, source, destination, pendingCleanup) => {
    expect(
      decideOwnership({ commitRecord, source: evidenceOf(source), destination: evidenceOf(destination) }),
    ).toMatchObject({
      kind: 'settle',
      pendingCleanup,
    });
  },
);

describe("an operator's decision", () => {
  it.each([
    // It stands in for a host that could not be asked.
    ['source', 'COMMITTED', 'migrating-paused', 'unreachable', 'act source resume'],
    ['source', 'COMMITTED', 'running', 'unreachable', 'settle source'],
    ['source', 'COMMITTED', 'unreachable', 'absent', 'settle source'],
    ['source', 'COMMITTED', 'unreachable', 'unreachable', 'settle source'],
    ['destination', 'COMMITTED', 'migrating-paused', 'unreachable', 'act source remove-paused-copy'],
    ['destination', 'COMMITTED', 'absent', 'unreachable', 'settle destination'],
    ['destination', 'COMMITTED', 'unreachable', 'unreachable', 'settle destination'],
    // It settles what both hosts show and neither proves.
    ['source', 'COMMITTED', 'paused', 'absent', 'settle source'],
    ['source', 'COMMITTED', 'shutoff', 'absent', 'settle source'],
    // It agrees with what is proven.
    ['destination', 'COMMITTED', 'migrating-paused', 'running', 'act source remove-paused-copy'],
    ['source', 'REVOKED', 'running', 'absent', 'settle source'],
    ['source', 'REVOKED', 'absent', 'absent', 'settle none'],
    // It does not stand against proof.
    ['source', 'COMMITTED', 'migrating-paused', 'running', 'operator'],
    ['source', 'COMMITTED', 'unreachable', 'running', 'operator'],
    ['source', 'COMMITTED', 'absent', 'unreachable', 'operator'],
    ['destination', 'COMMITTED', 'migrating-paused', 'absent', 'operator'],
    ['destination', 'COMMITTED', 'unreachable', 'shutoff', 'operator'],
    ['destination', 'COMMITTED', 'running', 'unreachable', 'operator'],
    ['destination', 'REVOKED', 'migrating-paused', 'unreachable', 'operator'],
    ['destination', 'REVOKED', 'unreachable', 'unreachable', 'operator'],
    ['source', 'COMMITTED', 'running', 'running', 'operator'],
    ['destination', 'COMMITTED', 'running', 'running', 'operator'],
    // It does not make a copy a VM, nor half of one.
    ['destination', 'COMMITTED', 'unreachable', 'incoming', 'operator'],
    ['source', 'COMMITTED', 'migrating-paused', 'incoming', 'wait'],
    // No decision of a person puts memory together.
    ['source', 'COMMITTED', 'postcopy-failed', 'unreachable', 'wait'],
  ] as const)(
    'for the %s: %s, source %s, destination %s: %s',
    (operatorDecision, commitRecord, source, destination, expected) => {
      const decision = decideOwnership({
        commitRecord,
        source: evidenceOf(source),
        destination: evidenceOf(destination),
        operatorDecision,
      });
      expect(summary(decision)).toBe(expected);
    },
  );

  it('is refused with the proof against it', () => {
    const { why } = decideOwnership({
      commitRecord: 'COMMITTED',
      source: evidenceOf('migrating-paused'),
      destination: evidenceOf('running'),
      operatorDecision: 'source',
    });
    expect(why).toContain('refused, because it runs on the destination');
  });
});

describe('over every combination', () => {
  const all = (['REVOKED', 'COMMITTED'] as const).flatMap((commitRecord) =>
    HOST_STATES.flatMap((source) =>
      HOST_STATES.flatMap((destination) =>
        ([undefined, 'source', 'destination'] as const).flatMap((operatorDecision) =>
          [false, true].map((startReported) => ({
            commitRecord,
            source: evidenceOf(source),
            destination: evidenceOf(destination),
            startReported,
            operatorDecision,
          })),
        ),
      ),
    ),
  );

  it('never resumes the source unless the destination cannot run the VM', () => {
    for (const input of all) {
      const decision = decideOwnership(input);
      if (decision.kind !== 'act' || decision.action !== 'resume') continue;
      const to = stateOf(input.destination);
      // Never handed over, or proven never to have been there; or nobody can tell, and an operator says so.
      const gone = to === 'absent' || (['unreachable', 'shutoff'].includes(to) && input.operatorDecision === 'source');
      expect(input.commitRecord === 'REVOKED' ? to !== 'running' : gone, JSON.stringify(input)).toBe(true);
    }
  });

  it('never resumes the source once the destination was startReported, whatever an operator says', () => {
    for (const input of all) {
      const decision = decideOwnership(input);
      if (input.commitRecord === 'COMMITTED' && input.startReported && decision.kind === 'act') {
        // Resuming a post-copy runs nothing on the source: it sends the rest.
        expect(['remove-paused-copy', 'resume-postcopy'], JSON.stringify(input)).toContain(decision.action);
      }
    }
  });

  it('never removes a copy from the source unless the VM runs on the destination', () => {
    for (const input of all) {
      const decision = decideOwnership(input);
      if (decision.kind === 'act' && decision.action === 'remove-paused-copy') {
        const to = stateOf(input.destination);
        expect(input.commitRecord).toBe('COMMITTED');
        const taken = input.startReported || input.operatorDecision === 'destination';
        expect(to === 'running' || (to === 'unreachable' && taken), JSON.stringify(input)).toBe(true);
      }
    }
  });

  it('never destroys a destination copy that may own the VM', () => {
    for (const input of all) {
      const decision = decideOwnership(input);
      if (decision.kind === 'act' && decision.action === 'destroy-incoming') {
        expect([input.commitRecord, stateOf(input.destination)]).toEqual(['REVOKED', 'incoming']);
      }
    }
  });

  it('acts only on a host that answered', () => {
    for (const input of all) {
      const decision = decideOwnership(input);
      if (decision.kind === 'act') expect(input[decision.role]).not.toBe('unreachable');
    }
  });

  it('settles the VM on a host only where it was seen, or where the commit record proves it', () => {
    for (const input of all) {
      const decision = decideOwnership(input);
      if (decision.kind !== 'settle' || decision.owner === 'none') continue;
      const there = stateOf(input[decision.owner]);
      const proven =
        ['running', 'paused'].includes(there) || (there === 'unreachable' && input.commitRecord === 'REVOKED');
      // An operator may say so of a host that does not answer, or of a VM that is shut off there.
      const named = input.operatorDecision === decision.owner && ['unreachable', 'shutoff'].includes(there);
      // Or the mover did, before it stopped answering.
      const reported = input.startReported && decision.owner === 'destination' && there === 'unreachable';
      expect(proven || named || reported, JSON.stringify(input)).toBe(true);
    }
  });

  it('decides the same without the decision of an operator, unless it has to ask or that decision is refused', () => {
    for (const input of all) {
      const without = decideOwnership({ ...input, operatorDecision: undefined });
      const decision = decideOwnership(input);
      if (without.kind !== 'settle' && without.kind !== 'act') continue;
      if (decision.kind === 'operator') expect(decision.why).toContain('refused');
      else expect(summary(decision)).toBe(summary(without));
    }
  });
});
