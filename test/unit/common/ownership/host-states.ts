import type { HostEvidence, HostState } from '../../../../common/ownership/evidence.ts';
import { CopyState } from '../../../../contract/facts.ts';

/** All that a host can show. */
export const HOST_STATES: readonly HostState[] = [...CopyState.options, 'unreachable'];

export const evidenceOf = (state: HostState, jobActive = false): HostEvidence =>
  state === 'unreachable' ? state : { state, detail: state, jobActive, mover: 'none' };
