import type { HostEvidence, OwnershipEvidence } from '../../common/ownership/evidence.ts';
import type { Role } from '../../contract/names.ts';

/** What an operator reads of a migration that only a person can settle: what was seen, proven and not known, and what to do. */
export function operatorReport(
  migrationId: string,
  why: string,
  { commitRecord, source, destination }: OwnershipEvidence,
): string {
  const silent = Object.entries({ source, destination }).flatMap(([role, host]) =>
    host === 'unreachable' ? [role] : [],
  );
  return [
    sentence(why),
    `Seen: ${shown('source', source)}; ${shown('destination', destination)}.`,
    `Proven: the handover was ${commitRecord === 'COMMITTED' ? 'committed, so either host may own the VM' : 'never committed'}.`,
    silent.length === 0
      ? 'Unknown: nothing more can be asked.'
      : `Unknown: what ${silent.join(' and ')} would show; make sure by other means where the VM runs, and that it runs nowhere else.`,
    `Then: handoff resolve ${migrationId} --owner source|destination --reason TEXT.`,
  ].join(' ');
}

/** What an operator reads of a pending cleanup that only a person can complete. */
export function cleanupReport(migrationId: string, why: string): string {
  return (
    `${sentence(why)} Put it right by hand. The host is inspected again automatically, and handoff audit lists it until nothing ` +
    `is left there (migration ${migrationId}).`
  );
}

const sentence = (text: string): string => `${text[0]?.toUpperCase()}${text.slice(1)}.`;

const shown = (role: Role, host: HostEvidence): string =>
  `${role} ${host === 'unreachable' ? 'does not answer' : `shows it ${host.detail}`}`;
