import type { Role } from '../../contract/names.ts';
import type { RecoveryInput, Seen } from './recovery.ts';

/** What an operator is told of a migration that only he can settle: what was seen, proven and not known, and what to do. */
export function operatorReport(
  migrationId: string,
  why: string,
  { commitRecord, source, destination }: RecoveryInput,
): string {
  const unknown = (['source', 'destination'] as const).filter(
    (role) => ({ source, destination })[role] === 'unreachable',
  );
  return [
    `${why[0]?.toUpperCase()}${why.slice(1)}.`,
    `Seen: ${sight('source', source)}; ${sight('destination', destination)}.`,
    `Proven: the handover was ${commitRecord === 'COMMITTED' ? 'committed, so either host may own the VM' : 'never committed'}.`,
    unknown.length === 0
      ? 'Unknown: nothing more can be asked.'
      : `Unknown: what ${unknown.join(' and ')} would show; make sure by other means where the VM runs, and that it runs nowhere else.`,
    `Then: handoff resolve ${migrationId} --owner source|destination --reason TEXT.`,
  ].join(' ');
}

/** What a person is told of a flagged host on which more is left than can be put right by itself. */
export function cleanupReport(migrationId: string, why: string): string {
  return (
    `${why[0]?.toUpperCase()}${why.slice(1)}. Apply recovery action by hand; the host is looked at again by itself, and ` +
    `handoff audit lists it until nothing is left there (migration ${migrationId}).`
  );
}

const sight = (role: Role, seen: Seen): string =>
  `${role} ${seen === 'unreachable' ? 'does not answer' : `shows it ${seen.detail}`}`;
