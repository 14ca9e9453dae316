import type { CopyState, Evidence } from '../../contract/facts.ts';
import type { CommitRecordState } from '../../contract/mailbox.ts';
import type { Role } from '../../contract/names.ts';

/** What a host showed of the VM. A host that did not answer is `unreachable`: that proves nothing, above all not that the VM is gone. */
export type HostEvidence = Evidence | 'unreachable';

/** The state in it. */
export type HostState = CopyState | 'unreachable';

/** All that is known when the owner of a VM is decided. */
export interface OwnershipEvidence {
  /** Recovery revokes an OPEN commit record before it inspects a host. REVOKED: the destination was never started, and never will be. */
  commitRecord: Exclude<CommitRecordState, 'OPEN'>;
  /** After the source's mover was killed. */
  source: HostEvidence;
  destination: HostEvidence;
  /**
   * The mover reported that Finish succeeded, or that it saw the VM run on the destination. Only the mover that claimed this
   * migration's task writes such a report, into the mailbox that holds the commit record, and only after its commit. From that
   * moment on the destination's guest writes to the disks: the source's copy has an older memory and must never run again. The
   * report does not prove that the VM still runs on the destination.
   */
  startReported?: boolean | undefined;
  /** The owner that an operator named. It stands in for a host that could not be asked, never against what was proven. */
  operatorDecision?: Role | undefined;
}

/** What the rules depend on. */
export interface OwnershipFacts {
  commitRecord: OwnershipEvidence['commitRecord'];
  source: HostState;
  /** libvirt has an active job on the source's copy. */
  sourceJob: boolean;
  destination: HostState;
  /** True only with a commit: without one there was no start to report. */
  startReported: boolean;
  operatorDecision: Role | undefined;
}

export const factsOf = (evidence: OwnershipEvidence): OwnershipFacts => ({
  commitRecord: evidence.commitRecord,
  source: stateOf(evidence.source),
  sourceJob: evidence.source !== 'unreachable' && evidence.source.jobActive,
  destination: stateOf(evidence.destination),
  startReported: evidence.commitRecord === 'COMMITTED' && evidence.startReported === true,
  operatorDecision: evidence.operatorDecision,
});

export const stateOf = (host: HostEvidence): HostState => (host === 'unreachable' ? 'unreachable' : host.state);

/** The roles whose host did not answer. */
export const silentRoles = (hosts: Record<Role, HostState>): Role[] =>
  (['source', 'destination'] as const).filter((role) => hosts[role] === 'unreachable');

/** libvirt answered, and no QEMU of the VM is there. */
export const INACTIVE = ['absent', 'shutoff'] as const satisfies readonly CopyState[];

/** A source with its half of a post-copy: the guest cannot run there any more, and the destination may need the half's memory. */
export const SOURCE_HALF = ['postcopy-paused', 'postcopy-failed'] as const satisfies readonly CopyState[];

/** A destination with its half of a post-copy: the guest runs there, or stands still at a page that is missing. */
export const DESTINATION_HALF = ['postcopy-running', 'postcopy-failed'] as const satisfies readonly CopyState[];

export const isOneOf = (states: readonly HostState[], state: HostState): boolean => states.includes(state);

/** Some host shows a half of a post-copy, be it on the side where that half belongs or not. */
export const hasPostCopyHalf = (hosts: Record<Role, HostState>): boolean =>
  [hosts.source, hosts.destination].some((state) => isOneOf(SOURCE_HALF, state) || isOneOf(DESTINATION_HALF, state));

/** libvirt keeps the job of a broken post-copy's half for as long as the half is there, so that the job's end is not waited for. */
export const jobLastsAsLongAs = (state: HostState): boolean => state === 'postcopy-failed';
