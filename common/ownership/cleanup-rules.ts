import type { Role } from '../../contract/names.ts';
import type { AbortAction } from '../../contract/tasks.ts';
import { type HostState, INACTIVE, isOneOf, type OwnershipEvidence } from './evidence.ts';

/** What the cleanup of one host depends on. */
export interface CleanupFacts {
  /** When the migration ended. */
  owner: Role;
  /** Of the host whose cleanup is pending. */
  role: Role;
  /** Of the VM on that host. */
  state: HostState;
  /** libvirt has a job on that host's copy that is expected to end. */
  pendingJob: boolean;
  commitRecord: OwnershipEvidence['commitRecord'];
  /** A newer migration left the VM elsewhere than on this one's source. */
  movedOn: boolean;
  runsOnDestination: boolean;
}

export interface CleanupRule {
  /** Absent: any. */
  state?: readonly HostState[];
  commitRecord?: CleanupFacts['commitRecord'];
  pendingJob?: true;
  movedOn?: true;
  runsOnDestination?: true;
  /** `silent`: the cleanup stays pending. `as-recovery`: resume if recovery would. Otherwise an action, or as in OwnershipDecision. */
  decision: 'nothing' | 'silent' | 'wait' | 'operator' | 'as-recovery' | AbortAction;
  /** `{state}` stands for what the host shows. */
  why: string;
}

export interface CleanupSection {
  owner: Role;
  role: Role;
  /** The first one that matches applies. */
  rules: readonly CleanupRule[];
  otherwise: CleanupRule;
}

const SILENT: CleanupRule = { state: ['unreachable'], decision: 'silent', why: 'the host still does not answer' };
const JOB: CleanupRule = { pendingJob: true, decision: 'wait', why: 'libvirt still has a job' };
const RECEIVING: CleanupRule = { state: ['incoming'], decision: 'wait', why: 'a copy is still being received' };
const STALE = 'the destination took the VM over; this copy is stale';

export const CLEANUP_SECTIONS: readonly CleanupSection[] = [
  {
    // The VM may stand still there, paused by the migration.
    owner: 'source',
    role: 'source',
    rules: [
      SILENT,
      JOB,
      // Shut off or gone: the VM ended with its QEMU, as when the host lost its power.
      { state: ['running', 'paused', ...INACTIVE], decision: 'nothing', why: 'nothing of the migration is left' },
      {
        state: ['migrating-paused'],
        movedOn: true,
        decision: 'operator',
        why: 'the VM is paused, and a newer migration says that it is elsewhere',
      },
      { state: ['migrating-paused'], decision: 'as-recovery', why: 'the VM is paused by the migration' },
    ],
    otherwise: { decision: 'operator', why: 'the VM is {state}' },
  },
  {
    owner: 'source',
    role: 'destination',
    rules: [
      SILENT,
      { state: INACTIVE, decision: 'nothing', why: 'nothing of the migration is left' },
      {
        state: ['incoming'],
        commitRecord: 'REVOKED',
        decision: 'destroy-incoming',
        why: 'the copy may not start any more',
      },
      RECEIVING,
    ],
    otherwise: { decision: 'operator', why: 'the VM is {state}, although the source kept it' },
  },
  {
    // Whatever runs elsewhere by now: the copy was stale from the moment the destination ran.
    owner: 'destination',
    role: 'source',
    rules: [
      SILENT,
      JOB,
      { state: ['absent'], decision: 'nothing', why: 'nothing of the migration is left' },
      { state: ['migrating-paused'], decision: 'remove-paused-copy', why: STALE },
      { state: ['postcopy-failed'], runsOnDestination: true, decision: 'remove-paused-copy', why: STALE },
      {
        state: ['postcopy-failed'],
        decision: 'operator',
        why: 'its half of a post-copy is left, and the VM is not seen to be complete',
      },
      // A definition is all there is, and it may be the last one.
      { state: ['shutoff'], movedOn: true, decision: 'remove-paused-copy', why: STALE },
      { state: ['shutoff'], runsOnDestination: true, decision: 'remove-paused-copy', why: STALE },
      {
        state: ['shutoff'],
        decision: 'operator',
        why: 'a definition of the VM is left, and the VM is not seen to run anywhere',
      },
    ],
    otherwise: { decision: 'operator', why: 'the VM is {state}, although the destination took it over' },
  },
  {
    // The destination owns the VM by the mover's report, or by decision of an operator.
    owner: 'destination',
    role: 'destination',
    rules: [
      SILENT,
      { state: ['running', 'paused', 'shutoff'], decision: 'nothing', why: 'the VM is where it belongs' },
      RECEIVING,
    ],
    otherwise: { decision: 'operator', why: 'the VM is {state}, although it had been taken over' },
  },
];

export function cleanupRuleFor(facts: CleanupFacts): CleanupRule {
  const section = CLEANUP_SECTIONS.find(({ owner, role }) => owner === facts.owner && role === facts.role)!;
  return section.rules.find((rule) => holds(rule, facts)) ?? section.otherwise;
}

const holds = (rule: CleanupRule, facts: CleanupFacts): boolean =>
  (rule.state === undefined || isOneOf(rule.state, facts.state)) &&
  (rule.commitRecord === undefined || rule.commitRecord === facts.commitRecord) &&
  (rule.pendingJob === undefined || facts.pendingJob) &&
  (rule.movedOn === undefined || facts.movedOn) &&
  (rule.runsOnDestination === undefined || facts.runsOnDestination);
