import type { Lab } from '../hosts/lab.ts';
import { exec } from '../hosts/node.ts';
import type { HostName } from '../hosts/plan.ts';

/** virsh's own word for a domain's state on a host, such as "running (migrated)"; undefined where there is no such domain. */
export async function stateOn(lab: Lab, host: HostName, vm: string): Promise<string | undefined> {
  const { exitCode, stdout, stderr } = await exec(lab, host, ['virsh', 'domstate', '--reason', vm]);
  if (exitCode === 0) return stdout.toString().trim();
  if (/failed to get domain/.test(stderr)) return undefined;
  throw new Error(`virsh on ${host}: ${stderr}`);
}
