import type { MigrationView } from '../../contract/api.ts';
import type { CopyState } from '../../contract/facts.ts';
import type { Phase } from './phases.ts';

/** What is known of a case when nothing changes any more. */
export interface FinalState {
  fault: string;
  phase: Phase;
  /** Whether the fault had a target at the phase. */
  injected: boolean;
  /** undefined when the migration did not end. */
  view: Pick<MigrationView, 'status' | 'runsOn' | 'failure' | 'source' | 'destination'> | undefined;
  states: Record<'source' | 'destination', CopyState | 'no answer'>;
}

export interface Judgement {
  /** No copy runs, none is kept for an operator, and it was not the VM's own QEMU that was killed. */
  lost: boolean;
  /** The record says what the hosts show. */
  truthful: boolean;
  notes: string[];
}

/** The phases in which killing this QEMU ends the VM: this QEMU has the VM, and no other may run it yet. */
const VM_ENDS_WITH: Record<string, readonly Phase[]> = {
  'source-qemu': ['prepare', 'copying', 'held', 'performed', 'committed'],
  'destination-qemu': ['finished', 'verify', 'confirmed'],
};

export function judge({ fault, phase, injected, view, states }: FinalState): Judgement {
  const roles = ['source', 'destination'] as const;
  const running = roles.filter((role) => states[role] === 'running');
  const kept = roles.filter((role) => states[role] === 'paused' || states[role] === 'migrating-paused');
  const ended = running.length === 0 && kept.length === 0 && injected && VM_ENDS_WITH[fault]?.includes(phase) === true;
  const notes = [
    ...(ended ? ['the VM ended with its QEMU'] : []),
    ...kept.map((role) => `a paused copy is on the ${role}`),
    ...(view === undefined ? ['the migration did not end'] : []),
  ];
  const needsOperator = view?.status === 'NEEDS_OPERATOR';
  const keptForOperator = needsOperator && kept.length > 0 && view.failure !== undefined;
  return {
    lost: running.length === 0 && !ended && !keptForOperator,
    truthful: view !== undefined && isTrue(view, running),
    notes,
  };
}

function isTrue(
  { status, runsOn, source, destination }: NonNullable<FinalState['view']>,
  running: readonly ('source' | 'destination')[],
): boolean {
  const hosts = running.map((role) => (role === 'source' ? source : destination));
  // The record says that it is not known where the VM is.
  if (status === 'NEEDS_OPERATOR') return runsOn === undefined;
  if (status === 'SUCCEEDED') return runsOn === destination && hosts.length === 1 && hosts[0] === destination;
  // A failure that names no host: the VM ended, or nothing was touched and it runs where it was.
  if (runsOn === undefined) return hosts.length === 0 || (hosts.length === 1 && hosts[0] === source);
  return hosts.length === 1 && hosts[0] === runsOn;
}
