import { describe, expect, it } from 'vitest';
import { CopyState, type Evidence } from '../../../contract/facts.ts';
import { decideRecovery, type Seen } from '../../../lambdas/shared/recovery.ts';

const see = (state: Evidence['state'], jobActive = false): Evidence => ({
  state,
  detail: state,
  jobActive,
  mover: 'none',
});
const sight = (name: string): Seen => (name === 'unreachable' ? 'unreachable' : see(name as Evidence['state']));

describe('who owns the VM', () => {
  // ticket, source, destination -> decision; the rows an operator would look up.
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
    ['COMMITTED', 'absent', 'running', 'settle destination'],
    ['COMMITTED', 'unreachable', 'running', 'settle destination'],
    ['COMMITTED', 'migrating-paused', 'absent', 'act source resume'],
    ['COMMITTED', 'running', 'absent', 'settle source'],
    ['COMMITTED', 'running', 'unreachable', 'wait'],
    ['COMMITTED', 'migrating-paused', 'unreachable', 'wait'],
    ['COMMITTED', 'migrating-paused', 'incoming', 'wait'],
    ['COMMITTED', 'unreachable', 'absent', 'wait'],
    ['COMMITTED', 'unreachable', 'unreachable', 'wait'],
    ['COMMITTED', 'absent', 'absent', 'operator'],
    ['REVOKED', 'running', 'running', 'operator'],
    ['COMMITTED', 'running', 'running', 'operator'],
    ['COMMITTED', 'postcopy-failed', 'postcopy-failed', 'operator'],
  ] as const)('%s, source %s, destination %s: %s', (ticket, source, destination, expected) => {
    const decision = decideRecovery({ ticket, source: sight(source), destination: sight(destination) });
    const said =
      decision.kind === 'settle'
        ? `settle ${decision.owner}`
        : decision.kind === 'act'
          ? `act ${decision.role} ${decision.action}`
          : decision.kind;
    expect(said).toBe(expected);
  });

  it('waits while libvirt is still at work on the source', () => {
    expect(decideRecovery({ ticket: 'REVOKED', source: see('running', true), destination: see('absent') }).kind).toBe(
      'wait',
    );
  });
});

describe('over every combination', () => {
  const states = [...CopyState.options, 'unreachable'];
  const all = (['REVOKED', 'COMMITTED'] as const).flatMap((ticket) =>
    states.flatMap((source) =>
      states.map((destination) => ({ ticket, source: sight(source), destination: sight(destination) })),
    ),
  );
  const stateOf = (seen: Seen) => (seen === 'unreachable' ? seen : seen.state);

  it('never resumes the source unless the destination cannot run the VM', () => {
    for (const input of all) {
      const decision = decideRecovery(input);
      if (decision.kind !== 'act' || decision.action !== 'resume') continue;
      const to = stateOf(input.destination);
      // Never handed over, or proven to be gone.
      expect(input.ticket === 'REVOKED' ? to !== 'running' : ['absent', 'shutoff'].includes(to)).toBe(true);
    }
  });

  it('never removes a copy from the source unless the VM runs on the destination', () => {
    for (const input of all) {
      const decision = decideRecovery(input);
      if (decision.kind === 'act' && decision.action === 'remove-paused-copy') {
        expect([input.ticket, stateOf(input.destination)]).toEqual(['COMMITTED', 'running']);
      }
    }
  });

  it('never destroys a destination copy that may own the VM', () => {
    for (const input of all) {
      const decision = decideRecovery(input);
      if (decision.kind === 'act' && decision.action === 'destroy-incoming') {
        expect([input.ticket, stateOf(input.destination)]).toEqual(['REVOKED', 'incoming']);
      }
    }
  });

  it('acts only on a host that answered', () => {
    for (const input of all) {
      const decision = decideRecovery(input);
      if (decision.kind === 'act') expect(input[decision.role]).not.toBe('unreachable');
    }
  });

  it('says that the VM is somewhere only where it was seen, or where the ticket proves it', () => {
    for (const input of all) {
      const decision = decideRecovery(input);
      if (decision.kind !== 'settle' || decision.owner === 'none') continue;
      const there = stateOf(input[decision.owner]);
      const proven = ['running', 'paused'].includes(there) || (there === 'unreachable' && input.ticket === 'REVOKED');
      expect(proven, JSON.stringify(input)).toBe(true);
    }
  });
});
