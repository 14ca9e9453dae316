import type { Problem } from '../contract/api.ts';

/** The API's answer names no command, because programs read it too; here is what a person types next. */
export function nextCommands({ code, migrationId }: Pick<Problem, 'code' | 'migrationId'>): string[] {
  const id = migrationId ?? 'ID';
  return NEXT_COMMANDS[code]?.map((line) => line.replaceAll('ID', id)) ?? [];
}

const NEXT_COMMANDS: Partial<Record<string, readonly string[]>> = {
  UnknownHost: ['registered hosts: handoff hosts'],
  UnknownMigration: ['known migrations: handoff list'],
  VmBusy: ['wait for it: handoff show ID --watch', 'or cancel it: handoff cancel ID'],
  HostNotAccepting: ['accept VMs again: handoff uncordon HOST'],
  HostInUse: ['empty the host first: handoff evacuate HOST --watch', 'a lost host: handoff remove-host HOST --gone'],
  AlreadyHandedOver: ['see how it ended: handoff show ID'],
  NotInDoubt: ['see its status: handoff show ID'],
};
