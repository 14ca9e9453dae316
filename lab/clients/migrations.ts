import { followMigration, getMigration } from '../../cli/follow-migration.ts';
import type { MigrationRequest, MigrationView } from '../../contract/api.ts';
import type { HostName } from '../hosts/plan.ts';
import { until } from '../hosts/until.ts';
import type { ManagedLab } from '../managed-lab.ts';

export type MigrationParams = { vm: string; from: HostName; to: HostName } & Partial<
  Omit<MigrationRequest, 'policy'>
> & {
    policy?: Partial<MigrationRequest['policy']>;
  };

/** Asks for a migration and returns its id at once. */
export async function request({ api }: ManagedLab, { vm, from, to, ...more }: MigrationParams): Promise<string> {
  const body = { vm, source: from, destination: to, ...more };
  const { migrationId } = await api.call<{ migrationId: string }>('POST', '/migrations', { body });
  return migrationId;
}

/** Follows a migration until `is` holds. Rejects with its state when it ends before that, or after two minutes. */
export async function reaches(
  { api }: ManagedLab,
  migrationId: string,
  what: string,
  is: (view: MigrationView) => boolean,
): Promise<MigrationView> {
  let view = await getMigration(api, migrationId);
  const there = async () => {
    view = await getMigration(api, migrationId);
    if (is(view)) return view;
    if (view.endedAt !== undefined) throw new Error('it has ended');
    return undefined;
  };
  return until(what, there, { timeoutMs: 120_000 }).catch((error: Error) => {
    throw new Error(`${migrationId} ${what}: ${error.message}: ${JSON.stringify(view, undefined, 1)}`);
  });
}

/** Longer than any recovery in the lab; a migration that takes longer hangs. */
const PATIENCE_MS = 150_000;

/** Follows a migration to its end. Rejects with its state and history when it does not end in time. */
export async function ended(managed: ManagedLab, migrationId: string): Promise<MigrationView> {
  const deadline = Date.now() + PATIENCE_MS;
  return followMigration(
    managed.api,
    migrationId,
    (view) => {
      if (Date.now() > deadline) throw new Error(`${migrationId} does not end: ${JSON.stringify(view, undefined, 1)}`);
    },
    100,
  ).catch(async (error: Error) => {
    const executionArn = managed.aws.outputs.MigrateMachine?.replace(':stateMachine:', ':execution:');
    const history = await managed.aws.callAws(
      'states',
      'GetExecutionHistory',
      { executionArn: `${executionArn}:${migrationId}`, reverseOrder: true, maxResults: 15 },
      managed.aws.adminCaller,
    );
    throw new Error(`${error.message}\nlast of its history: ${JSON.stringify(history.events, undefined, 1)}`);
  });
}

export const migrate = async (managed: ManagedLab, wish: MigrationParams): Promise<MigrationView> =>
  ended(managed, await request(managed, wish));
