import { follow } from '../../../commands/support/watch.ts';
import type { MigrationRequest, MigrationView } from '../../../contract/api.ts';
import type { Lab } from '../hosts/lab.ts';
import { exec } from '../hosts/node.ts';
import type { HostName } from '../hosts/plan.ts';
import type { World } from '../world.ts';

export type Wish = { vm: string; from: HostName; to: HostName } & Partial<Omit<MigrationRequest, 'policy'>> & {
    policy?: Partial<MigrationRequest['policy']>;
  };

/** Asks for a migration and returns its id at once. */
export async function request({ api }: World, { vm, from, to, ...more }: Wish): Promise<string> {
  const body = { vm, source: from, destination: to, ...more };
  const { migrationId } = await api.call<{ migrationId: string }>('POST', '/migrations', { body });
  return migrationId;
}

/** Follows a migration to its end. */
export const ended = ({ api }: World, migrationId: string): Promise<MigrationView> =>
  follow(api, migrationId, () => {}, 100);

export const migrate = async (world: World, wish: Wish): Promise<MigrationView> =>
  ended(world, await request(world, wish));

/** virsh's own word for a domain's state on a host, such as "running (migrated)"; undefined where there is no such domain. */
export async function stateOn(lab: Lab, host: HostName, vm: string): Promise<string | undefined> {
  const { exitCode, stdout, stderr } = await exec(lab, host, ['virsh', 'domstate', '--reason', vm]);
  if (exitCode === 0) return stdout.toString().trim();
  if (/failed to get domain/.test(stderr)) return undefined;
  throw new Error(`virsh on ${host}: ${stderr}`);
}
