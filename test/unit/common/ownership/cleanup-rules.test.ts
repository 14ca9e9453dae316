import { describe, expect, it } from 'vitest';
import { ACTION_STATES, type VmAction } from '../../../../common/ownership/actions.ts';
import { CLEANUP_SECTIONS, cleanupRuleFor } from '../../../../common/ownership/cleanup-rules.ts';
import { HOST_STATES } from './host-states.ts';

const BOOLEANS = [false, true];
const ROLES = ['source', 'destination'] as const;
const COMMIT_RECORDS = ['REVOKED', 'COMMITTED'] as const;

describe('the rules of a pending cleanup', () => {
  const facts = ROLES.flatMap((owner) =>
    ROLES.flatMap((role) =>
      HOST_STATES.flatMap((state) =>
        COMMIT_RECORDS.flatMap((commitRecord) =>
          BOOLEANS.flatMap((pendingJob) =>
            BOOLEANS.flatMap((movedOn) =>
              BOOLEANS.map((runsOnDestination) => ({
                owner,
                role,
                state,
                commitRecord,
                pendingJob: pendingJob && state !== 'unreachable' && state !== 'postcopy-failed',
                movedOn,
                runsOnDestination,
              })),
            ),
          ),
        ),
      ),
    ),
  );

  it('cover each owner on each host once, and have no rule that never applies', () => {
    expect(new Set(CLEANUP_SECTIONS.map(({ owner, role }) => `${owner} ${role}`)).size).toBe(4);
    for (const { owner, role, rules, otherwise } of CLEANUP_SECTIONS) {
      const applied = new Set(facts.filter((each) => each.owner === owner && each.role === role).map(cleanupRuleFor));
      expect(applied).toEqual(new Set([...rules, otherwise]));
    }
  });

  it('order only what the agent accepts', () => {
    for (const each of facts) {
      const { decision } = cleanupRuleFor(each);
      if (decision in ACTION_STATES) expect(ACTION_STATES[decision as VmAction].needs).toContain(each.state);
    }
  });
});
