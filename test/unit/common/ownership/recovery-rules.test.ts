import { describe, expect, it } from 'vitest';
import { ACTION_STATES, type VmAction } from '../../../../common/ownership/actions.ts';
import { decideFromFacts } from '../../../../common/ownership/decide-ownership.ts';
import type { OwnershipFacts } from '../../../../common/ownership/evidence.ts';
import { RECOVERY_SECTIONS, ruleFor } from '../../../../common/ownership/recovery-rules.ts';
import { HOST_STATES } from './host-states.ts';

const BOOLEANS = [false, true];
const ROLES = ['source', 'destination'] as const;
const COMMIT_RECORDS = ['REVOKED', 'COMMITTED'] as const;

const all: OwnershipFacts[] = COMMIT_RECORDS.flatMap((commitRecord) =>
  HOST_STATES.flatMap((source) =>
    HOST_STATES.flatMap((destination) =>
      BOOLEANS.flatMap((sourceJob) =>
        BOOLEANS.flatMap((startReported) =>
          [undefined, ...ROLES].map((operatorDecision) => ({
            commitRecord,
            source,
            destination,
            sourceJob: sourceJob && source !== 'unreachable',
            startReported: startReported && commitRecord === 'COMMITTED',
            operatorDecision,
          })),
        ),
      ),
    ),
  ),
);

describe('the rules of recovery', () => {
  it('have no rule that never applies', () => {
    const applied = new Set(all.map(ruleFor));
    const never = RECOVERY_SECTIONS.flatMap(({ title, rules }) =>
      rules.flatMap((rule, at) => (applied.has(rule) ? [] : [`${title}, rule ${at + 1}`])),
    );
    expect(never).toEqual([]);
  });

  it('leave only waiting to be done where none applies', () => {
    const covered = new Set(RECOVERY_SECTIONS.flatMap(({ rules }) => rules));
    const others = all.filter((facts) => !covered.has(ruleFor(facts)));
    expect(others.length).toBeGreaterThan(0);
    for (const facts of others) {
      expect(decideFromFacts(facts).kind).toBe('wait');
      expect(facts.commitRecord).toBe('COMMITTED');
    }
  });

  it('leave no placeholder in a reason', () => {
    for (const facts of all) expect(decideFromFacts(facts).why).not.toMatch(/[{}]|undefined/);
  });

  it('order only what the agent accepts, but for a source that a person has paused', () => {
    const refused = new Set<string>();
    for (const facts of all) {
      const decision = decideFromFacts(facts);
      if (decision.kind !== 'act') continue;
      const state = facts[decision.role];
      const { needs } = ACTION_STATES[decision.action as VmAction];
      if (!(needs as readonly string[]).includes(state)) refused.add(`${decision.action}: ${state}`);
    }
    // The agent touches nothing then, and an operator is asked: the VM may have been paused for a reason.
    expect([...refused]).toEqual(['remove-paused-copy: paused']);
  });
});
