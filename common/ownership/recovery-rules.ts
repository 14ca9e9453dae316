import type { Role } from '../../contract/names.ts';
import type { AbortAction } from '../../contract/tasks.ts';
import { type HostState, hasPostCopyHalf, INACTIVE, isOneOf, type OwnershipFacts } from './evidence.ts';
import { assessPostCopy, type PostCopyStatus } from './post-copy.ts';

/** What has to hold; a field that is absent may be anything. */
export interface RecoveryCondition {
  commitRecord?: OwnershipFacts['commitRecord'];
  startReported?: true;
  operatorDecision?: Role;
  source?: readonly HostState[];
  sourceJob?: true;
  destination?: readonly HostState[];
  /** True: some host shows a half of a post-copy. */
  postCopyHalf?: true;
  postCopy?: PostCopyStatus;
}

export type RecoveryOutcome =
  | { kind: 'settle'; owner: Role | 'none' }
  /** `atOnce`: not even a silent host is waited for. */
  | { kind: 'act'; role: Role; action: AbortAction; atOnce?: true }
  | { kind: 'wait' }
  | { kind: 'operator' };

export interface RecoveryRule {
  when: RecoveryCondition;
  decision: RecoveryOutcome;
  /** `{source}` and `{destination}` stand for what they show, `{operator}` for the owner that an operator named. */
  why: string;
}

export interface RecoverySection {
  title: string;
  /** For all rules of the section. */
  when: RecoveryCondition;
  rules: readonly RecoveryRule[];
}

const wait = { kind: 'wait' } as const;
const operator = { kind: 'operator' } as const;
const settle = (owner: Role | 'none') => ({ kind: 'settle', owner }) as const;
const RESUME = { kind: 'act', role: 'source', action: 'resume' } as const;
const REMOVE = { kind: 'act', role: 'source', action: 'remove-paused-copy' } as const;

const NOT_RUNNING: readonly HostState[] = ['paused', 'migrating-paused', ...INACTIVE, 'unreachable'];
const INACTIVE_OR_SILENT: readonly HostState[] = [...INACTIVE, 'unreachable'];

const RULED_OUT =
  'a post-copy shows the source {source} and the destination {destination}, which the protocol rules out';
const HALF_LOST =
  "a half of the VM's memory is gone (source {source}, destination {destination}), and QEMU cannot go on with the other: end what " +
  'is left of the VM, and boot it where it belongs';
const REFUSED = "the operator's decision that the {operator} owns the VM is refused, because";
const OLDER =
  'the destination ran the VM and has written to its disks, and the VM is {destination} there now; what the source has ({source}) ' +
  'is older than the disks and must not be resumed: boot the VM where it belongs';

/** The first rule of the first section that matches applies. When none does, recovery waits. */
export const RECOVERY_SECTIONS: readonly RecoverySection[] = [
  {
    // Before all others, because libvirt keeps the job of a source's half for as long as that half is there.
    title: 'A half of a post-copy is seen, where the protocol rules it out',
    when: { postCopyHalf: true },
    rules: [
      { when: { commitRecord: 'REVOKED' }, decision: operator, why: RULED_OUT },
      { when: { source: ['running', 'postcopy-running'] }, decision: operator, why: RULED_OUT },
      { when: { destination: ['postcopy-paused'] }, decision: operator, why: RULED_OUT },
    ],
  },
  {
    // Neither half is ever taken away before the VM is complete on the destination, whatever an operator says: no decision of a
    // person puts memory together.
    title: 'A half of a post-copy is seen',
    when: { postCopyHalf: true },
    rules: [
      {
        when: { postCopy: 'complete', source: ['postcopy-paused'], sourceJob: true },
        decision: wait,
        // A libvirtd that was restarted meanwhile leaves the half as it is, without a job.
        why: 'libvirt is about to end the post-copy on the source',
      },
      { when: { postCopy: 'complete' }, decision: REMOVE, why: 'the destination has all of the VM and runs it' },
      {
        when: { postCopy: 'broken' },
        decision: { kind: 'act', role: 'source', action: 'resume-postcopy' },
        why: 'each host has a half of the VM, and the source has to send the rest of the memory',
      },
      { when: { postCopy: 'half-lost' }, decision: operator, why: HALF_LOST },
      {
        when: { postCopy: 'in-progress' },
        decision: wait,
        why: 'the post-copy is in progress: the source is {source}, the destination {destination}',
      },
      // Unlike the mover, recovery cannot send the Finish that is missing: only the client that prepared has the handshake.
      {
        when: { postCopy: 'finish-missing' },
        decision: wait,
        why: 'the source has a half of the VM, and the destination has received no Finish',
      },
      {
        when: { postCopy: 'unknown' },
        decision: wait,
        why: 'a post-copy shows the source {source} and the destination {destination}, which may still change',
      },
    ],
  },
  {
    title: 'No decision is possible, whatever the commit record says',
    when: {},
    rules: [
      { when: { sourceJob: true }, decision: wait, why: 'libvirt still has a migration job on the source' },
      {
        when: { source: ['running'], destination: ['running'] },
        decision: operator,
        why: 'the VM runs on both hosts, which the protocol rules out: stop one by hand',
      },
      {
        when: { source: ['incoming'] },
        decision: operator,
        why: 'the source shows an incoming copy of the VM it should own',
      },
    ],
  },
  {
    title: 'An operator named an owner, against what is proven',
    when: {},
    rules: [
      {
        when: { operatorDecision: 'source', destination: ['running'] },
        decision: operator,
        why: `${REFUSED} it runs on the destination`,
      },
      {
        when: { operatorDecision: 'source', startReported: true, source: NOT_RUNNING },
        decision: operator,
        why: `${REFUSED} the destination ran it, so that a copy of the source's is older than the disks`,
      },
      // A VM that is nowhere and was never handed over is settled as such.
      {
        when: { operatorDecision: 'source', commitRecord: 'COMMITTED', source: ['absent'] },
        decision: operator,
        why: `${REFUSED} the source does not have it`,
      },
      {
        when: { operatorDecision: 'destination', source: ['running'] },
        decision: operator,
        why: `${REFUSED} it runs on the source`,
      },
      {
        when: { operatorDecision: 'destination', destination: [...INACTIVE, 'incoming'] },
        decision: operator,
        why: `${REFUSED} on the destination it is {destination}`,
      },
      {
        when: { operatorDecision: 'destination', commitRecord: 'REVOKED', destination: ['unreachable'] },
        decision: operator,
        why: `${REFUSED} the handover was never committed`,
      },
    ],
  },
  {
    title: 'REVOKED: Finish was never sent, so that a copy on the destination has never run',
    when: { commitRecord: 'REVOKED' },
    rules: [
      {
        when: { source: INACTIVE, destination: ['running', 'paused'] },
        decision: settle('destination'),
        why: 'the VM was on the destination all along',
      },
      {
        when: { destination: ['running', 'paused'] },
        decision: operator,
        why: 'a VM of that name is {destination} on the destination, which this migration has not started',
      },
      {
        when: { destination: ['migrating-paused'] },
        decision: operator,
        why: 'the destination holds the VM as the source of another migration',
      },
      {
        when: { destination: ['incoming'] },
        decision: { kind: 'act', role: 'destination', action: 'destroy-incoming', atOnce: true },
        why: 'the copy on the destination may not start any more',
      },
      {
        when: { source: ['running', 'paused'] },
        decision: settle('source'),
        why: 'the VM is {source} on the source, as it was',
      },
      {
        when: { source: ['migrating-paused'] },
        // The guest stands still.
        decision: { ...RESUME, atOnce: true },
        why: 'the handover was never committed',
      },
      { when: { source: ['unreachable'] }, decision: settle('source'), why: 'the handover was never committed' },
      {
        when: { source: INACTIVE },
        decision: settle('none'),
        why: 'the VM is {source} on the source and was never started on the destination',
      },
    ],
  },
  {
    title: 'COMMITTED, and an operator named the source: a destination that cannot be asked does not run the VM',
    when: { commitRecord: 'COMMITTED', operatorDecision: 'source', destination: INACTIVE_OR_SILENT },
    rules: [
      {
        when: { source: ['migrating-paused'] },
        decision: RESUME,
        why: "the destination does not run it, by proof or by the operator's decision",
      },
      {
        when: {},
        decision: settle('source'),
        why: "the destination does not run it, by proof or by the operator's decision",
      },
    ],
  },
  {
    title: 'COMMITTED, and the mover reported that the destination ran the VM: the copy of the source is stale',
    when: { commitRecord: 'COMMITTED', startReported: true, destination: INACTIVE_OR_SILENT },
    rules: [
      {
        when: { source: ['running'] },
        decision: operator,
        why:
          'the mover reported that the destination runs the VM, yet it is running on the source and {destination} on the ' +
          'destination',
      },
      {
        when: { source: ['absent'], destination: ['shutoff'] },
        decision: settle('none'),
        why: 'the destination ran the VM, which has ended there since; nothing of it is left on the source',
      },
      { when: { destination: INACTIVE }, decision: operator, why: OLDER },
      {
        when: { source: ['absent', 'unreachable'] },
        decision: settle('destination'),
        why: 'the mover reported that the destination runs the VM',
      },
      { when: {}, decision: REMOVE, why: 'the mover reported that the destination runs the VM' },
    ],
  },
  {
    title: 'COMMITTED, and an operator named the destination, which cannot be asked',
    when: { commitRecord: 'COMMITTED', operatorDecision: 'destination', destination: ['unreachable'] },
    rules: [
      {
        when: { source: ['migrating-paused', 'paused'] },
        decision: REMOVE,
        why: "the destination runs it, by the operator's decision",
      },
      { when: {}, decision: settle('destination'), why: "the destination runs it, by the operator's decision" },
    ],
  },
  {
    title: 'COMMITTED: Finish may have been sent, and only the hosts can show how it ended',
    when: { commitRecord: 'COMMITTED' },
    rules: [
      {
        // One that is shut off (its QEMU was killed) is no less dangerous: whoever starts it there has the VM twice.
        when: { source: ['migrating-paused', 'paused', 'shutoff'], destination: ['running'] },
        decision: REMOVE,
        why: 'the VM runs on the destination',
      },
      { when: { destination: ['running'] }, decision: settle('destination'), why: 'the VM runs on the destination' },
      {
        when: { source: ['running'], destination: INACTIVE },
        decision: settle('source'),
        why: 'the mover cancelled the handover after the commit; the destination has no copy',
      },
      {
        when: { source: ['migrating-paused'], destination: ['shutoff'] },
        decision: operator,
        why:
          'the VM is shut off on the destination: it may have been started there and have ended, after writing to its disks, and ' +
          "then the source's copy is older than they are",
      },
      {
        when: { source: ['migrating-paused'], destination: ['absent'] },
        decision: RESUME,
        why: 'the destination proved that it has no copy',
      },
      {
        when: { source: ['paused', ...INACTIVE], destination: INACTIVE },
        decision: operator,
        why:
          'the handover was committed, yet the VM is {source} on the source and {destination} on the destination; start it where ' +
          'it belongs',
      },
    ],
  },
];

const OTHERWISE: RecoveryRule = {
  when: {},
  decision: wait,
  why: 'the source is {source} and the destination {destination}: neither proves who owns the VM',
};

export function ruleFor(facts: OwnershipFacts): RecoveryRule {
  for (const { when, rules } of RECOVERY_SECTIONS) {
    if (!holds(when, facts)) continue;
    const rule = rules.find((each) => holds(each.when, facts));
    if (rule !== undefined) return rule;
  }
  return OTHERWISE;
}

function holds(when: RecoveryCondition, facts: OwnershipFacts): boolean {
  return (
    (when.commitRecord === undefined || when.commitRecord === facts.commitRecord) &&
    (when.startReported === undefined || facts.startReported) &&
    (when.operatorDecision === undefined || when.operatorDecision === facts.operatorDecision) &&
    (when.source === undefined || isOneOf(when.source, facts.source)) &&
    (when.sourceJob === undefined || facts.sourceJob) &&
    (when.destination === undefined || isOneOf(when.destination, facts.destination)) &&
    (when.postCopyHalf === undefined || hasPostCopyHalf(facts)) &&
    (when.postCopy === undefined || when.postCopy === assessPostCopy(facts.source, facts.destination))
  );
}
